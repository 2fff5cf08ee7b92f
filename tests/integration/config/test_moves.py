"""What operators ask for is done, told, taken over by the next leader, and refused with words."""

import asyncio
import signal
import time

import pytest

from components.bus.buckets import Bucket
from components.bus.errors import Unanswered
from components.config import operations
from contracts import storage, subjects
from contracts.errors import ServiceError
from contracts.ids import GuildId, PodId
from contracts.message import decode
from contracts.operations import (
    BalanceReport,
    ClusterStatus,
    DrainPod,
    GuildList,
    GuildsQuery,
    History,
    HistoryQuery,
    MoveGuilds,
    OperationStarted,
    PauseBalance,
    PinGuild,
    PodList,
    Rebalance,
    UnpinGuild,
)
from contracts.records import Assignment, LeaderLease
from tests.integration.config.cluster import Cluster, Pod

GUILDS = [str(number) for number in range(1, 61)]


async def three(cluster: Cluster, *guilds: str) -> None:
    for name in ("gateway-0", "gateway-1", "gateway-2"):
        await cluster.pod(name)
    await cluster.register(*guilds)
    await cluster.until_followed(*guilds)
    await cluster.until_opened(*guilds)
    await cluster.status_when_ready()


async def idle_pod(cluster: Cluster, name: str) -> Pod:
    """One more pod, which builds nothing; config knows that it serves."""
    pod = await cluster.pod(name)
    pod.works = False
    await until_known(cluster, pod)
    return pod


async def until_known(cluster: Cluster, pod: Pod) -> None:
    """Wait until config knows that the pod serves."""
    async with asyncio.timeout(10):
        while (pod.name, "serving") not in {
            (known.pod, known.state) for known in (await cluster.status()).pods
        }:
            await asyncio.sleep(0.02)


async def test_a_drain_empties_a_pod_tells_its_progress_and_keeps_it_empty(
    cluster: Cluster,
) -> None:
    cluster.config()
    await three(cluster, *GUILDS)
    request = DrainPod(pod=PodId("gateway-0"), by="alice")
    started = await cluster.ask("drain", request, OperationStarted)
    progress = await cluster.until_done(started.operation)
    assert (progress.state, progress.what) == ("done", "drain gateway-0")
    assert progress.done == progress.total > 0
    for owned in (await cluster.assignments()).values():
        assert owned.pod != "gateway-0"
        assert owned.follower is not None
        assert owned.follower.pod != "gateway-0"
    await cluster.register("100")
    await cluster.until_opened("100")
    assert (await cluster.assignments())["100"].pod != "gateway-0"
    await cluster.ask("undrain", request, OperationStarted)
    pods = (await cluster.ask("pods", Rebalance(), PodList)).pods
    async with asyncio.timeout(5):
        while any(pod.to_be_empty for pod in pods):
            pods = (await cluster.ask("pods", Rebalance(), PodList)).pods


async def test_guilds_are_moved_to_the_pod_named_and_history_says_by_whom(
    cluster: Cluster,
) -> None:
    cluster.set(balance_every_s=600.0)
    await cluster.pause()
    cluster.config()
    await three(cluster, "1", "2", "3")
    target = PodId("gateway-2")
    guilds = [GuildId("1"), GuildId("2"), GuildId("3")]
    request = MoveGuilds(guilds=guilds, pod=target, by="alice")
    started = await cluster.ask("move", request, OperationStarted)
    progress = await cluster.until_done(started.operation)
    assert (progress.state, progress.done, progress.total) == ("done", 3, 3)
    owned = await cluster.assignments()
    assert {owned[guild].pod for guild in guilds} == {"gateway-2"}
    moved = [guild for guild in guilds if owned[guild].epoch == 2]
    await cluster.until_history(moved[0], 2)
    changes = (await cluster.ask("history", HistoryQuery(pod=target), History)).changes
    assert ("moved", "alice") in {(change.cause, change.by) for change in changes}


