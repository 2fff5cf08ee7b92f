"""A task that is cancelled just as its answer comes ends all the same."""

import asyncio

from components.bus.buckets import Bucket
from components.bus.connection import Bus
from contracts import storage
from tests.support.nats import RunningNats


async def test_a_watch_ends_when_it_is_cancelled_as_an_entry_arrives(
    nats_server: RunningNats,
) -> None:
    bus = await nats_server.connect("config")
    bucket = Bucket(bus, storage.GUILDS)
    for _ in range(20):
        ready = asyncio.Event()

        async def watch(ready: asyncio.Event = ready) -> None:
            async for entry in bucket.watch("1"):
                if entry is None:
                    ready.set()

        watching = asyncio.create_task(watch())
        await ready.wait()
        # The write's acknowledgement and the watch's entry arrive in one read of the socket.
        await bucket.put("1", b"1")
        watching.cancel()
        done, _ = await asyncio.wait([watching], timeout=5)
        assert done


async def test_a_loop_of_requests_ends_whenever_it_is_cancelled(nats_server: RunningNats) -> None:
    bus = await nats_server.connect("config")
    bucket = Bucket(bus, storage.GUILDS)

    async def read() -> None:
        while True:
            await bucket.get("1")

    for turns in range(200):
        reading = asyncio.create_task(read())
        await asyncio.sleep(0.002)
        for _ in range(turns % 10):
            await asyncio.sleep(0)
        reading.cancel()
        done, _ = await asyncio.wait([reading], timeout=5)
        assert done


async def test_what_cleans_up_after_a_cancellation_may_still_ask(nats_server: RunningNats) -> None:
    bus: Bus = await nats_server.connect("config")
    bucket = Bucket(bus, storage.GUILDS)

    async def hold() -> None:
        try:
            await asyncio.Event().wait()
        finally:
            await bucket.put("1", b"released")

    holding = asyncio.create_task(hold())
    await asyncio.sleep(0)
    holding.cancel()
    await asyncio.wait([holding])
    entry = await bucket.get("1")
    assert entry is not None
    assert entry.value == b"released"
