"""Faults hit whom they are meant for."""

import msgspec
import pytest

from components.simulate.cluster import UNSEEN_S, Cluster, Shape
from contracts import storage
from contracts.ids import PodId
from contracts.records import Assignment, LeaderLease, StateSource

UNDISTURBED = Shape(start_s=10.0, faults_s=0.0, well_within_s=0.0)
"""By then sources of moves at the start are given up, which takes a leader a lease."""


def started(*, backed_up: bool = True) -> Cluster:
    """A cluster that has started, with followers."""
    for seed in range(1, 100):
        cluster = Cluster(seed, UNDISTURBED)
        if cluster.followers and cluster.backed_up == backed_up:
            cluster.run()
            assert cluster.judge.violations == []
            return cluster
    raise AssertionError("no seed has such a cluster")


def test_a_pair_is_the_owner_of_a_guild_and_its_follower_with_their_disks() -> None:
    cluster = started()
    before = {guild: cluster.assignment(guild) for guild in cluster.guilds}
    cluster.faults._pair()
    cluster.loop.run_until(cluster.loop.now_s + 1.5, most_steps=100_000)
    wiped = {host.name for host in cluster.pods if host.disks == 2}
    assert len(wiped) == 2
    pairs = [
        {named.pod, named.follower.pod}
        for named in before.values()
        if named is not None and named.follower is not None
    ]
    assert wiped in pairs


def test_a_pair_keeps_one_disk_where_there_is_no_backup() -> None:
    cluster = started(backed_up=False)
    cluster.faults._pair()
    cluster.loop.run_until(cluster.loop.now_s + 1.5, most_steps=100_000)
    assert sum(host.disks == 2 for host in cluster.pods) == 1


def test_a_source_is_no_copy_while_the_loss_of_another_disk_is_too_young_to_be_seen(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    cluster = started(backed_up=False)
    named = cluster.assignment(cluster.guilds[0])
    assert named is not None
    assert named.follower is not None
    owner, follower, third = (
        next(host for host in cluster.pods if host.name == name)
        for name in (named.pod, named.follower.pod, _third(named))
    )
    rows = owner.disk.rows[named.guild]
    owner.disk.rows = {named.guild: rows}
    third.disk.rows[named.guild] = rows
    source = StateSource(pod=PodId(third.name), incarnation=named.incarnation, data=third.disk.data)
    kept = msgspec.structs.replace(named, sources=[source])
    monkeypatch.setattr(cluster, "assignment", lambda guild: kept)
    assert cluster.held_elsewhere(owner)  # with its follower
    follower.kill()
    follower.wipe()
    assert not cluster.held_elsewhere(owner)
    follower.disk_lost_s -= UNSEEN_S
    assert cluster.held_elsewhere(owner)  # with the source
    third.disk.rows.clear()
    assert not cluster.held_elsewhere(owner)


def _third(named: Assignment) -> str:
    assert named.follower is not None
    (name,) = {"gateway-0", "gateway-1", "gateway-2"} - {named.pod, named.follower.pod}
    return name


@pytest.mark.parametrize("for_good", [False, True], ids=["wiped", "never started again"])
def test_the_loss_of_the_last_disk_without_a_backup_is_reported_at_once(for_good: bool) -> None:
    cluster = started(backed_up=False)
    guild = cluster.guilds[0]
    log, named = cluster.server.streams.logs[guild], cluster.assignment(guild)
    assert log.first_kept() != log.first_ever  # the log alone does not rebuild it
    assert named is not None
    assert named.follower is not None
    for pod in (named.pod, named.follower.pod):
        assert cluster.judge.violations == []
        host = next(host for host in cluster.pods if host.name == pod)
        host.gone = for_good
        host.kill()
        if not for_good:
            host.wipe()
    words = [each.words for each in cluster.judge.violations if each.invariant == "sources_cut"]
    assert f"nothing can rebuild {guild}: []" in words


def test_a_replica_of_config_that_is_told_to_end_gives_its_lease_back() -> None:
    cluster = started()
    leader = cluster.leader()
    assert leader is not None
    program = leader.running
    assert program is not None
    given_back: list[bool] = []
    cluster.server.buckets[storage.LEADERS].on_write.append(
        lambda entry: given_back.append(entry.value is None)
    )
    cluster.faults._stop_in_order(leader)
    cluster.loop.run_until(cluster.loop.now_s + 1.0, most_steps=100_000)
    assert not program.process.alive
    assert given_back[0]
    entry = cluster.server.buckets[storage.LEADERS].entries["config"]
    assert isinstance(entry.value, LeaderLease)
    assert not entry.value.holder.startswith(f"{leader.name}#1")
