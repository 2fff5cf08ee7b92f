"""A renewal that is answered after the lease had run out revives it: nothing goes on waiting."""

import asyncio
from collections.abc import AsyncIterator

import pytest

from components.bus.buckets import Bucket
from components.bus.connection import Bus
from components.bus.leases import Lease
from components.process.clock import wall_ms
from components.shard.appender import Appender, Dispatch
from components.shard.catch_up import CatchUp
from components.shard.connector import Connector
from components.shard.dispatches import Append
from components.shard.gate import LeaseGate
from components.shard.generations import Generation
from components.shard.hold import Hold, first_value
from components.shard.intake import Intake
from components.shard.overlap import Overlap
from components.shard.resume_data import ResumeData
from contracts import storage
from contracts.ids import GuildId, SessionId
from contracts.records import SessionResume
from tests.support.nats import RunningNats

GENERATION = Generation(generation=0, count=1)
TTL_S = 5


class SlowBucket(Bucket):
    """Writes land at once and are answered when they are let."""

    def __init__(self, bus: Bus) -> None:
        super().__init__(bus, storage.SHARDS)
        self.landed = asyncio.Event()
        self.answers = asyncio.Event()
        self.answers.set()

    async def replace(
        self, key: str, value: bytes, revision: int, *, ttl_s: int | None = None
    ) -> int:
        new = await super().replace(key, value, revision, ttl_s=ttl_s)
        self.landed.set()
        await self.answers.wait()
        return new


class NoConnector(Connector):
    """Connects to nothing."""

    connected = False
    resuming = False
    refused = ""

    def __init__(self) -> None:
        pass

    async def run(self) -> None:
        await asyncio.Event().wait()

    async def stop(self, *, end_session: bool = False) -> None:
        pass


class NoIntake(Intake):
    """Receives nothing."""

    def __init__(self) -> None:
        self.dispatches = 0
        self.guilds = set()


class NoCatchUp(CatchUp):
    """Has no gap."""

    def __init__(self) -> None:
        pass

    async def run(self) -> None:
        await asyncio.Event().wait()


class Held:
    """A shard id whose lease is to run out while a renewal is under way."""

    def __init__(self, bus: Bus) -> None:
        self.now_s = 0.0
        self.bucket = SlowBucket(bus)
        self.value, since_ms = first_value("shard-0", 0, GENERATION)
        self.lease = Lease(
            self.bucket, "0", ttl_s=TTL_S, renew_every_s=0.05, clock=lambda: self.now_s
        )
        gate = LeaseGate(self.lease)
        self.resume_data = ResumeData(Bucket(bus, storage.SESSIONS), 0, may_save=gate)
        self.appender = Appender(
            bus,
            window=1,
            max_dispatches=10,
            max_bytes=1000,
            may_send=gate,
            on_confirmed=lambda _: None,
        )
        self.hold = Hold(
            replica="shard-0",
            shard=0,
            generation=GENERATION,
            still_wanted=self._wanted,
            bucket=self.bucket,
            gate=gate,
            resume_data=self.resume_data,
            appender=self.appender,
            intake=NoIntake(),
            connector=NoConnector(),
            catch_up=NoCatchUp(),
            overlap=Overlap(0),
            since_ms=since_ms,
        )

    async def _wanted(self, _: int) -> bool:
        return True

    async def run_out(self) -> None:
        """A renewal has landed, its answer has not come, and the lease has ended meanwhile."""
        await self.bucket.landed.wait()
        self.now_s = TTL_S
        assert not self.lease.valid


@pytest.fixture
async def held(nats_server: RunningNats) -> AsyncIterator[Held]:
    shard = Held(await nats_server.connect("shard"))
    assert await shard.lease.acquire(shard.value)
    shard.bucket.landed.clear()
    shard.bucket.answers.clear()
    shard.now_s = TTL_S / 2
    running = asyncio.create_task(shard.hold.run())
    yield shard
    shard.bucket.answers.set()
    running.cancel()
    await asyncio.wait({running})


async def settled() -> None:
    """Whoever looks at the lease has looked, and waits."""
    for _ in range(20):
        await asyncio.sleep(0)


async def test_what_waits_for_the_log_is_appended_when_a_late_renewal_revives_the_lease(
    held: Held,
) -> None:
    await held.run_out()
    append = Append(
        guild=GuildId("123456789012345678"), message_id="dsp:s:1", data=b"{}", smaller=b"{}"
    )
    held.appender.put(
        Dispatch(
            session=SessionId("s"), sequence=1, received_ms=wall_ms(), appends=[append], fields={}
        )
    )
    await settled()
    assert held.appender.stored == 0
    held.bucket.answers.set()
    async with asyncio.timeout(3):
        await held.appender.empty()
    assert held.lease.valid


async def test_a_session_that_waits_is_saved_when_a_late_renewal_revives_the_lease(
    held: Held,
) -> None:
    await held.run_out()
    held.resume_data.want(
        SessionResume(
            session=SessionId("s"),
            sequence=1,
            resume_url="ws://resume",
            shard=0,
            shard_count=1,
            saved_ms=wall_ms(),
        )
    )
    await settled()
    assert held.resume_data.saved is None
    held.bucket.answers.set()
    async with asyncio.timeout(3):
        await held.resume_data.clean()
    assert held.lease.valid
