"""Keys that have ended but do not expire: a lease that came back without its time to live."""

import asyncio

from components.bus.buckets import Bucket
from components.bus.leases import Lease
from components.bus.staleness import MARGIN_S
from contracts import storage
from tests.support.nats import RunningNats


class Clock:
    """A steady clock that the test sets."""

    def __init__(self) -> None:
        self.now_s = 100.0

    def __call__(self) -> float:
        return self.now_s


async def test_a_key_that_does_not_expire_is_taken_after_its_time_to_live_and_a_margin(
    nats_server: RunningNats,
) -> None:
    clock = Clock()
    bucket = Bucket(await nats_server.connect("gateway"), storage.PODS, clock=clock)
    await bucket.put("pod-1", b"of the dead")
    lease = Lease(bucket, "pod-1", ttl_s=5, clock=clock)
    assert not await lease.acquire(b"ours")
    clock.now_s += 5 + MARGIN_S - 0.01
    assert not await lease.acquire(b"ours")
    clock.now_s += 0.01
    assert await lease.acquire(b"ours")
    entry = await bucket.get("pod-1")
    assert entry is not None
    assert (entry.value, entry.ttl_s, lease.valid) == (b"ours", 5, True)


async def test_a_holder_that_renews_is_never_taken_for_ended(nats_server: RunningNats) -> None:
    clock = Clock()
    bus = await nats_server.connect("gateway")
    held = Lease(Bucket(bus, storage.PODS), "pod-1", ttl_s=5, clock=clock)
    other = Lease(Bucket(bus, storage.PODS, clock=clock), "pod-1", ttl_s=5, clock=clock)
    assert await held.acquire(b"held")
    for _ in range(10):
        assert not await other.acquire(b"other")
        clock.now_s += 4.0
        await held.renew(b"held")
    assert held.valid


async def test_a_holder_with_a_longer_time_to_live_is_given_it(nats_server: RunningNats) -> None:
    clock = Clock()
    bus = await nats_server.connect("gateway")
    held = Lease(Bucket(bus, storage.PODS), "pod-1", ttl_s=30, clock=clock)
    other = Lease(Bucket(bus, storage.PODS, clock=clock), "pod-1", ttl_s=5, clock=clock)
    assert await held.acquire(b"held")
    assert not await other.acquire(b"other")
    clock.now_s += 20.0
    assert not await other.acquire(b"other")
    assert held.remaining_s > 0
    clock.now_s += 11.0
    assert held.remaining_s < 0
    assert await other.acquire(b"other")


async def test_only_one_of_many_takes_a_key_that_does_not_expire(
    nats_server: RunningNats,
) -> None:
    clock = Clock()
    bus = await nats_server.connect("gateway")
    await Bucket(bus, storage.PODS).put("pod-1", b"of the dead")
    leases = [Lease(Bucket(bus, storage.PODS, clock=clock), "pod-1") for _ in range(10)]
    assert not any(await asyncio.gather(*(lease.acquire(b"x") for lease in leases)))
    clock.now_s += 60.0
    assert sum(await asyncio.gather(*(lease.acquire(b"x") for lease in leases))) == 1


async def test_a_key_without_a_time_to_live_is_never_taken_by_who_gives_it_none(
    nats_server: RunningNats,
) -> None:
    clock = Clock()
    bucket = Bucket(await nats_server.connect("config"), storage.GUILDS, clock=clock)
    await bucket.put("1", b"assigned")
    assert await bucket.create("1", b"other") is None
    clock.now_s += 1_000.0
    assert await bucket.create("1", b"other") is None


async def test_a_reconnect_begins_the_count_anew(nats_server: RunningNats) -> None:
    clock = Clock()
    bus = await nats_server.connect("gateway")
    bucket = Bucket(bus, storage.PODS, clock=clock)
    await bucket.put("pod-1", b"of the dead")
    assert await bucket.create("pod-1", b"ours", ttl_s=5) is None
    clock.now_s += 60.0
    back = asyncio.Event()

    async def connected() -> None:
        back.set()

    bus.on_connected(connected)
    nats_server.kill()
    await nats_server.start()
    await asyncio.wait_for(back.wait(), 10)
    assert await bucket.create("pod-1", b"ours", ttl_s=5) is None
    clock.now_s += 5 + MARGIN_S
    assert await bucket.create("pod-1", b"ours", ttl_s=5) is not None


async def test_leases_that_nobody_renews_are_not_held(nats_server: RunningNats) -> None:
    clock = Clock()
    bus = await nats_server.connect("gateway")
    bucket = Bucket(bus, storage.PODS, clock=clock)
    living = Lease(Bucket(bus, storage.PODS), "pod-1", ttl_s=30, clock=clock)
    assert await living.acquire(b"living")
    await bucket.put("pod-2", b"of the dead")
    assert sorted(await bucket.held(5)) == ["pod-1", "pod-2"]
    clock.now_s += 5 + MARGIN_S
    await living.renew(b"living")
    assert sorted(await bucket.held(5)) == ["pod-1"]
