"""0006, steps 9, 10 and 12: who is suspected, who is fenced, who is left alone."""

import pytest

from components.config.suspicion import KEPT_LOST
from contracts import storage
from contracts.records import PodLease
from tests.unit.config.town import Town, earlier, holder


@pytest.fixture
def town() -> Town:
    town = Town()
    town.pod("a", nats_client=7, nats_server="N1", process="p1")
    town.pod("b", nats_client=7, nats_server="N2")
    town.owned("1", "a", follower=holder("b"))
    town.settle()
    return town


def fenced(town: Town, pod: str) -> bool:
    lease = town.view.pods[pod].lease  # type: ignore[index]
    return lease is not None and lease.state == "fenced"


def test_step_9_a_lost_connection_and_no_responder_fence_at_once(town: Town) -> None:
    town.deaf.add("a")
    town.leader.disconnected("N1", 7)
    town.settle()
    assert fenced(town, "a")
    assert not fenced(town, "b"), "the same number at another server is another connection"
    assert town.where("1") == ("b", 2, "promoted", None)


def test_step_9_a_pod_that_answers_its_ping_is_not_fenced(town: Town) -> None:
    town.leader.disconnected("N1", 7)
    plan = town.once()
    assert [ping.pod for ping in plan.ping] == ["a"]
    town.settle()
    assert not fenced(town, "a")
    assert town.plan().ping == []


def test_step_9_somebody_elses_connection_is_nobodys_death(town: Town) -> None:
    town.leader.disconnected("N1", 8)
    town.leader.disconnected("N3", 7)
    town.leader.disconnected("N1", 0)
    assert town.plan().ping == []


def test_step_9_a_pod_that_is_connected_anew_is_not_suspected_any_more(town: Town) -> None:
    town.leader.disconnected("N1", 7)
    town.pod("a", nats_client=9, nats_server="N1", process="p1")
    plan = town.plan()
    assert (plan.ping, plan.fence) == ([], [])


def test_step_9_a_connection_that_was_lost_before_its_lease_was_seen_counts_when_it_is(
    town: Town,
) -> None:
    """The server tells once, and its word may come before the watch's."""
    town.deaf.add("a")
    town.leader.disconnected("N1", 9)
    assert town.plan().ping == []
    town.leader.begin(town.now_s)
    town.pod("a", nats_client=9, nats_server="N1", process="p1")
    town.settle()
    assert fenced(town, "a")
    assert town.where("1") == ("b", 2, "promoted", None)


@pytest.mark.parametrize("server", ["N1", ""])
def test_step_9_who_answers_for_a_connection_is_not_asked_about_it_again(
    town: Town, server: str
) -> None:
    town.leader.disconnected("N1", 9)
    for pinged in (["a"], [], []):
        town.pod("a", nats_client=9, nats_server=server, process="p1")
        assert [ping.pod for ping in town.once().ping] == pinged
    assert not fenced(town, "a")


def test_step_9_only_the_last_of_many_lost_connections_are_remembered(town: Town) -> None:
    for client in range(9, 9 + KEPT_LOST + 1):
        town.leader.disconnected("N1", client)
    town.pod("a", nats_client=9, nats_server="N1", process="p1")
    assert town.plan().ping == []
    town.pod("a", nats_client=10, nats_server="N1", process="p1")
    assert [ping.pod for ping in town.plan().ping] == ["a"]


def test_step_9_two_renewals_missed_are_asked_after_and_silence_is_fenced(town: Town) -> None:
    town.deaf.add("a")
    town.later(2.4)
    assert town.plan().ping == []
    town.later(0.2)
    assert [ping.pod for ping in town.plan().ping] == ["a"]
    town.settle()
    assert not fenced(town, "a"), "the ping's answer is still waited for"
    town.later(1.0)
    town.settle()
    assert fenced(town, "a")


def test_step_9_a_pod_that_answers_but_does_not_renew_is_asked_again_later(town: Town) -> None:
    town.now_s += 2.6
    town.settle()
    town.now_s += 2.4
    assert town.plan().ping == []
    town.now_s += 0.2
    assert {ping.pod for ping in town.plan().ping} == {"a", "b"}


def test_step_9_an_attested_end_is_fenced_without_a_ping(town: Town) -> None:
    town.ended("a", "another process")
    assert town.plan().fence == []
    town.ended("a", "p1")
    plan = town.plan()
    assert plan.ping == []
    assert [(fence.lease.pod, fence.reason) for fence in plan.fence] == [
        ("a", "its process has ended")
    ]


def test_step_10_the_fence_is_on_the_last_revision_and_keeps_who_it_was(town: Town) -> None:
    town.ended("a", "p1")
    (fence,) = town.plan().fence
    assert fence.revision == town.view.pods["a"].revision  # type: ignore[index]
    assert (fence.lease.incarnation, fence.lease.data) == ("b-1", "disk of a")


