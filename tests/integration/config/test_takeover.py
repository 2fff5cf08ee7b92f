"""A dead pod's guilds are its followers' within a moment; a living one's are left alone."""

import asyncio

from components.bus.buckets import Bucket
from contracts import storage
from contracts.message import encode
from contracts.records import ProcessEnd
from tests.integration.config.cluster import Cluster

GUILDS = [str(number) for number in range(1, 301)]
LONG_S = 60
"""A TTL that does not end within a test: nobody is judged by silence, no lease expires."""


async def fenced(cluster: Cluster, pod: str) -> bool:
    """Whether the pod's lease is there, overwritten by config: it has not expired."""
    lease = await cluster.lease(pod)
    return lease is not None and (lease.state, lease.fenced_by) == ("fenced", "config-0")


async def test_step_9_a_killed_pods_guilds_are_promoted_before_its_lease_has_ended(
    cluster: Cluster,
) -> None:
    cluster.set(pod_ttl_s=LONG_S)
    cluster.config()
    names = ("gateway-0", "gateway-1", "gateway-2")
    pods = {name: await cluster.pod(name, ttl_s=LONG_S) for name in names}
    await cluster.register(*GUILDS)
    await cluster.until_followed(*GUILDS)
    await cluster.until_opened(*GUILDS)
    before = await cluster.assignments()
    await pods["gateway-0"].vanish()
    mine = [guild for guild, owned in before.items() if owned.pod == "gateway-0"]
    await cluster.until(lambda owned: all(owned[guild].epoch == 2 for guild in mine), LONG_S / 2)
    assert await fenced(cluster, "gateway-0")
    after = await cluster.assignments()
    for guild in mine:
        follower = before[guild].follower
        assert follower is not None
        assert (after[guild].pod, after[guild].cause) == (follower.pod, "promoted")
        assert [source.pod for source in after[guild].sources] == ["gateway-0"]
    for guild in before.keys() - set(mine):
        assert after[guild].epoch == 1


async def test_step_9_an_attested_end_is_enough(cluster: Cluster) -> None:
    cluster.set(pod_ttl_s=LONG_S)
    cluster.config()
    dead = await cluster.pod("gateway-0", process="token0", ttl_s=LONG_S)
    await cluster.register("1")
    await cluster.until_opened("1")
    await cluster.pod("gateway-1", ttl_s=LONG_S)
    await cluster.until_followed("1")
    await dead.hang()
    parent = await cluster.nats.connect("parent")
    end = ProcessEnd(pod=dead.name, process="token0", exit_code=-9, ended_ms=1)
    await Bucket(parent, storage.ENDS).put("gateway-0.token0", encode(end))
    await cluster.until(lambda owned: owned["1"].pod == "gateway-1", LONG_S / 2)
    assert await fenced(cluster, "gateway-0")
    assert (await cluster.assignments())["1"].before == []


async def test_step_9_a_pod_that_hangs_is_fenced_while_its_key_still_stands(
    cluster: Cluster,
) -> None:
    cluster.config()
    hung = await cluster.pod("gateway-0", ttl_s=3)
    await cluster.register("1")
    await cluster.until_opened("1")
    await cluster.pod("gateway-1")
    await cluster.until_followed("1")
    await hung.hang()
    hung.revision = await Bucket(hung.bus, storage.PODS).replace(
        hung.name, encode(hung.lease("serving")), hung.revision, ttl_s=LONG_S
    )
    await cluster.until(lambda owned: owned["1"].pod == "gateway-1", LONG_S / 2)
    assert await fenced(cluster, "gateway-0")


async def test_step_10_a_pod_whose_connection_was_cut_and_that_is_back_keeps_its_guilds(
    cluster: Cluster,
) -> None:
    cluster.set(pod_ttl_s=LONG_S)
    cluster.config()
    pod = await cluster.pod("gateway-0", ttl_s=LONG_S)
    await cluster.pod("gateway-1", ttl_s=LONG_S)
    await cluster.register("1", "2")
    await cluster.until_followed("1", "2")
    await cluster.status_when_ready()
    await pod.stop_working()
    # The lease names another connection of the same pod, which is then closed.
    other = await cluster.nats.connect("gateway")
    pod.tell(nats_client=other.client_id, zone="before")
    await pod.renew()
    await cluster.until_zone("gateway-0", "before")
    await other.close()
    await asyncio.wait_for(pod.pinged.wait(), 20)
    pod.tell(zone="after")
    await pod.renew()  # a fence would have taken the lease away
    await cluster.until_zone("gateway-0", "after")
    assert {owned.epoch for owned in (await cluster.assignments()).values()} == {1}
    lease = await cluster.lease("gateway-0")
    assert lease is not None
    assert lease.state == "serving"


async def test_a_lost_pods_rows_are_restored_elsewhere_when_it_had_no_follower(
    cluster: Cluster,
) -> None:
    cluster.set(followers=0)
    await cluster.pause()
    cluster.config()
    lost = await cluster.pod("gateway-0", replica="pods/gateway-0/x")
    await cluster.register("1")
    await cluster.until_opened("1")
    await cluster.pod("gateway-1")
    await lost.vanish()
    await cluster.until(lambda owned: owned["1"].pod == "gateway-1", 10)
    owned = (await cluster.assignments())["1"]
    assert owned.cause == "restored"
    assert [source.replica for source in owned.sources] == ["pods/gateway-0/x"]


async def test_history_says_how_a_takeover_went(cluster: Cluster) -> None:
    await cluster.pause()
    cluster.config()
    dead = await cluster.pod("gateway-0")
    await cluster.register("1")
    await cluster.until_opened("1")
    await cluster.pod("gateway-1")
    await cluster.until_followed("1")
    await dead.vanish()
    await cluster.until(lambda owned: owned["1"].epoch == 2, 10)
    await cluster.until_opened("1")
    await cluster.until_history("1", 2)
    async with asyncio.timeout(10):
        while (await cluster.guild("1")).history[0].took_ms is None:
            await asyncio.sleep(0.05)
    row = (await cluster.guild("1")).history[0]
    assert (row.cause, row.from_pod, row.pod) == ("promoted", "gateway-0", "gateway-1")
    assert (row.by, row.took_ms, row.replayed, row.source) == ("config-0", 7, 3, "log")
    assert row.reason == "gateway-0 is gone; gateway-1 has followed"
