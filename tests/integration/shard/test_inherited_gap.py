"""What another process left unread, taken over while sessions are resumed and shards move."""

import asyncio
from collections.abc import AsyncIterator

import pytest

from components.bus.buckets import Bucket
from components.bus.connection import Bus
from components.bus.leases import Lease
from components.process.clock import wall_ms
from components.shard.catch_up import CatchUp
from components.shard.gate import LeaseGate
from components.shard.history import Found, Gap, History
from components.shard.registry import Registry
from contracts import storage
from contracts.ids import GuildId, SessionId
from contracts.records import SessionResume
from tests.support.nats import RunningNats

GUILD = GuildId("123456789012345678")
SESSION = SessionId("s")


class SlowRegistry(Registry):
    """Answers when it is let."""

    def __init__(self, bus: Bus) -> None:
        super().__init__(bus)
        self.asked = asyncio.Event()
        self.answers = asyncio.Event()

    async def present(self, shard: int, shard_count: int) -> list[GuildId]:
        self.asked.set()
        await self.answers.wait()
        return [GUILD]


class EmptyHistory(History):
    """Finds nothing, and notes the starts of the gaps that it was to read."""

    def __init__(self) -> None:
        self.starts: list[int] = []

    async def read(self, gap: Gap) -> list[Found]:
        self.starts.append(gap.since_ms)
        return []


class Inherited:
    """A shard id's catching up, with the start of the gap that was left."""

    def __init__(self, bus: Bus) -> None:
        self.registry = SlowRegistry(bus)
        self.history = EmptyHistory()
        self.since_ms = wall_ms() - 60_000
        self.catch_up = CatchUp(
            shard=0,
            shard_count=1,
            bus=bus,
            gate=LeaseGate(Lease(Bucket(bus, storage.SHARDS), "0")),
            history=self.history,
            registry=self.registry,
        )

    def adopt(self) -> None:
        self.catch_up.adopt(
            SessionResume(
                session=SESSION,
                sequence=4,
                resume_url="ws://resume",
                shard=0,
                shard_count=1,
                saved_ms=wall_ms(),
                gap_since_ms=self.since_ms,
            )
        )


@pytest.fixture
async def inherited(nats_server: RunningNats) -> AsyncIterator[Inherited]:
    left = Inherited(await nats_server.connect("shard"))
    left.adopt()
    running = asyncio.create_task(left.catch_up.run())
    yield left
    running.cancel()
    await asyncio.wait({running})


async def settled() -> None:
    """What can go on without an answer from outside has gone on."""
    for _ in range(20):
        await asyncio.sleep(0)


async def begin_reading(inherited: Inherited) -> None:
    """The session is resumed, and the guilds are asked for."""
    inherited.catch_up.resumed(5)
    inherited.catch_up.stored(SESSION, 5)
    await inherited.registry.asked.wait()


async def test_a_session_resumed_again_while_the_guilds_are_asked_for_reads_the_gap_once(
    inherited: Inherited,
) -> None:
    catch_up = inherited.catch_up
    await begin_reading(inherited)
    catch_up.resumed(6)
    inherited.registry.answers.set()
    await settled()
    catch_up.stored(SESSION, 6)
    await settled()
    assert inherited.history.starts == [inherited.since_ms]
    assert catch_up.unread_since_ms == 0


async def test_a_gap_left_while_the_guilds_are_asked_for_keeps_its_start_and_its_turn(
    inherited: Inherited,
) -> None:
    catch_up, earlier_ms = inherited.catch_up, inherited.since_ms - 60_000
    await begin_reading(inherited)
    catch_up.inherit(earlier_ms, 6)
    inherited.registry.answers.set()
    await settled()
    assert inherited.history.starts == []
    assert catch_up.unread_since_ms == earlier_ms
    catch_up.stored(SESSION, 6)
    await settled()
    assert inherited.history.starts == [earlier_ms]
    assert catch_up.unread_since_ms == 0


async def test_a_gap_left_and_due_while_the_guilds_are_asked_for_keeps_its_start(
    inherited: Inherited,
) -> None:
    catch_up, earlier_ms = inherited.catch_up, inherited.since_ms - 60_000
    await begin_reading(inherited)
    catch_up.inherit(earlier_ms, 6)
    catch_up.stored(SESSION, 6)
    inherited.registry.answers.set()
    await settled()
    assert inherited.history.starts == [earlier_ms]
    assert catch_up.unread_since_ms == 0
