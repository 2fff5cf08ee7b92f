"""What came while a pod was away is read once for all its guilds, and nothing of it is missed."""

import asyncio

import pytest

from components.bus.connection import Bus
from components.gateway.engine.model import LoggedInput
from components.gateway.shell import backlog as module
from components.gateway.shell.backlog import Backlog
from components.gateway.shell.errors import HoleFound
from components.gateway.shell.intake import Intake
from contracts import headers, subjects
from contracts.ids import GuildId, Sequence
from tests.support.nats import RunningNats

OURS = [GuildId("42"), GuildId("43"), GuildId("44")]
ANOTHERS = GuildId("45")
START = Sequence(0)


async def append(shard: Bus, *guilds: GuildId) -> list[Sequence]:
    """Returns the sequences."""
    return [
        Sequence((await shard.append(subjects.inputs(guild), b'{"n":1}', {})).sequence)
        for guild in guilds
    ]


async def purged(server: RunningNats) -> None:
    """Nothing of the log can be read any more."""
    provisioner = await server.connect("provisioner")
    await provisioner.ask("$JS.API.STREAM.PURGE.INPUTS", b"{}")


class Taken:
    """An intake over a backlog, and what it has handed on."""

    def __init__(self, bus: Bus, guild: GuildId, backlog: Backlog, complete: Sequence) -> None:
        self.got: list[int] = []
        self.holes: list[HoleFound] = []
        self.intake = Intake(
            bus, guild, complete, self._hand, self.holes.append, backlog=(backlog, complete)
        )

    async def _hand(self, item: LoggedInput) -> None:
        self.got.append(item.sequence)


async def test_each_guild_takes_its_part_in_order_and_once(shard: Bus, bus: Bus) -> None:
    old = await append(shard, OURS[0])
    new = await append(shard, OURS[1], OURS[0], ANOTHERS, OURS[1])
    backlog = Backlog(bus)
    await backlog.read(OURS, old[0], guilds_min=1)
    part = await backlog.take(OURS[1], old[0])
    assert part is not None
    assert [item.sequence for item in part.inputs] == [new[0], new[3]]
    assert part.up_to == new[3]
    assert part.inputs[0].data == b'{"n":1}'
    assert await backlog.take(OURS[1], old[0]) is None
    silent = await backlog.take(OURS[2], old[0])
    assert silent is not None
    assert silent.inputs == []
    assert await backlog.take(ANOTHERS, old[0]) is None


async def test_an_input_is_as_if_its_guild_had_read_it(shard: Bus, bus: Bus) -> None:
    parent = "00-0123456789abcdef0123456789abcdef-0123456789abcdef-01"
    fields = {headers.MSG_ID: "dsp:1", headers.TRACEPARENT: parent}
    stored = await shard.append(subjects.inputs(OURS[0]), b'{"n":2}', fields)
    backlog = Backlog(bus)
    await backlog.read(OURS, START, guilds_min=1)
    part = await backlog.take(OURS[0], START)
    read: list[LoggedInput] = []

    async def hand(item: LoggedInput) -> None:
        read.append(item)

    intake = Intake(bus, OURS[0], START, hand, lambda hole: None)
    await intake.catch_up(Sequence(stored.sequence))
    assert part is not None
    assert part.inputs == read
    assert (read[0].message_id, read[0].traceparent) == ("dsp:1", parent)


async def test_a_guild_reads_nothing_itself_but_what_came_later(
    shard: Bus, bus: Bus, nats_server: RunningNats
) -> None:
    old = await append(shard, OURS[0], OURS[1], OURS[0])
    backlog = Backlog(bus)
    await backlog.read(OURS, START, guilds_min=1)
    await purged(nats_server)
    later = await append(shard, ANOTHERS, OURS[0])
    taken = Taken(bus, OURS[0], backlog, START)
    await taken.intake.catch_up(later[1])
    assert taken.got == [old[0], old[2], later[1]]


async def test_where_the_backlog_ends_the_guild_goes_on_reading(
    shard: Bus, bus: Bus, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "BYTES_MAX", 1)  # a single batch
    all_of_it = [(await append(shard, OURS[0]))[0] for _ in range(1002)]
    backlog = Backlog(bus)
    await backlog.read(OURS, START, guilds_min=1)
    taken = Taken(bus, OURS[0], backlog, START)
    await taken.intake.catch_up(all_of_it[-1])
    assert taken.got == all_of_it


async def test_rows_that_lie_further_back_are_continued_from_the_log(shard: Bus, bus: Bus) -> None:
    """A guild may be behind the pod's mark: its rows came later, or it was not compared."""
    sequences = await append(shard, OURS[0], OURS[0], OURS[0])
    backlog = Backlog(bus)
    await backlog.read(OURS, sequences[1], guilds_min=1)
    assert await backlog.take(OURS[0], START) is None
    backlog = Backlog(bus)
    await backlog.read(OURS, sequences[1], guilds_min=1)
    taken = Taken(bus, OURS[0], backlog, START)
    await taken.intake.catch_up(sequences[2])
    assert taken.got == sequences


async def test_rows_that_are_further_take_only_what_follows_them(shard: Bus, bus: Bus) -> None:
    sequences = await append(shard, OURS[0], OURS[0], OURS[0])
    backlog = Backlog(bus)
    await backlog.read(OURS, START, guilds_min=1)
    taken = Taken(bus, OURS[0], backlog, sequences[1])
    await taken.intake.catch_up(sequences[2])
    assert taken.got == sequences[2:]


async def test_who_comes_before_it_is_read_waits(shard: Bus, bus: Bus) -> None:
    sequences = await append(shard, OURS[0])
    backlog = Backlog(bus)
    reading = asyncio.create_task(backlog.read(OURS, START, guilds_min=1))
    await asyncio.sleep(0)  # it has begun
    part = await backlog.take(OURS[0], START)
    await reading
    assert part is not None
    assert part.up_to == sequences[0]


async def test_a_pod_with_few_guilds_leaves_them_to_read_themselves(shard: Bus, bus: Bus) -> None:
    await append(shard, OURS[0])
    backlog = Backlog(bus)
    await backlog.read(OURS, START)
    assert await backlog.take(OURS[0], START) is None


async def test_a_reading_that_fails_leaves_the_rest_to_the_guilds(
    shard: Bus, bus: Bus, nats_server: RunningNats
) -> None:
    sequences = await append(shard, OURS[0])
    another = await nats_server.connect("gateway")
    await another.close()
    backlog = Backlog(another)
    await backlog.read(OURS, START, guilds_min=1)
    taken = Taken(bus, OURS[0], backlog, START)
    await taken.intake.catch_up(sequences[0])
    assert taken.got == sequences
