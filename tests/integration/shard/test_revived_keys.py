"""Leases that ended but do not expire, as a killed nats-server may leave them: a replica gets past
them. A key without a time to live is exactly what such a key is."""

from components.bus.buckets import Bucket
from components.simulator.client import SimulatorControl
from contracts import storage
from contracts.message import encode
from contracts.records import ShardLease, ShardReplica
from tests.integration.shard.replicas import Replicas
from tests.integration.shard.test_sharing import held
from tests.support.nats import RunningNats


async def test_a_replica_gets_past_every_key_that_the_dead_left(
    control: SimulatorControl, nats_server: RunningNats, replicas: Replicas
) -> None:
    await control.create_guilds(count=2, member_count=2)
    bucket = Bucket(await nats_server.connect("shard"), storage.SHARDS)
    dead = encode(ShardReplica(replica="shard-z", since_ms=1))
    for key in ("replica.shard-z", "replica.shard-a", "identify.0", "identify.1"):
        await bucket.put(key, dead)
    for shard in (0, 1):
        lease = ShardLease(shard=shard, holder="shard-z", shard_count=2, since_ms=1)
        await bucket.put(str(shard), encode(lease))
    operator = await nats_server.connect("operator")
    replica = await replicas.start("shard-a", count=2)
    await held(operator, shard_a=2)  # nothing for the dead, nothing left to them
    assert replica.words().count("waits for its turn to identify") <= 2
    shown = await bucket.get("replica.shard-a")
    assert shown is not None
    assert shown.value != dead
