"""When first responders are back: seen, not assumed. Raises `NotInTime`."""

import asyncio
import time
from collections.abc import Awaitable, Callable

from components.bus.buckets import Bucket
from components.bus.errors import BusError
from components.chaos.arena import BACK_S, Arena, NotInTime
from components.stack.cluster import Cluster
from contracts import storage
from contracts.message import MalformedMessage, decode
from contracts.records import ShardLease

POLL_S = 0.1
"""Each look is a watch of its own."""


async def shards_back(arena: Arena, since_ms: float) -> float:
    """Wait until every shard id's lease has been renewed since then by a holder that is connected
    to Discord: it is on the bus again. Returns when that was, in ms of this wall clock."""
    bucket = Bucket(arena.live.bus, storage.SHARDS)
    return await _when(lambda: _are_back(bucket, since_ms), "every shard is on the bus again")


async def sessions_back(arena: Arena) -> float:
    """Wait until every Discord session has a socket again. Returns when that was, in ms."""
    return await _when(lambda: _have_sockets(arena), "every session has a socket again")


async def _when(true: Callable[[], Awaitable[bool]], words: str) -> float:
    try:
        async with asyncio.timeout(BACK_S):
            while not await true():  # noqa: ASYNC110
                await asyncio.sleep(POLL_S)  # another process's state: there is no event for it
    except TimeoutError:
        raise NotInTime(f"not within {BACK_S:g} s: {words}") from None
    return time.time() * 1000


async def _are_back(bucket: Bucket, since_ms: float) -> bool:
    try:
        # a snapshot knows no times
        entries = [await bucket.get(key) for key in await bucket.snapshot()]
    except (BusError, TimeoutError):
        return False
    back: set[int] = set()
    count = 1
    for entry in entries:
        try:
            lease = decode((entry and entry.value) or b"", ShardLease)
        except MalformedMessage:
            continue  # not a lease: the plan, a replica, a turn to IDENTIFY
        count = max(count, lease.shard_count)
        if entry is not None and lease.state == "connected" and entry.created_ms > since_ms:
            back.add(lease.shard)
    return len(back) >= count


async def _have_sockets(arena: Arena) -> bool:
    sessions = await arena.live.control.sessions()
    shards = {tuple(one["shard"]) for one in sessions}
    return bool(shards) and shards == {tuple(s["shard"]) for s in sessions if s["connected"]}


async def has_session(arena: Arena, replica: str) -> bool:
    """Whether the replica of the shard holds a shard id, as far as the bus can tell now."""
    try:
        leases = await Cluster(arena.live.bus).shards()
    except (BusError, TimeoutError):
        return True  # nobody can say that it does not
    return any(lease.holder == replica for lease in leases.values())
