"""Words about guilds are written until they are there, over a real server."""

import asyncio
from typing import Any, Literal

import pytest
from nats.aio.msg import Msg

from components.bus.buckets import Bucket, Entry
from components.bus.connection import Bus
from components.bus.errors import WrongLastSequence
from components.gateway.shell import handoffs as handoffs_module
from components.gateway.shell.handoffs import FIRST_PAUSE_S, Handoffs
from contracts import storage, subjects
from contracts.ids import Epoch, GuildId, Incarnation, PodId, Sequence
from contracts.message import decode, encode
from contracts.records import Holding, Released
from tests.integration.gateway.town import until
from tests.support.nats import RunningNats

GUILD = GuildId("42")
KEY = f"released.{GUILD}"


class LateBucket(Bucket):
    """Its first reads come from a copy that is behind: as it was when that was kept."""

    def __init__(self, bus: Bus, kept: Entry | None, late: int) -> None:
        super().__init__(bus, storage.HANDOFFS)
        self._kept = kept
        self._late = late
        self.read = 0

    async def get(self, key: str) -> Entry | None:
        self.read += 1
        return self._kept if self.read <= self._late else await super().get(key)


def released(epoch: int) -> bytes:
    word = Released(
        guild=GUILD,
        epoch=Epoch(epoch),
        sequence=Sequence(7),
        pod=PodId("a"),
        incarnation=Incarnation("i"),
    )
    return encode(word)


async def kept_epoch(bucket: Bucket) -> int:
    entry = await bucket.get(KEY)
    assert entry is not None
    assert entry.value is not None
    return decode(entry.value, Released).epoch


async def test_a_refused_write_with_a_read_that_is_behind_is_tried_again_after_a_pause(
    nats_server: RunningNats,
) -> None:
    bus = await nats_server.connect("gateway")
    real = Bucket(bus, storage.HANDOFFS)
    await real.put(KEY, released(1))
    kept = await real.get(KEY)
    assert kept is not None
    await real.put(KEY, released(2))
    handoffs = Handoffs(bus, PodId("b"), Incarnation("j"))
    handoffs.seen(KEY, kept.revision)
    late = handoffs._bucket = LateBucket(bus, kept, late=3)
    started = asyncio.get_running_loop().time()
    async with asyncio.timeout(20):
        await handoffs.release(GUILD, Epoch(3), Sequence(9))
    assert asyncio.get_running_loop().time() - started >= (1 + 2 + 4) * FIRST_PAUSE_S
    assert late.read == 4
    assert await kept_epoch(real) == 3


async def test_a_read_that_shows_a_later_revision_is_written_over_at_once(
    nats_server: RunningNats,
) -> None:
    bus = await nats_server.connect("gateway")
    real = Bucket(bus, storage.HANDOFFS)
    await real.put(KEY, released(1))
    handoffs = Handoffs(bus, PodId("b"), Incarnation("j"))
    late = handoffs._bucket = LateBucket(bus, None, late=0)
    await handoffs.release(GUILD, Epoch(2), Sequence(9))
    assert late.read == 1
    assert await kept_epoch(real) == 2


async def test_a_later_epochs_word_stays(nats_server: RunningNats) -> None:
    bus = await nats_server.connect("gateway")
    real = Bucket(bus, storage.HANDOFFS)
    await real.put(KEY, released(5))
    handoffs = Handoffs(bus, PodId("b"), Incarnation("j"))
    async with asyncio.timeout(20):
        await handoffs.release(GUILD, Epoch(4), Sequence(9))
    assert await kept_epoch(real) == 5


async def test_the_next_owner_is_told_before_the_key_is_written(nats_server: RunningNats) -> None:
    bus = await nats_server.connect("gateway")
    next_owner = await nats_server.connect("gateway")
    real = Bucket(bus, storage.HANDOFFS)
    told: asyncio.Future[tuple[Released, Entry | None]] = asyncio.get_running_loop().create_future()

    async def hear(message: Msg) -> None:
        told.set_result((decode(message.data, Released), await real.get(KEY)))

    await next_owner.listen(subjects.pod_released(PodId("c")), hear)
    await next_owner.barrier()
    handoffs = Handoffs(bus, PodId("b"), Incarnation("j"))
    held = asyncio.Event()

    class HeldBucket(Bucket):
        async def replace(self, *arguments: Any, **options: Any) -> int:
            await held.wait()
            return await super().replace(*arguments, **options)

    handoffs._bucket = HeldBucket(bus, storage.HANDOFFS)
    releasing = asyncio.create_task(handoffs.release(GUILD, Epoch(2), Sequence(9), to=PodId("c")))
    async with asyncio.timeout(20):
        word, entry = await told
        assert (word.guild, word.epoch, word.sequence, word.pod) == (GUILD, 2, 9, "b")
        assert entry is None
        held.set()
        await releasing
    assert await kept_epoch(real) == 2


