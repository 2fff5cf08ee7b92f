"""What the bus shows of a process that was just started."""

from components.bus.buckets import Bucket
from components.stack.cluster import Cluster
from contracts import storage
from contracts.message import encode
from contracts.records import ShardLease, ShardReplica
from tests.support.nats import RunningNats

STARTED_MS = 1_000


async def test_a_shard_that_finds_every_id_held_is_ready_once_it_has_shown_that_it_lives(
    nats_server: RunningNats,
) -> None:
    shards = Bucket(await nats_server.connect("shard"), storage.SHARDS)
    cluster = Cluster(await nats_server.connect("operator"))
    held = ShardLease(shard=0, holder="shard-0", shard_count=1, state="connected", since_ms=1)
    await shards.put("0", encode(held))
    assert not await cluster.shard_connected("shard-1", STARTED_MS), "nobody has heard of it"
    for since_ms, is_ready in ((STARTED_MS - 1, False), (STARTED_MS, True)):
        shown = ShardReplica(replica="shard-1", since_ms=since_ms)
        await shards.put("replica.shard-1", encode(shown))
        assert await cluster.shard_connected("shard-1", STARTED_MS) is is_ready
