"""A dead pod's guilds are its followers' within a moment; a living one's are left alone."""

import asyncio
import time

import msgspec

from components.bus.buckets import Bucket
from contracts import storage
from contracts.message import decode, encode
from contracts.records import PodLease, ProcessEnd
from tests.integration.config.cluster import Cluster

GUILDS = [str(number) for number in range(1, 301)]


async def test_step_9_a_killed_pods_guilds_are_promoted_before_its_lease_has_ended(
    cluster: Cluster,
) -> None:
    cluster.config()
    pods = {name: await cluster.pod(name) for name in ("gateway-0", "gateway-1", "gateway-2")}
    await cluster.register(*GUILDS)
    await cluster.until_followed(*GUILDS)
    await cluster.until_opened(*GUILDS)
    before = await cluster.assignments()
    await asyncio.sleep(cluster.settings.pod_ttl_s)
    started = time.monotonic()
    await pods["gateway-0"].vanish()
    mine = [guild for guild, owned in before.items() if owned.pod == "gateway-0"]
    await cluster.until(lambda owned: all(owned[guild].epoch == 2 for guild in mine), 5)
    took_s = time.monotonic() - started
    print(f"{len(mine)} guilds promoted {took_s:.3f} s after the death")
    assert took_s < 1.5
    after = await cluster.assignments()
    for guild in mine:
        follower = before[guild].follower
        assert follower is not None
        assert (after[guild].pod, after[guild].cause) == (follower.pod, "promoted")
        assert [source.pod for source in after[guild].sources] == ["gateway-0"]
    for guild in before.keys() - set(mine):
        assert after[guild].epoch == 1


async def test_step_9_an_attested_end_is_enough(cluster: Cluster) -> None:
    cluster.config()
    dead = await cluster.pod("gateway-0", process="token0")
    await cluster.register("1")
    await cluster.until_opened("1")
    await cluster.pod("gateway-1")
    await cluster.until_followed("1")
    await dead.hang()
    parent = await cluster.nats.connect("parent")
    end = ProcessEnd(pod=dead.name, process="token0", exit_code=-9, ended_ms=1)
    started = time.monotonic()
    await Bucket(parent, storage.ENDS).put("gateway-0.token0", encode(end))
    await cluster.until(lambda owned: owned["1"].pod == "gateway-1", 1)
    assert time.monotonic() - started < 1
    assert (await cluster.assignments())["1"].before == []


async def test_step_9_a_pod_that_hangs_is_fenced_before_its_lease_has_expired(
    cluster: Cluster,
) -> None:
    cluster.set(pod_ttl_s=2.0)
    cluster.config()
    hung = await cluster.pod("gateway-0", ttl_s=6)
    await cluster.register("1")
    await cluster.until_opened("1")
    await cluster.pod("gateway-1")
    await cluster.until_followed("1")
    await asyncio.sleep(6)  # step 10: nobody is judged by silence before
    await hung.hang()
    hung.revision = await Bucket(hung.bus, storage.PODS).replace(
        hung.name, encode(hung.lease("serving")), hung.revision, ttl_s=6
    )
    started = time.monotonic()
    await cluster.until(lambda owned: owned["1"].pod == "gateway-1", 10)
    assert 2.0 < time.monotonic() - started < 5.0


async def test_step_10_a_pod_whose_connection_was_cut_and_that_is_back_keeps_its_guilds(
    cluster: Cluster,
) -> None:
    cluster.config()
    pod = await cluster.pod("gateway-0")
    await cluster.pod("gateway-1")
    await cluster.register("1", "2")
    await cluster.until_followed("1", "2")
    other = await cluster.nats.connect("gateway")
    lease = pod.lease("serving")
    await pod.stop_working()
    # The lease names another connection of the same pod, which is then closed.
    named = msgspec.structs.replace(lease, nats_client=other.client_id)
    pod.revision = await Bucket(pod.bus, storage.PODS).replace(
        pod.name, encode(named), pod.revision, ttl_s=10
    )
    await asyncio.sleep(0.2)
    await other.close()
    await asyncio.sleep(1.0)
    assert {owned.epoch for owned in (await cluster.assignments()).values()} == {1}
    entry = await Bucket(cluster.operator, storage.PODS).get("gateway-0")
    assert entry is not None
    assert decode(entry.value or b"", PodLease).state == "serving"


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
