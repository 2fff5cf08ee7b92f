"""What Discord counts against the address is told by the shard, too."""

from components.bus.buckets import Bucket
from components.simulator.client import SimulatorControl
from contracts import storage
from contracts.message import decode
from contracts.records import ShardReplica
from tests.integration.shard.replicas import Replicas, until
from tests.support.nats import RunningNats


async def test_a_replica_tells_how_many_of_its_requests_were_invalid(
    control: SimulatorControl, nats_server: RunningNats, replicas: Replicas
) -> None:
    bus = await nats_server.connect("config")
    shards = Bucket(bus, storage.SHARDS)
    await control.add_fault(
        path="*/users/@me", status=429, retry_after_s=0.1, scope="shared", count=1
    )
    await control.add_fault(path="*/applications/*/commands", status=403, count=2)
    await replicas.start("shard-a", count=1)

    async def count() -> int:
        entry = await shards.get(f"{storage.SHARD_REPLICA}shard-a")
        if entry is None or entry.value is None:
            return 0
        return decode(entry.value, ShardReplica).invalid_requests

    async def told() -> bool:
        return await count() == 2

    await until(told)
