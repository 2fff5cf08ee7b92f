"""Leases that ended but do not expire, as a killed nats-server may leave them: nobody waits for
ever. A key without a time to live is exactly what such a key is."""

import asyncio

from components.bus.buckets import Bucket
from contracts import storage
from contracts.message import decode, encode
from contracts.records import LeaderLease, PodLease
from tests.integration.config.cluster import TTL_S, Cluster


async def test_the_lease_of_a_dead_leader_is_taken_although_it_does_not_expire(
    cluster: Cluster,
) -> None:
    config = await cluster.nats.connect("config")
    dead = LeaderLease(holder="config-9", since_ms=1)
    await Bucket(config, storage.LEADERS).put("config", encode(dead))
    cluster.config("config-0")
    cluster.config("config-1")
    async with asyncio.timeout(15):
        while await cluster.leader() == "config-9":
            await asyncio.sleep(0.05)
    await cluster.pod("gateway-0")
    await cluster.register("1")
    await cluster.until(lambda owned: "1" in owned)


async def test_a_dead_pod_is_away_and_replaced_although_its_lease_does_not_expire(
    cluster: Cluster,
) -> None:
    cluster.set(pod_ttl_s=float(TTL_S))
    cluster.config()
    dead = await cluster.pod("gateway-0")
    await cluster.register("1")
    await cluster.until(lambda owned: "1" in owned, 10)
    await cluster.pod("gateway-1")
    await dead.revive()
    await cluster.until(lambda owned: owned["1"].pod == "gateway-1", 20)
    entry = await Bucket(cluster.operator, storage.PODS).get("gateway-0")
    assert entry is not None
    assert decode(entry.value or b"", PodLease).state == "fenced"


async def test_a_pod_that_renews_is_not_taken_for_dead(cluster: Cluster) -> None:
    cluster.set(pod_ttl_s=float(TTL_S))
    cluster.config()
    await cluster.pod("gateway-0")
    other = await cluster.pod("gateway-1")
    await cluster.register("1", "2")
    await cluster.until(lambda owned: len(owned) == 2, 10)
    await other.revive()
    await cluster.until(lambda owned: {a.pod for a in owned.values()} == {"gateway-0"}, 20)
    assert {a.epoch for a in (await cluster.assignments()).values()} == {1, 2}
