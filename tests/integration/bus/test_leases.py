"""Leases: one holder, renewed by compare-and-set, gone when not renewed."""

import asyncio

import pytest

from components.bus.buckets import Bucket
from components.bus.errors import BusError
from components.bus.leases import Lease, LeaseLost
from contracts import storage
from tests.support.nats import RunningNats


async def test_only_one_of_many_claimers_holds_the_lease(nats_server: RunningNats) -> None:
    bus = await nats_server.connect("gateway")
    bucket = Bucket(bus, storage.PODS)
    leases = [Lease(bucket, "pod-1") for _ in range(20)]
    won = await asyncio.gather(*(lease.acquire(str(i).encode()) for i, lease in enumerate(leases)))
    assert sum(won) == 1


async def test_a_renewed_lease_still_expires_when_renewing_stops(nats_server: RunningNats) -> None:
    bus = await nats_server.connect("gateway")
    bucket = Bucket(bus, storage.PODS)
    lease = Lease(bucket, "pod-1", ttl_s=2)
    assert await lease.acquire(b"a")
    await lease.renew(b"b")
    gone = asyncio.Event()

    async def watch() -> None:
        async for entry in bucket.watch("pod-1"):
            if entry is not None and entry.value is None:
                gone.set()

    watching = asyncio.create_task(watch())
    await asyncio.wait_for(gone.wait(), 10)
    watching.cancel()
    assert not lease.valid
    assert await Lease(bucket, "pod-1").acquire(b"c")


async def test_a_fenced_lease_cannot_be_renewed(nats_server: RunningNats) -> None:
    bus = await nats_server.connect("gateway")
    bucket = Bucket(bus, storage.PODS)
    lease = Lease(bucket, "pod-1")
    assert await lease.acquire(b"a")
    await Lease(bucket, "pod-1").take_over(b"fence", lease.revision)
    with pytest.raises(LeaseLost):
        await lease.renew(b"b")
    assert not lease.valid
    entry = await bucket.get("pod-1")
    assert entry is not None
    assert entry.value == b"fence"


async def test_a_renewal_whose_answer_was_lost_counts_when_it_landed(
    nats_server: RunningNats,
) -> None:
    bus = await nats_server.connect("gateway")
    bucket = Bucket(bus, storage.PODS)
    lease = Lease(bucket, "pod-1")
    assert await lease.acquire(b"a")
    landed = await bucket.replace("pod-1", b"b", lease.revision, ttl_s=5)  # nobody heard
    await lease.renew(b"b")
    assert lease.valid
    assert lease.revision > landed, "extended by a write whose sending time is known"
    await lease.renew(b"c")


class Unheard(Bucket):
    """The first write of this many lands; none is answered, as while a stream elects a leader."""

    unanswered = 0
    landed: int | None = None

    async def replace(
        self, key: str, value: bytes, revision: int, *, ttl_s: int | None = None
    ) -> int:
        if not self.unanswered:
            return await super().replace(key, value, revision, ttl_s=ttl_s)
        if self.landed is None:
            self.landed = await super().replace(key, value, revision, ttl_s=ttl_s)
        self.unanswered -= 1
        raise BusError("no answer")


async def test_a_renewal_that_landed_unheard_is_known_after_others_that_did_not(
    nats_server: RunningNats,
) -> None:
    bucket = Unheard(await nats_server.connect("gateway"), storage.PODS)
    lease = Lease(bucket, "pod-1")
    assert await lease.acquire(b"a")
    bucket.unanswered = 3
    for value in (b"b", b"c", b"d"):
        with pytest.raises(BusError, match="no answer"):
            await lease.renew(value)
    await lease.renew(b"e")
    assert lease.valid
    assert bucket.landed is not None
    assert lease.revision > bucket.landed


async def test_a_lease_is_released_although_its_last_renewal_was_cut_short(
    nats_server: RunningNats,
) -> None:
    bus = await nats_server.connect("gateway")
    bucket = Bucket(bus, storage.PODS)
    lease = Lease(bucket, "pod-1")
    assert await lease.acquire(b"a")
    renewing = asyncio.create_task(lease.renew(b"b"))
    await asyncio.sleep(0)  # it is sent
    renewing.cancel()
    await asyncio.wait([renewing])
    await lease.release()
    entry = await bucket.get("pod-1")
    assert entry is not None
    assert entry.value is None


async def test_a_holder_stops_believing_before_the_server_lets_go(
    nats_server: RunningNats,
) -> None:
    bus = await nats_server.connect("gateway")
    now = [100.0]
    lease = Lease(Bucket(bus, storage.PODS), "pod-1", ttl_s=5, margin_s=0.5, clock=lambda: now[0])
    assert await lease.acquire(b"a")

    def believes(at_s: float) -> bool:
        now[0] = at_s
        return lease.valid

    assert believes(104.49)
    assert not believes(104.5)
    with pytest.raises(LeaseLost):
        await lease.renew(b"b")


async def test_a_released_lease_is_free_at_once(nats_server: RunningNats) -> None:
    bus = await nats_server.connect("gateway")
    bucket = Bucket(bus, storage.PODS)
    lease = Lease(bucket, "pod-1")
    assert await lease.acquire(b"a")
    await lease.release()
    assert not lease.valid
    assert await Lease(bucket, "pod-1").acquire(b"b")


async def test_snapshot_and_watch_show_present_values_then_changes(
    nats_server: RunningNats,
) -> None:
    bus = await nats_server.connect("config")
    bucket = Bucket(bus, storage.GUILDS)
    for key in ("1", "2", "3"):
        await bucket.put(key, key.encode())
    await bucket.delete("2")
    assert sorted(await bucket.snapshot()) == ["1", "3"]
    seen = []
    async for entry in bucket.watch():
        if entry is None:
            await bucket.put("4", b"4")
            continue
        seen.append((entry.key, entry.value))
        if entry.key == "4":
            break
    assert sorted(seen) == [("1", b"1"), ("2", None), ("3", b"3"), ("4", b"4")]


async def test_snapshot_of_an_empty_bucket_is_empty(nats_server: RunningNats) -> None:
    bus = await nats_server.connect("config")
    assert await Bucket(bus, storage.GUILDS).snapshot() == {}


async def test_a_watch_starts_over_after_the_server_was_away(nats_server: RunningNats) -> None:
    bus = await nats_server.connect("config")
    bucket = Bucket(bus, storage.GUILDS)
    await bucket.put("1", b"1")
    rounds: asyncio.Queue[list[str]] = asyncio.Queue()

    async def watch() -> None:
        keys: list[str] = []
        async for entry in bucket.watch():
            if entry is None:
                await rounds.put(keys)
                keys = []
            elif entry.value is not None:
                keys.append(entry.key)

    watching = asyncio.create_task(watch())
    assert await asyncio.wait_for(rounds.get(), 5) == ["1"]
    nats_server.kill()
    await nats_server.start()
    assert await asyncio.wait_for(rounds.get(), 10) == ["1"]
    watching.cancel()
