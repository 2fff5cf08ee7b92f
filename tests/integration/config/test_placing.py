"""Guilds are placed, stay with their pod, and move only when nothing is lost by it."""

import asyncio
import shutil
from collections.abc import Sequence

import pytest

from components.bus.buckets import Bucket
from components.bus.provisioning import provision
from contracts import storage
from contracts.message import decode
from contracts.records import PodLease
from tests.integration.config.cluster import Cluster

GUILDS = [str(number) for number in range(1, 1001)]


async def test_a_thousand_new_guilds_are_placed_evenly(
    cluster: Cluster,
) -> None:
    cluster.config()
    for name in ("gateway-0", "gateway-1"):
        await cluster.pod(name)
    await cluster.until_led()
    await cluster.register(*GUILDS)
    await cluster.until(lambda owned: len(owned) == 1000, 30)
    owned = (await cluster.assignments()).values()
    assert {assignment.epoch for assignment in owned} == {1}
    assert [sum(a.pod == pod for a in owned) for pod in ("gateway-0", "gateway-1")] == [500, 500]


async def test_assignments_of_which_somebody_else_has_written_one_are_written_one_by_one(
    cluster: Cluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    beaten: list[str] = []
    together = Bucket.replace_all

    async def too_late(self: Bucket, changes: Sequence[tuple[str, bytes, int]]) -> list[int]:
        """Another replica, which decides the same, is faster with the first of them."""
        key, value, _ = changes[0]
        if not beaten:
            beaten.append(key)
            await self.put(key, value)
        return await together(self, changes)

    monkeypatch.setattr(Bucket, "replace_all", too_late)
    await cluster.pod("gateway-0")
    await cluster.register(*GUILDS[:50])
    cluster.config()
    await cluster.until(lambda owned: len(owned) == 50, 30)
    owned = await cluster.assignments()
    assert len(beaten) == 1
    assert {assignment.epoch for assignment in owned.values()} == {1}
    async with asyncio.timeout(20):
        while await cluster.history_rows() < 50:
            await asyncio.sleep(0.1)


async def test_a_restarted_pod_gets_a_thousand_guilds_back_at_the_next_epoch(
    cluster: Cluster,
) -> None:
    cluster.config()
    pod = await cluster.pod("gateway-0")
    await cluster.register(*GUILDS)
    await cluster.until_opened(*GUILDS)
    before = await cluster.assignments()
    await pod.vanish()
    await pod.ended()
    await pod.start()
    await cluster.until(lambda owned: all(a.epoch == 2 for a in owned.values()), 30)
    for guild, assignment in (await cluster.assignments()).items():
        assert assignment.pod == "gateway-0"
        assert assignment.incarnation == pod.incarnation
        assert assignment.cause == "restarted"
        assert assignment.first_sequence == before[guild].first_sequence


async def test_a_guild_of_a_dead_pod_moves_only_if_its_log_is_whole(cluster: Cluster) -> None:
    cluster.set(followers=0)
    await cluster.pause()
    cluster.config()
    lost = await cluster.pod("gateway-0")
    await cluster.register("1", "2")
    await cluster.until_opened("1", "2")
    await cluster.pod("gateway-1")
    await cluster.purge("2")
    await cluster.append("2")
    await lost.vanish()
    await cluster.until(lambda owned: owned["1"].pod == "gateway-1", 10)
    moved = (await cluster.assignments())["1"]
    assert (moved.epoch, moved.cause) == (2, "replaced")
    entry = await Bucket(cluster.operator, storage.PODS).get("gateway-0")
    assert entry is not None
    assert entry.value is not None
    fence = decode(entry.value, PodLease)
    assert (fence.state, fence.fenced_by) == ("fenced", "config-0")
    await cluster.reason("2", "its first input is no longer on the log and no backup has its rows")
    assert (await cluster.assignments())["2"].pod == "gateway-0"
    await lost.restart()
    await cluster.until(lambda owned: owned["2"].epoch == 2)
    after = await cluster.assignments()
    assert (after["2"].pod, after["2"].cause) == ("gateway-0", "restarted")
    assert after["1"].pod == "gateway-1"


async def test_guilds_wait_for_room_and_are_placed_when_there_is(cluster: Cluster) -> None:
    cluster.config()
    await cluster.register("1", "2", "3")
    await cluster.reason("1", "no pod is serving")
    await cluster.pod("gateway-0", capacity=2)
    await cluster.until(lambda owned: len(owned) == 2)
    await cluster.reason("3", "all at their capacity")
    await cluster.pod("gateway-1", capacity=2)
    await cluster.until(lambda owned: len(owned) == 3)
    assert (await cluster.assignments())["3"].pod == "gateway-1"


async def test_a_guild_is_placed_once_its_first_input_is_on_the_log(cluster: Cluster) -> None:
    cluster.config()
    await cluster.pod("gateway-0")
    await cluster.register("1", append=False)
    await cluster.reason("1", "nothing is on its log yet")
    first = await cluster.append("1")
    await cluster.append("1")
    await cluster.until(lambda owned: "1" in owned)
    assert (await cluster.assignments())["1"].first_sequence == first


async def test_a_guild_that_only_the_history_knows_is_not_served_from_nothing(
    cluster: Cluster,
) -> None:
    first = cluster.config()
    await cluster.pod("gateway-0")
    await cluster.register("1")
    await cluster.until(lambda owned: "1" in owned)
    await cluster.until_history("1", 1)
    await first.stop()
    await cluster.lose_bucket(storage.GUILDS)
    cluster.config("config-1")
    await cluster.register("2")
    await cluster.until(lambda owned: "2" in owned, 10)
    await cluster.reason("1", "history knows this guild but the bus does not")
    assert "1" not in await cluster.assignments()


async def test_a_replica_that_stood_by_reads_the_history_before_it_places(
    cluster: Cluster,
) -> None:
    """What it had read before it led lacks the guilds that the other has placed since."""
    first = cluster.config_process("config-0")
    await cluster.until_led("config-0")
    second = cluster.config_process("config-1")
    async with asyncio.timeout(20):
        while "PostgreSQL is there; its history knows 0 guilds" not in second.words():
            await asyncio.sleep(0.05)
    pod = await cluster.pod("gateway-0")
    await cluster.register("1")
    await cluster.until_history("1", 1)
    await pod.vanish()
    cluster.nats.kill()
    first.close()
    (lost,) = cluster.nats.folder.rglob(f"KV_{storage.GUILDS}")
    shutil.rmtree(lost)
    await cluster.nats.start()
    await cluster.until_connected()
    await provision(cluster.provisioner)
    await cluster.until_led("config-1")
    await pod.restart()
    await cluster.register("2")
    await cluster.until(lambda owned: "2" in owned, 20)
    await cluster.reason("1", "history knows this guild but the bus does not")
    assert "1" not in await cluster.assignments()


async def test_step_22_the_leader_says_whether_a_guild_of_the_history_lost_its_assignment(
    cluster: Cluster,
) -> None:
    first = cluster.config()
    await cluster.pod("gateway-0")
    await cluster.register("1")
    await cluster.until_history("1", 1)
    await cluster.until_all_assigned(True)
    await cluster.postgres.stop()
    try:
        await cluster.until_all_assigned(False)
    finally:
        cluster.postgres.start()
        await cluster.postgres.ready()
    await cluster.until_all_assigned(True)
    await first.stop()
    await cluster.lose_bucket(storage.GUILDS)
    cluster.config("config-1")
    await cluster.until_led("config-1")
    await cluster.register("2")
    await cluster.until_history("2", 1)
    await cluster.until_all_assigned(False)
    with pytest.raises(TimeoutError):
        await cluster.until_all_assigned(True, within_s=2)


async def test_placement_goes_on_after_nats_was_away(cluster: Cluster) -> None:
    cluster.config()
    pod = await cluster.pod("gateway-0")
    await cluster.register("1")
    await cluster.until(lambda owned: "1" in owned)
    await pod.vanish()
    cluster.nats.kill()
    await cluster.nats.start()
    await cluster.until_connected()
    await pod.restart()
    await cluster.register("2")
    await cluster.until(lambda owned: "2" in owned and owned["1"].epoch == 2, 15)