def refused(town: Town) -> None:
    """The fence of the one suspect is refused."""
    (ping,) = town.plan().ping
    town.leader.unanswered(ping, "nobody answers for it")
    assert [fence.lease.pod for fence in town.plan().fence] == ["a"]
    town.leader.refused(ping.pod)


def test_step_10_a_pod_that_died_right_after_it_renewed_is_asked_again_at_once(town: Town) -> None:
    """The server tells of its connection once, and does so before the renewal was seen."""
    town.deaf.add("a")
    town.leader.disconnected("N1", 7)
    refused(town)
    town.pod("a", nats_client=7, nats_server="N1", process="p1")
    assert [ping.pod for ping in town.plan().ping] == ["a"]
    town.leader.suspicion.begin()
    town.settle()
    assert fenced(town, "a")
    assert town.where("1") == ("b", 2, "promoted", None)


def test_step_10_so_is_one_that_lives_and_it_answers(town: Town) -> None:
    town.leader.disconnected("N1", 7)
    refused(town)
    town.pod("a", nats_client=7, nats_server="N1", process="p1")
    town.settle()
    assert not fenced(town, "a")
    assert town.plan().ping == []


@pytest.mark.parametrize(("number", "client"), [(1, 9), (2, 9), (2, 7)])
def test_step_10_a_refused_fence_is_the_end_of_it_for_another_connection_or_start(
    town: Town, number: int, client: int
) -> None:
    town.leader.disconnected("N1", 7)
    refused(town)
    town.pod("a", number, nats_client=client, nats_server="N1", process="p1")
    plan = town.plan()
    assert (plan.ping, plan.fence) == ([], [])


def test_step_10_a_refused_fence_is_not_the_end_of_it_if_the_other_connection_is_lost_too(
    town: Town,
) -> None:
    town.deaf.add("a")
    town.leader.disconnected("N1", 7)
    town.leader.disconnected("N1", 9)
    refused(town)
    town.pod("a", nats_client=9, nats_server="N1", process="p1")
    town.settle()
    assert fenced(town, "a")


def test_step_10_a_refused_fence_ends_a_suspicion_by_silence(town: Town) -> None:
    town.now_s += 2.6
    town.pod("b", nats_client=7, nats_server="N2")
    refused(town)
    town.pod("a", nats_client=7, nats_server="N1", process="p1")
    plan = town.plan()
    assert (plan.ping, plan.fence) == ([], [])


def test_step_9_a_ping_that_could_not_be_sent_proves_nothing(town: Town) -> None:
    town.leader.disconnected("N1", 7)
    (ping,) = town.plan().ping
    town.leader.not_pinged(ping.pod)
    plan = town.plan()
    assert (plan.ping, plan.fence) == ([], [])


def test_step_10_nobody_is_judged_by_silence_for_one_ttl_after_nats_came_back(town: Town) -> None:
    town.view.connection_lost()
    town.now_s += 60
    for bucket in ("pods", "registry", "guilds", "handoffs", "ends", "intent", "loads"):
        town.view.reset(bucket, {})
    town.owned("1", "a", follower=holder("b"))
    plan = town.plan()
    assert (plan.ping, plan.fence) == ([], [])
    town.now_s += 4.9
    assert town.plan().fence == []
    town.now_s += 0.2
    assert [fence.lease.pod for fence in town.plan().fence] == ["a", "b"]


def test_step_10_a_leader_that_was_kept_from_running_judges_nobody_by_silence_for_one_ttl(
    town: Town,
) -> None:
    """On an overloaded machine it would take the others for dead, and make it worse."""
    assert town.plan().wake_at_s is not None
    town.now_s += 4.0
    assert town.plan().ping == [], "due 1.5 s ago: the renewals may wait for us to read them"
    for _ in range(4):
        town.now_s += 1.2
        assert town.plan().ping == []
    town.now_s += 0.3
    assert {ping.pod for ping in town.plan().ping} == {"a", "b"}


def test_step_10_one_ttl_is_that_of_the_longest_lease(town: Town) -> None:
    town.pod("a", nats_client=7, nats_server="N1", process="p1", ttl_s=12.0)
    town.leader.begin(town.now_s)
    town.now_s += 11.9
    assert town.plan().ping == []
    town.now_s += 0.2
    assert {ping.pod for ping in town.plan().ping} == {"a", "b"}


def test_step_10_an_attested_end_counts_at_once_also_for_a_new_leader(town: Town) -> None:
    town.leader.begin(town.now_s)
    town.ended("a", "p1")
    assert [fence.lease.pod for fence in town.plan().fence] == ["a"]


def test_step_10_an_advisory_counts_at_once_also_for_a_new_leader(town: Town) -> None:
    town.leader.begin(town.now_s)
    town.leader.disconnected("N1", 7)
    assert [ping.pod for ping in town.plan().ping] == ["a"]


def test_step_10_so_does_one_that_came_before_it_was_elected(town: Town) -> None:
    """Leader and pod died together: the server tells of the pod once, to those who stand by."""
    town.deaf.add("a")
    town.leader.disconnected("N1", 7)
    town.leader.plan(town.now_s, set())  # as for somebody who asks for the status
    town.leader.begin(town.now_s)
    town.settle()
    assert fenced(town, "a")
    assert town.where("1") == ("b", 2, "promoted", None)