async def test_a_report_that_is_made_while_an_older_one_is_taken_back_stays(
    nats_server: RunningNats,
) -> None:
    """A pod that was to drop the rows and is asked to join again: nobody would wait for the report
    of its joining in vain."""
    bus = await nats_server.connect("gateway")
    real = Bucket(bus, storage.HANDOFFS)
    handoffs = Handoffs(bus, PodId("b"), Incarnation("j"))
    writing, goes_on = asyncio.Event(), asyncio.Event()

    class SlowBucket(Bucket):
        async def put(self, *arguments: Any, **options: Any) -> int:
            writing.set()
            await goes_on.wait()
            return await super().put(*arguments, **options)

    handoffs._bucket = SlowBucket(bus, storage.HANDOFFS)
    running = asyncio.create_task(handoffs.run())
    handoffs.hold(holding(joined_ms=1), soon=True)
    async with asyncio.timeout(20):
        await writing.wait()
        forgetting = asyncio.create_task(handoffs.forget(GUILD))
        await asyncio.sleep(0)  # it waits for the report that is under way
        handoffs.hold(holding(joined_ms=2), soon=True)
        goes_on.set()
        await forgetting

        async def reported() -> int:
            entry = await real.get(f"holds.{GUILD}.b")
            return decode(entry.value, Holding).joined_ms if entry and entry.value else 0

        await until(reported)
        await bus.barrier()
        assert await reported() == 2
        await handoffs.forget(GUILD)
        assert await reported() == 0
    running.cancel()


async def test_a_deletion_that_reaches_the_server_late_deletes_no_newer_report(
    nats_server: RunningNats,
) -> None:
    """As over a connection that is lost, whose bytes are read after those of the next one."""
    bus = await nats_server.connect("gateway")
    real = Bucket(bus, storage.HANDOFFS)
    handoffs = Handoffs(bus, PodId("b"), Incarnation("j"))
    sent, arrives = asyncio.Event(), asyncio.Event()

    class LateDeletions(Bucket):
        async def delete(self, *arguments: Any) -> None:
            sent.set()
            await arrives.wait()
            await super().delete(*arguments)

    handoffs._bucket = LateDeletions(bus, storage.HANDOFFS)
    running = asyncio.create_task(handoffs.run())

    async def reported() -> int:
        entry = await real.get(f"holds.{GUILD}.b")
        return decode(entry.value, Holding).joined_ms if entry and entry.value else 0

    async def reported_again() -> bool:
        return await reported() == 2

    handoffs.hold(holding(joined_ms=1), soon=True)
    async with asyncio.timeout(20):
        await until(reported)
        forgetting = asyncio.create_task(handoffs.forget(GUILD))
        await sent.wait()
        handoffs.hold(holding(joined_ms=2), soon=True)
        await until(reported_again)
        arrives.set()
        with pytest.raises(WrongLastSequence):
            await forgetting
    assert await reported_again()
    running.cancel()


async def test_what_somebody_waits_for_is_reported_before_what_nobody_does(
    nats_server: RunningNats, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(handoffs_module, "LATER_S", 0.5)
    bus = await nats_server.connect("gateway")
    real = Bucket(bus, storage.HANDOFFS)
    handoffs = Handoffs(bus, PodId("b"), Incarnation("j"))
    takeover, move = GuildId("1"), GuildId("2")
    handoffs.hold(holding(takeover, role="own"), soon=False)
    running = asyncio.create_task(handoffs.run())
    handoffs.hold(holding(move, role="own"), soon=True)
    written: list[str] = []
    async with asyncio.timeout(20):
        async for entry in real.watch("holds.>"):
            if entry is not None:
                written.append(entry.key)
            if len(written) == 2:
                break
    assert written == [f"holds.{move}.b", f"holds.{takeover}.b"]
    running.cancel()


def holding(
    guild: GuildId = GUILD, *, joined_ms: int = 0, role: Literal["own", "follow"] = "follow"
) -> Holding:
    return Holding(
        guild=guild,
        pod=PodId("b"),
        incarnation=Incarnation("j"),
        data="d",
        role=role,
        epoch=Epoch(1),
        sequence=Sequence(7),
        beat=1,
        source="disk",
        took_ms=0,
        replayed=0,
        joined_ms=joined_ms,
    )
