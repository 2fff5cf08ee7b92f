"""A replica's key, and its part of the global rate."""

import asyncio
from collections.abc import Callable

from components.bus.buckets import Bucket
from components.process.clock import steady_s
from components.shard.board import encode_replica
from components.shard.presence import Presence
from components.sharing.division import REST
from components.sharing.invalid import InvalidCount
from contracts import storage
from contracts.message import decode
from contracts.records import RestShares
from tests.support.nats import RunningNats

KEY = f"{storage.SHARD_REPLICA}shard-0"


async def test_a_replica_that_lost_its_key_uses_nothing_until_the_division_names_it_anew(
    nats_server: RunningNats,
) -> None:
    bus = await nats_server.connect("shard")
    shards, shares = Bucket(bus, storage.SHARDS), Bucket(bus, storage.SHARES)
    presence = Presence(bus, "shard-0", ttl_s=2, invalid=InvalidCount(steady_s), rest_per_s=50.0)
    showing = asyncio.create_task(presence.run())

    async def until(true: Callable[[], bool]) -> None:
        async with asyncio.timeout(10):
            while not true():
                await asyncio.sleep(0.01)

    async def division() -> RestShares:
        entry = await shares.get(REST)
        assert entry is not None
        return decode(entry.value or b"", RestShares)

    await until(lambda: presence.share.share == 25)  # half of what is free
    before = await division()
    entry = await shards.get(KEY)
    assert entry is not None
    revision = await shards.put(KEY, encode_replica("shard-0", 0))  # another holds the name now
    await until(lambda: presence.share.share == 0)
    assert not presence.valid()
    assert await division() == before, "it still names the start that is over"
    await shards.delete(KEY, revision)
    await until(lambda: presence.share.share == 25)
    after = await division()
    assert after.shares == before.shares
    assert after.incarnations[KEY] != before.incarnations[KEY]
    showing.cancel()
    await asyncio.wait([showing])