def test_step_10_who_was_silent_for_another_leader_is_not_suspected(town: Town) -> None:
    town.deaf.add("a")
    town.later(3)
    assert [ping.pod for ping in town.plan().ping] == ["a"]
    town.leader.begin(town.now_s)
    plan = town.plan()
    assert (plan.ping, plan.fence) == ([], [])


def test_step_8_an_expired_lease_is_fenced_before_anything_is_concluded(town: Town) -> None:
    town.expire("a")
    plan = town.plan()
    assert [fence.lease.pod for fence in plan.fence] == ["a"]
    assert plan.assign == []
    town.settle()
    assert town.where("1") == ("b", 2, "promoted", None)


def test_a_pod_that_nothing_remembers_is_fenced_at_the_start_that_owns(town: Town) -> None:
    town.owned("2", "ghost", 4, held=False)
    (fence,) = town.plan().fence
    assert (fence.lease.pod, fence.lease.incarnation, fence.revision) == ("ghost", "b-4", 0)


def test_pods_that_nothing_remembers_are_fenced_in_one_order_always(town: Town) -> None:
    """A plan is a function of what was seen: a simulated run repeats from its seed."""
    ghosts = [f"ghost-{number}" for number in range(8)]
    for number, ghost in reversed(list(enumerate(ghosts))):
        town.owned(str(number + 2), ghost, 4, held=False)
    assert [fence.lease.pod for fence in town.plan().fence] == ghosts


def test_a_pod_that_died_before_it_named_its_start_holds_nobody_up() -> None:
    town = Town()
    town.pod("a")
    town.owned("1", "a")
    town.settle()
    town.pod("a", incarnation=None, state="starting")
    town.settle()
    town.expire("a")
    town.settle()
    assert fenced(town, "a")
    town.pod("b")
    town.settle()
    assert town.where("1")[:2] == ("b", 2)


def test_a_pod_whose_key_cannot_be_read_is_not_judged(town: Town) -> None:
    town.owned("2", "c", held=False)
    town.view.entry(storage.PODS, town_entry(b"{"))
    assert town.plan().fence == []


def test_a_pod_without_guilds_is_never_fenced(town: Town) -> None:
    town.pod("c")
    town.expire("c")
    town.now_s += 60
    assert "c" not in {fence.lease.pod for fence in town.plan().fence}


def test_a_pod_that_has_no_incarnation_yet_is_not_judged(town: Town) -> None:
    town.pod("a", incarnation=None, state="starting")
    assert town.plan().fence == []


def town_entry(value: bytes):  # type: ignore[no-untyped-def]
    from components.bus.entries import Entry

    return Entry(key="c", value=value, revision=10_000, created_ms=0)


def test_step_12_a_fenced_pod_stays_fenced_until_its_next_start(town: Town) -> None:
    town.ended("a", "p1")
    town.settle()
    assert town.plan().fence == []
    town.pod("a", 2)
    assert not fenced(town, "a")
    lease = town.view.pods["a"].lease  # type: ignore[index]
    assert isinstance(lease, PodLease)


def left_in_order(town: Town, *, said: tuple[str, ...] = ("released", "silent")) -> None:
    """Guild 1 was drained off pod a, which lets go of it and ends; its parent attests that."""
    town.pod("c")
    town.drain("a")
    town.settle(built=True)
    owner, epoch, _, follower = town.where("1")
    assert (epoch, "a" in (owner, follower)) == (2, False)
    assert [one.pod for one in town.a("1").before] == ["a"]
    if "released" in said:
        town.released("1", "a", 1)
    if "silent" in said:
        town.silent("1", "a", 1)
    town.pod("a", process="p1", state="draining")
    town.settle()
    town.expire("a")
    town.ended("a", "p1")


def test_step_10_a_pod_that_left_in_order_is_not_fenced(town: Town) -> None:
    left_in_order(town)
    town.settle()
    town.later(60)
    town.settle()
    assert not fenced(town, "a")


def test_step_10_nor_by_a_leader_that_never_saw_it(town: Town) -> None:
    town.released("1", "z", 1)
    town.silent("1", "z", 1)
    town.owned("1", "b", epoch=2, before=[earlier("z")])
    assert town.plan().fence == []


@pytest.mark.parametrize("said", [(), ("released",), ("silent",)])
def test_step_10_a_pod_of_whose_silence_a_guild_waits_to_hear_is_fenced(
    town: Town, said: tuple[str, ...]
) -> None:
    left_in_order(town, said=said)
    town.settle()
    assert fenced(town, "a")


def test_step_10_a_pod_that_left_and_is_given_a_guild_all_the_same_is_fenced(town: Town) -> None:
    left_in_order(town)
    town.settle()
    town.owned("2", "a", held=False)
    town.settle()
    assert fenced(town, "a")
    assert town.where("2")[0] != "a"