async def test_a_pin_moves_and_an_unpin_frees(cluster: Cluster) -> None:
    cluster.config()
    await three(cluster, "1")
    for pod in ("gateway-0", "gateway-1", "gateway-2"):
        request = PinGuild(guild=GuildId("1"), pod=PodId(pod), by="alice")
        started = await cluster.ask("pin", request, OperationStarted)
        assert (await cluster.until_done(started.operation)).state == "done"
        assert (await cluster.assignments())["1"].pod == pod
    assert (await cluster.guild("1")).pinned == "gateway-2"
    other = MoveGuilds(guilds=[GuildId("1")], pod=PodId("gateway-0"))
    with pytest.raises(ServiceError, match="pinned to gateway-2: unpin it"):
        await cluster.ask("move", other, OperationStarted)
    await cluster.ask("unpin", UnpinGuild(guild=GuildId("1")), OperationStarted)
    async with asyncio.timeout(5):
        while (await cluster.guild("1")).pinned is not None:
            await asyncio.sleep(0.05)


async def test_a_drain_that_is_taken_back_ends_as_failed_with_words(cluster: Cluster) -> None:
    drained = await half_drained(cluster)
    started = await cluster.ask("drain", drained, OperationStarted)
    await cluster.until_running(started.operation)
    await cluster.ask("undrain", drained, OperationStarted)
    progress = await cluster.until_done(started.operation)
    assert (progress.state, progress.text) == ("failed", "gateway-0 was undrained")
    assert progress.done < progress.total


async def test_a_drain_is_not_done_while_a_guild_is_on_its_way_to_the_pod(cluster: Cluster) -> None:
    leader = cluster.config()
    await cluster.pod("gateway-0")
    await cluster.register("1")
    await cluster.until_opened("1")
    idle = await idle_pod(cluster, "gateway-1")
    request = MoveGuilds(guilds=[GuildId("1")], pod=idle.name, by="alice")
    await cluster.ask("move", request, OperationStarted)
    await cluster.until(lambda owned: _joins(owned["1"]) == idle.name, 10)
    started = await cluster.ask("drain", DrainPod(pod=idle.name, by="alice"), OperationStarted)
    progress = await cluster.until_done(started.operation)
    assert progress.total == 1
    assert _joins((await cluster.assignments())["1"]) != idle.name
    await leader.stop()


def _joins(owned: Assignment) -> str:
    return owned.joining.pod if owned.joining is not None else ""


async def test_a_drain_that_another_takes_the_place_of_says_so(cluster: Cluster) -> None:
    drained = await half_drained(cluster)
    first = await cluster.ask("drain", drained, OperationStarted)
    await cluster.until_running(first.operation)
    second = await cluster.ask("drain", drained, OperationStarted)
    progress = await cluster.until_done(first.operation)
    assert progress.state == "failed"
    assert progress.text == "replaced by another drain, which alice asked for"
    assert progress.done < progress.total
    assert (await cluster.until_running(second.operation)).state == "running"


async def half_drained(cluster: Cluster) -> DrainPod:
    """A drain that cannot end: nobody builds what gateway-0 follows."""
    cluster.config()
    pods = [await cluster.pod(f"gateway-{number}") for number in range(3)]
    await cluster.register(*GUILDS)
    await cluster.until_followed(*GUILDS)
    await cluster.until_opened(*GUILDS)
    await cluster.status_when_ready()
    for pod in pods:
        pod.works = False
    return DrainPod(pod=PodId("gateway-0"), by="alice")


