"""What operators ask for goes through the product's own leader, view and balance."""

from components.simulate.cluster import Cluster, Shape
from components.simulate.config import Config
from contracts import storage
from contracts.ids import GuildId, PodId
from contracts.records import BalanceIntent, GuildIntent

UNDISTURBED = Shape(pods=2, configs=1, guilds=4, faults_s=0.0, well_within_s=0.0)


def started() -> Cluster:
    cluster = Cluster(3, UNDISTURBED)
    cluster.run()
    return cluster


def leader(cluster: Cluster) -> Config:
    host = cluster.leader()
    assert host is not None
    program = host.running
    assert isinstance(program, Config)
    return program


def owners(cluster: Cluster) -> list[str]:
    named = [cluster.assignment(guild) for guild in cluster.guilds]
    return [each.pod if each is not None else "" for each in named]


def pin(cluster: Cluster, guild: str, pod: str) -> None:
    value = GuildIntent(guild=GuildId(guild), pod=PodId(pod), by="test", since_ms=0)
    cluster.server.buckets[storage.INTENT].write(f"guild.{guild}", value, None, None)


def pause(cluster: Cluster, *, paused: bool) -> None:
    value = BalanceIntent(paused=paused, by="test", since_ms=0)
    cluster.server.buckets[storage.INTENT].write("balance", value, None, None)


def run(cluster: Cluster, seconds: float) -> None:
    assert cluster.loop.run_until(cluster.loop.now_s + seconds, most_steps=200_000)
    assert cluster.judge.violations == []


def test_pinned_guilds_move_and_guilds_spread_again_once_they_are_free_and_not_paused() -> None:
    cluster = started()
    run(cluster, 5.0)
    assert sorted(owners(cluster).count(pod.name) for pod in cluster.pods) == [2, 2]
    pause(cluster, paused=True)
    for guild in cluster.guilds:
        pin(cluster, guild, "gateway-1")
    run(cluster, 10.0)
    assert owners(cluster) == ["gateway-1"] * 4
    for guild in cluster.guilds:
        cluster.server.buckets[storage.INTENT].write(f"guild.{guild}", None, None, None)
    run(cluster, 15.0)
    assert owners(cluster) == ["gateway-1"] * 4  # nothing moves by itself
    pause(cluster, paused=False)
    run(cluster, 15.0)
    assert sorted(owners(cluster).count(pod.name) for pod in cluster.pods) == [2, 2]
    assert cluster.loop.seen["guilds spread"] > 0


def test_a_rebalance_that_is_asked_for_is_made_while_paused() -> None:
    cluster = started()
    pause(cluster, paused=True)
    for guild in cluster.guilds:
        pin(cluster, guild, "gateway-1")
    run(cluster, 10.0)
    for guild in cluster.guilds:
        cluster.server.buckets[storage.INTENT].write(f"guild.{guild}", None, None, None)
    run(cluster, 2.0)  # the leader's watch is up to 1.5 s late
    leader(cluster).spread(by="operator")
    run(cluster, 10.0)
    assert sorted(owners(cluster).count(pod.name) for pod in cluster.pods) == [2, 2]
    assert cluster.loop.seen["guilds spread as asked"] == 1
