"""Buckets read in full: nothing is taken for absent because it is still on its way."""

import asyncio
import contextlib
import json
from collections.abc import AsyncGenerator

import pytest

from components.bus.buckets import WATCHED_S, Bucket
from components.bus.connection import Bus
from components.bus.entries import Entry
from components.bus.errors import NotConnected, Refused, Unanswered
from contracts import storage
from tests.support.nats import RunningNats


async def test_a_snapshot_taken_under_writes_misses_nothing(
    nats_server: RunningNats,
) -> None:
    bus = await nats_server.connect("config")
    bucket = Bucket(bus, storage.GUILDS)
    keys = {str(number) for number in range(300)}

    async def write_all() -> None:
        await asyncio.gather(*(bucket.put(key, b"x" * 200) for key in keys))

    async def keep_writing() -> None:
        while True:
            await write_all()

    await write_all()
    writing = asyncio.create_task(keep_writing())
    sizes = [len(await bucket.snapshot()) for _ in range(10)]
    writing.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await writing
    assert set(sizes) == {len(keys)}


async def test_a_large_bucket_is_read_as_long_as_more_of_it_comes(
    nats_server: RunningNats, monkeypatch: pytest.MonkeyPatch
) -> None:
    bus = await nats_server.connect("config")
    bucket = Bucket(bus, storage.GUILDS)
    for number in range(6):
        await bucket.put(str(number), b"x")
    shown = bucket._once

    async def slowly(keys: str) -> AsyncGenerator[Entry | None, None]:
        async for entry in shown(keys):
            await asyncio.sleep(0.2)
            yield entry

    monkeypatch.setattr(bucket, "_once", slowly)
    assert len(await bucket.snapshot(timeout_s=1)) == 6  # takes 1.2 s

    async def never(keys: str) -> AsyncGenerator[Entry | None, None]:
        await asyncio.Event().wait()
        yield None

    monkeypatch.setattr(bucket, "_once", never)
    with pytest.raises(Unanswered):
        await bucket.snapshot(timeout_s=0.1)


async def test_a_watch_says_that_it_is_complete_once_and_after_the_entries(
    nats_server: RunningNats,
) -> None:
    bus = await nats_server.connect("config")
    bucket = Bucket(bus, storage.GUILDS)
    for present in (0, 1, 300):
        for number in range(present):
            await bucket.put(str(number), b"x")
        seen: list[str | None] = []
        async for entry in bucket.watch():
            seen.append(entry.key if entry is not None else None)
            if entry is None:
                await bucket.put("later", b"x")
            elif entry.key == "later" and None in seen:
                break
        await bucket.delete("later")
        assert seen.count(None) == 1
        assert {str(number) for number in range(present)} <= set(seen[: seen.index(None)])


async def test_a_snapshot_during_which_the_client_reconnects_is_an_error(
    nats_server: RunningNats,
) -> None:
    bus = await nats_server.connect("config")
    bucket = Bucket(bus, storage.GUILDS)
    await bucket.put("1", b"x")
    reading = asyncio.create_task(bucket.snapshot())
    await asyncio.sleep(0)  # it has begun, on the connection there is
    await bus._connected()
    with pytest.raises(NotConnected):
        await reading


async def test_reading_leaves_no_consumers_behind(nats_server: RunningNats) -> None:
    bus = await nats_server.connect("config")
    bucket = Bucket(bus, storage.GUILDS)
    await bucket.put("1", b"x")
    for _ in range(50):
        await bucket.snapshot()
        async for entry in bucket.watch():
            if entry is None:
                break
    operator = await nats_server.connect("operator")
    async with asyncio.timeout(WATCHED_S - 1):  # sooner than the server forgets them by itself
        while await consumers(operator, storage.GUILDS):
            await asyncio.sleep(0.05)


async def test_the_server_forgets_the_watch_of_who_was_killed(nats_server: RunningNats) -> None:
    bus = await nats_server.connect("config")
    watching = Bucket(bus, storage.GUILDS).watch()
    assert await anext(watching) is None
    operator = await nats_server.connect("operator")
    assert await consumers(operator, storage.GUILDS) == 1
    await bus.close()  # says nothing about the watch
    async with asyncio.timeout(4 * WATCHED_S):
        while await consumers(operator, storage.GUILDS):
            await asyncio.sleep(0.1)


async def consumers(bus: Bus, bucket: str) -> int:
    """How many consumers the bucket's stream has, by the server."""
    answer = await bus.ask(f"$JS.API.STREAM.INFO.KV_{bucket}", b"")
    count = json.loads(answer.data)["state"]["consumer_count"]
    assert isinstance(count, int)
    return count


async def test_many_keys_are_written_at_once_or_none_of_them(nats_server: RunningNats) -> None:
    bus = await nats_server.connect("config")
    bucket = Bucket(bus, storage.GUILDS)
    first = await bucket.replace_all([(str(number), b"1", 0) for number in range(64)])
    assert first == list(range(first[0], first[0] + 64))
    changes = [(str(number), b"2", revision) for number, revision in enumerate(first)]
    second = await bucket.replace_all(changes)
    entries = await bucket.snapshot()
    assert {key: (entry.value, entry.revision) for key, entry in entries.items()} == {
        str(number): (b"2", revision) for number, revision in enumerate(second)
    }
    beaten = await bucket.put("7", b"somebody else's")
    with pytest.raises(Refused):
        await bucket.replace_all(
            [(str(number), b"3", revision) for number, revision in enumerate(second)]
        )
    entries = await bucket.snapshot()
    values = {key: entry.value for key, entry in entries.items() if key != "7"}
    assert set(values.values()) == {b"2"}
    assert len(values) == 63
    assert entries["7"].revision == beaten