async def test_a_pin_that_is_taken_back_before_it_is_carried_out_ends_as_failed(
    cluster: Cluster,
) -> None:
    cluster.config()
    await three(cluster, "1")
    idle = await idle_pod(cluster, "gateway-3")
    request = PinGuild(guild=GuildId("1"), pod=idle.name, by="alice")
    for words in ("guild 1 was unpinned", "bob pinned it to gateway-3 meanwhile"):
        started = await cluster.ask("pin", request, OperationStarted)
        await cluster.until_running(started.operation)
        if "unpinned" in words:
            await cluster.ask("unpin", UnpinGuild(guild=GuildId("1")), OperationStarted)
        else:
            other = PinGuild(guild=GuildId("1"), pod=idle.name, by="bob")
            await cluster.ask("pin", other, OperationStarted)
        progress = await cluster.until_done(started.operation)
        assert (progress.state, progress.done, progress.text) == ("failed", 0, words)


async def test_a_move_that_another_takes_the_place_of_ends_as_failed(cluster: Cluster) -> None:
    cluster.config()
    await three(cluster, "1")
    idle = await idle_pod(cluster, "gateway-3")
    request = MoveGuilds(guilds=[GuildId("1")], pod=idle.name, by="alice")
    first = await cluster.ask("move", request, OperationStarted)
    await cluster.until_running(first.operation)
    owner = (await cluster.assignments())["1"].pod
    back = MoveGuilds(guilds=[GuildId("1")], pod=owner, by="bob")
    second = await cluster.ask("move", back, OperationStarted)
    progress = await cluster.until_done(first.operation)
    assert (progress.state, progress.done) == ("failed", 0)
    assert progress.text == f"guild 1: bob asked for {owner} meanwhile"
    idle.works = True
    await idle.vanish()  # what it was to build is given up
    assert (await cluster.until_done(second.operation)).state == "done"


async def test_a_rebalance_whose_pod_goes_in_the_middle_ends_as_failed(cluster: Cluster) -> None:
    await cluster.pause()
    cluster.config()
    for name in ("gateway-0", "gateway-1"):
        await cluster.pod(name)
    await cluster.register(*GUILDS)
    await cluster.until_followed(*GUILDS)
    await cluster.status_when_ready()
    new = await idle_pod(cluster, "gateway-2")
    started = await cluster.ask("rebalance", Rebalance(by="alice"), OperationStarted)
    await cluster.until_running(started.operation)
    await new.vanish()
    progress = await cluster.until_done(started.operation)
    assert progress.state == "failed"
    assert progress.done < progress.total
    assert "gateway-2" in progress.text


