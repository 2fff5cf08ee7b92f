"""A guild's log is handed on once and in order, whatever the live messages do."""

import asyncio

import pytest

from components.bus import stream
from components.bus.connection import Bus
from components.gateway.engine.model import LoggedInput
from components.gateway.shell.errors import HoleFound
from components.gateway.shell.intake import Intake
from contracts import storage, subjects
from contracts.ids import GuildId, Sequence
from tests.integration.gateway.town import until
from tests.support.nats import RunningNats

GUILD = GuildId("42")


class Reader:
    """An intake and what it has handed on."""

    def __init__(self, bus: Bus, start: int = 0) -> None:
        self.got: list[int] = []
        self.holes: list[HoleFound] = []
        self.intake = Intake(bus, GUILD, Sequence(start), self.hand, self.holes.append)
        self.slow_s = 0.0

    async def hand(self, item: LoggedInput) -> None:
        await asyncio.sleep(self.slow_s)
        self.got.append(item.sequence)

    async def has(self, sequences: list[int]) -> None:
        async def all_there() -> bool:
            return len(self.got) >= len(sequences)

        await until(all_there)
        assert self.got == sequences


async def append(shard: Bus, count: int, guild: GuildId = GUILD) -> list[int]:
    return [
        (await shard.append(subjects.inputs(guild), b"{}", {"x": "y"})).sequence
        for _ in range(count)
    ]


async def test_what_was_on_the_log_before_comes_before_what_is_live(shard: Bus, bus: Bus) -> None:
    old = await append(shard, 1500)
    reader = Reader(bus)
    await reader.intake.subscribe()
    await bus.barrier()
    live = await append(shard, 5)
    assert reader.got == []
    await reader.intake.catch_up(Sequence(old[-1]))
    await reader.has(old + live)


async def test_a_lost_live_message_is_read_when_the_next_one_comes(shard: Bus, bus: Bus) -> None:
    reader = Reader(bus)
    first = await append(shard, 1)
    await reader.intake.subscribe()
    await reader.intake.catch_up(Sequence(first[0]))
    await reader.intake.unsubscribe()
    await bus.barrier()
    lost = await append(shard, 3)
    await append(shard, 2, GuildId("43"))
    await reader.intake.subscribe()
    await bus.barrier()
    after = await append(shard, 1)
    await reader.has(first + lost + after)


async def test_a_lost_last_message_is_read_when_the_end_is_compared(shard: Bus, bus: Bus) -> None:
    reader = Reader(bus)
    lost = await append(shard, 3)
    ends = await stream.last_sequences(bus, storage.INPUTS, [subjects.inputs(GUILD)])
    await reader.intake.catch_up(ends.sequences[subjects.inputs(GUILD)])
    await reader.has(lost)


async def test_messages_that_come_while_a_gap_is_filled_are_not_taken_twice(
    shard: Bus, bus: Bus
) -> None:
    reader = Reader(bus)
    reader.slow_s = 0.001
    old = await append(shard, 200)
    await reader.intake.subscribe()
    await bus.barrier()
    catching_up = asyncio.create_task(reader.intake.catch_up(Sequence(old[-1])))
    live = await append(shard, 50)
    await catching_up
    await reader.has(old + live)


async def test_an_input_that_could_not_be_taken_comes_again(shard: Bus, bus: Bus) -> None:
    reader = Reader(bus)
    sequences = await append(shard, 3)
    hand = reader.hand
    failures = [ValueError("not now")]

    async def failing(item: LoggedInput) -> None:
        if item.sequence == sequences[1] and failures:
            raise failures.pop()
        await hand(item)

    reader.intake = Intake(bus, GUILD, Sequence(0), failing, reader.holes.append)
    with pytest.raises(ValueError, match="not now"):
        await reader.intake.catch_up(Sequence(sequences[-1]))
    await reader.intake.catch_up(Sequence(sequences[-1]))
    await reader.has(sequences)


async def test_what_the_log_has_lost_is_a_hole(
    shard: Bus, bus: Bus, nats_server: RunningNats, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("components.gateway.shell.intake.FILL_WITHIN_S", 0.2)
    reader = Reader(bus)
    lost = await append(shard, 3)
    provisioner = await nats_server.connect("provisioner")
    await provisioner.ask("$JS.API.STREAM.PURGE.INPUTS", b"{}")
    with pytest.raises(HoleFound):
        await reader.intake.catch_up(Sequence(lost[-1]))
    assert reader.got == []