async def test_the_end_is_told_by_a_leader_that_gets_no_further_than_to_delete_the_intent(
    cluster: Cluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Killed there, its successor finds no intent, and would never tell."""
    reached = asyncio.Event()

    class Held(Bucket):
        async def delete(self, key: str, revision: int | None = None) -> None:
            reached.set()
            await asyncio.Event().wait()

    monkeypatch.setattr(operations, "Bucket", Held)
    cluster.config()
    await three(cluster, "1")
    target = (await cluster.assignments())["1"].follower
    assert target is not None
    request = MoveGuilds(guilds=[GuildId("1")], pod=target.pod)
    started = await cluster.ask("move", request, OperationStarted)
    async with asyncio.timeout(20):
        await reached.wait()
    assert (await cluster.until_done(started.operation)).state == "done"


async def test_a_new_pod_gets_its_share_by_itself_and_not_while_paused(cluster: Cluster) -> None:
    cluster.set(grace_s=0.5, balance_every_s=0.5)
    cluster.config()
    for name in ("gateway-0", "gateway-1"):
        await cluster.pod(name)
    await cluster.register(*GUILDS)
    await cluster.until_followed(*GUILDS)
    await cluster.status_when_ready()
    await cluster.ask("pause", PauseBalance(reason="upgrade", by="alice"), OperationStarted)
    status = await cluster.ask("status", Rebalance(), ClusterStatus)
    async with asyncio.timeout(5):
        while not status.paused:
            status = await cluster.ask("status", Rebalance(), ClusterStatus)
    assert (status.paused_by, status.paused_reason) == ("alice", "upgrade")
    await cluster.pod("gateway-2")
    await asyncio.sleep(1.5)
    assert {owned.pod for owned in (await cluster.assignments()).values()} == {
        "gateway-0",
        "gateway-1",
    }
    plan = await cluster.ask("plan", Rebalance(), BalanceReport)
    assert plan.paused
    assert plan.moves_total > 0
    assert plan.max_over_mean_after < plan.max_over_mean
    assert all(move.reason for move in plan.moves)
    await cluster.ask("resume", PauseBalance(), OperationStarted)
    started = time.monotonic()
    await cluster.until(lambda owned: sum(a.pod == "gateway-2" for a in owned.values()) >= 17, 20)
    print(f"60 guilds, 2 to 3 pods: fair {time.monotonic() - started:.1f} s after the resume")


async def test_a_rebalance_that_is_asked_for_is_made_also_while_paused(cluster: Cluster) -> None:
    cluster.config()
    for name in ("gateway-0", "gateway-1"):
        await cluster.pod(name)
    await cluster.register(*GUILDS)
    await cluster.until_followed(*GUILDS)
    await cluster.status_when_ready()
    await cluster.ask("pause", PauseBalance(), OperationStarted)
    await until_known(cluster, await cluster.pod("gateway-2"))
    started = await cluster.ask("rebalance", Rebalance(by="alice"), OperationStarted)
    progress = await cluster.until_done(started.operation, within_s=20)
    assert progress.state == "done"
    assert progress.total >= 17
    owned = (await cluster.assignments()).values()
    assert 17 <= sum(a.pod == "gateway-2" for a in owned) <= 23


async def test_step_24_a_leader_killed_in_the_middle_of_a_drain_is_replaced_at_once_and_it_goes_on(
    cluster: Cluster,
) -> None:
    cluster.set(leader_ttl_s=60, opening_at_once=2, joining_at_once=2)
    leader = cluster.config_process("config-0")
    await cluster.until_led("config-0")
    holders: list[str] = []
    watching = asyncio.create_task(_holders(cluster, holders))
    cluster.config("config-1")
    await three(cluster, *GUILDS)
    request = DrainPod(pod=PodId("gateway-0"))
    started = await cluster.ask("drain", request, OperationStarted)
    await cluster.until(lambda owned: any(a.cause == "drained" for a in owned.values()), 10)
    leader.signal(signal.SIGKILL)
    await cluster.until_led("config-1", within_s=30)
    async with asyncio.timeout(10):
        while "config-1" not in holders:
            await asyncio.sleep(0.02)  # the watch is a moment behind
    watching.cancel()
    # It overwrote the lease of the dead one: what expires or is given back shows as no holder.
    assert list(dict.fromkeys(holders)) == ["config-0", "config-1"]
    assert (await cluster.until_done(started.operation)).state == "done"
    for owned in (await cluster.assignments()).values():
        assert "gateway-0" not in (owned.pod, owned.follower.pod if owned.follower else "")


async def _holders(cluster: Cluster, seen: list[str]) -> None:
    """Note who held the leader's lease, one after the other; "" for nobody."""
    async for entry in Bucket(cluster.operator, storage.LEADERS).watch("config"):
        if entry is not None:
            holder = decode(entry.value, LeaderLease).holder if entry.value else ""
            seen.append(holder)


async def test_while_postgresql_is_away_intents_are_refused_and_takeovers_go_on(
    cluster: Cluster,
) -> None:
    await cluster.pause()
    cluster.config()
    dead = await cluster.pod("gateway-0")
    await cluster.register("1")
    await cluster.until_opened("1")
    await cluster.pod("gateway-1")
    await cluster.until_followed("1")
    await cluster.status_when_ready()
    await cluster.postgres.stop()
    try:
        with pytest.raises(ServiceError, match="nothing was changed"):
            await cluster.ask("drain", DrainPod(pod=PodId("gateway-1")), OperationStarted)
        with pytest.raises(ServiceError, match="PostgreSQL is away"):
            await cluster.ask("history", HistoryQuery(), History)
        await dead.vanish()
        await cluster.until(lambda owned: owned["1"].pod == "gateway-1", 10)
    finally:
        cluster.postgres.start()
        await cluster.postgres.ready()
    await cluster.until_history("1", 2)


async def test_intents_come_back_to_the_bus_from_postgresql(cluster: Cluster) -> None:
    first = cluster.config()
    await three(cluster, "1")
    pin = PinGuild(guild=GuildId("1"), pod=PodId("gateway-1"))
    started = await cluster.ask("pin", pin, OperationStarted)
    await cluster.until_done(started.operation)
    await first.stop()
    await cluster.lose_bucket("intent")
    cluster.config("config-1")
    async with asyncio.timeout(15):
        while True:
            await cluster.status_when_ready()
            if (await cluster.guild("1")).pinned == "gateway-1":
                return
            await asyncio.sleep(0.1)


async def test_every_replica_says_what_is_under_way(cluster: Cluster) -> None:
    cluster.config("config-0")
    await cluster.pod("gateway-0")
    await cluster.register("1")
    await cluster.until_opened("1")
    await cluster.status_when_ready()
    cluster.config("config-1")
    drain = DrainPod(pod=PodId("gateway-0"))
    started = await cluster.ask("drain", drain, OperationStarted)  # nothing can take the guild
    answered: dict[str, list[str]] = {}
    async with asyncio.timeout(20):
        while {"config-0", "config-1"} - answered.keys():
            status = await cluster.status_when_ready()
            under_way = [one.operation for one in status.operations]
            if status.replica not in answered and under_way:
                answered[status.replica] = under_way
            await asyncio.sleep(0.05)
    assert set(map(tuple, answered.values())) == {(started.operation,)}


async def test_guilds_are_listed_a_page_at_a_time(cluster: Cluster) -> None:
    cluster.config()
    await three(cluster, "1", "2", "3", "4")
    page = await cluster.ask("guilds", GuildsQuery(after=GuildId("1"), limit=2), GuildList)
    assert [line.guild for line in page.guilds] == ["2", "3"]
    assert page.total == 3
    of_pod = await cluster.ask("guilds", GuildsQuery(pod=PodId("gateway-0")), GuildList)
    owned = await cluster.assignments()
    assert {line.guild for line in of_pod.guilds} == {
        guild
        for guild, one in owned.items()
        if "gateway-0" in (one.pod, one.follower.pod if one.follower else "")
    }


@pytest.mark.parametrize(
    ("verb", "request_", "words"),
    [
        ("drain", DrainPod(pod=PodId("nobody")), "there is no pod 'nobody'; there are: gateway-0"),
        ("move", MoveGuilds(guilds=[], pod=PodId("gateway-0")), "move takes 1 to 1000 guilds"),
        (
            "move",
            MoveGuilds(guilds=[GuildId("9")], pod=PodId("gateway-0")),
            "guild 9 has no owner yet",
        ),
        ("guilds", GuildsQuery(limit=0), "limit must be between 1 and 2000"),
    ],
)
async def test_what_cannot_be_done_is_refused_with_words(
    cluster: Cluster, verb: str, request_: DrainPod, words: str
) -> None:
    cluster.config()
    await cluster.pod("gateway-0")
    await cluster.status_when_ready()
    async with asyncio.timeout(5):
        while not (await cluster.status()).pods:
            await asyncio.sleep(0.02)
    with pytest.raises(ServiceError, match=words):
        await cluster.ask(verb, request_, OperationStarted)


@pytest.mark.parametrize("user", ["edge", "shard", "gateway", "parent"])
async def test_who_is_not_the_operator_is_refused_by_nats_itself(
    cluster: Cluster, user: str
) -> None:
    cluster.config()
    await cluster.status_when_ready()
    bus = await cluster.nats.connect(user)
    with pytest.raises(Unanswered):
        await bus.ask(subjects.config_endpoint("pause"), b"{}", timeout_s=0.5)
    status = await cluster.status()
    assert not status.paused
