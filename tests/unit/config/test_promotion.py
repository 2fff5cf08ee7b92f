"""0006, steps 5, 7, 11, 17: who goes on when an owner is gone, and what the new epoch records."""

import pytest

from components.config.parking import unopened
from components.config.tidying import forgettable
from components.config.world import KEPT_S
from contracts.ids import GuildId, PodId
from tests.unit.config.town import NOW_S, Town, earlier, holder, joining, source


@pytest.fixture
def town() -> Town:
    town = Town()
    for name in ("a", "b", "c"):
        town.pod(name, process=f"process of {name}")
    return town


def kill(town: Town, *pods: str) -> None:
    for pod in pods:
        town.ended(pod, f"process of {pod}")
    town.settle()


def test_step_11_a_follower_that_holds_the_rows_is_promoted(town: Town) -> None:
    town.owned("1", "a", follower=holder("b"), epoch=4)
    kill(town, "a")
    assert town.where("1") == ("b", 5, "promoted", None)
    assert town.a("1").incarnation == "b-1"


def test_step_11_an_epoch_that_its_owner_released_without_a_successor_is_succeeded(
    town: Town,
) -> None:
    town.owned("1", "a", follower=holder("b"), epoch=4)
    town.leader.begin(town.now_s)  # which has not seen the owner leave, and judges nobody yet
    town.expire("a")
    town.released("1", "a", 3)
    town.settle()
    assert town.where("1") == ("a", 4, "placed", "b"), "an earlier epoch's release says nothing"
    town.released("1", "a", 4)
    town.settle()
    assert town.where("1") == ("b", 5, "promoted", None)
    assert town.a("1").before == [earlier("a", epoch=4, process="process of a")]


def test_step_11_what_the_dead_owner_held_becomes_a_source(town: Town) -> None:
    town.pod("a", process="process of a", replica="pods/a/b-1")
    town.owned("1", "a", follower=holder("b"))
    kill(town, "a")
    assert town.a("1").sources == [source("a", replica="pods/a/b-1")]


def test_step_5_the_new_epoch_names_the_owner_before_with_its_process(town: Town) -> None:
    town.pod("a")  # its process is not attested: only the fence speaks for its end
    town.owned("1", "a", follower=holder("b"))
    town.expire("a")
    town.settle()
    assert town.a("1").before == [earlier("a")]


def test_step_7_who_is_known_to_be_silent_is_not_named(town: Town) -> None:
    town.owned("1", "a", follower=holder("b"), epoch=3, before=[earlier("c", epoch=2)])
    town.silent("1", "c", 2)
    town.pod("a")
    town.expire("a")
    town.settle()
    assert town.a("1").before == [earlier("a", epoch=3)]


def test_step_7_an_attested_owner_is_silent_already(town: Town) -> None:
    town.owned("1", "a", follower=holder("b"))
    kill(town, "a")
    assert town.a("1").before == []


def test_step_7_a_fence_proves_silence_after_ttl_and_margin(town: Town) -> None:
    town.pod("a")
    town.owned("1", "a", follower=holder("b"))
    town.expire("a")
    town.settle()
    assert town.a("1").before == [earlier("a")]
    town.later(5.6)
    town.ended("b", "process of b")
    town.settle()
    assert town.a("1").before == []


def test_step_11_a_follower_that_is_still_building_is_not_promoted(town: Town) -> None:
    town.owned("1", "a", follower=holder("b"), held=False)
    kill(town, "a")
    assert town.where("1")[:3] == ("b", 2, "replaced"), "it rebuilds the rest from the log"


def test_step_11_a_pod_that_was_about_to_own_it_is_promoted_too(town: Town) -> None:
    town.owned("1", "a", joining=joining("c"))
    town.view.dirty.clear()
    town.holds("1", "c")
    town.pod("a", process="process of a", state="fenced")
    town.settle()
    assert town.where("1")[:3] == ("c", 2, "promoted")


def test_step_11_one_that_had_the_rows_to_own_them_and_started_anew_goes_on(town: Town) -> None:
    town.logs["1"] = 11  # the log alone does not do
    town.owned("1", "a", held=False, joining=joining("c"))
    town.holds("1", "c")
    town.pod("c", 2)
    town.pod("a", process="process of a", state="fenced")
    town.settle()
    assert town.where("1")[:3] == ("c", 2, "promoted")
    assert town.a("1").incarnation == "b-2"
    assert town.a("1").sources == [source("c")]


def test_step_20_a_promotion_that_ends_a_move_keeps_its_target_as_a_source(town: Town) -> None:
    town.owned("1", "a", follower=holder("b"), joining=joining("c"))
    town.holds("1", "c")
    town.pod("a", process="process of a", state="fenced")
    town.once()
    assert town.where("1") == ("b", 2, "promoted", None)
    assert town.a("1").sources == [source("c"), source("a")]


def test_step_11_the_owner_that_came_back_with_its_disk_goes_before_a_restore(town: Town) -> None:
    town.pod("a", replica="pods/a/b-1")
    town.owned("1", "a")
    town.pod("a", 2, replica="pods/a/b-2")
    town.settle()
    assert town.where("1")[:3] == ("a", 2, "restarted")
    assert town.a("1").sources == [source("a", replica="pods/a/b-1")]


def test_step_11_without_rows_alive_a_pod_restores_them_at_once(town: Town) -> None:
    town.pod("a", process="process of a", replica="pods/a/b-1")
    town.owned("1", "a")
    kill(town, "a")
    pod, epoch, cause, _ = town.where("1")
    assert (pod in ("b", "c"), epoch, cause) == (True, 2, "restored")
    assert town.a("1").sources == [source("a", replica="pods/a/b-1")]


def test_step_11_without_backup_the_log_rebuilds_it_if_it_is_whole(town: Town) -> None:
    town.owned("1", "a")
    kill(town, "a")
    assert town.where("1")[2] == "replaced"


def test_step_11_without_backup_and_a_whole_log_the_guild_waits_for_a_disk(town: Town) -> None:
    town.logs["1"] = 11
    town.owned("1", "a")
    kill(town, "a")
    assert town.where("1")[:2] == ("a", 1)
    assert "no longer on the log and no backup" in town.reason("1")
    town.pod("a", 2)
    town.settle()
    assert town.where("1")[:3] == ("a", 2, "restarted")


def test_a_disk_that_comes_back_under_another_name_counts(town: Town) -> None:
    town.logs["1"] = 11
    town.owned("1", "a")
    kill(town, "a")
    town.pod("z", data="disk of a")
    town.settle()
    assert town.where("1")[:3] == ("z", 2, "promoted")


def test_a_pod_that_came_back_with_another_disk_has_no_rows(town: Town) -> None:
    town.logs["1"] = 11
    town.owned("1", "a")
    kill(town, "a")
    town.pod("a", 2, data="a new disk")
    town.settle()
    assert town.where("1")[:2] == ("a", 1)
    assert "waiting for a to come back" in town.reason("1")


def test_owner_and_follower_lost_one_after_the_other_keep_both_as_sources(town: Town) -> None:
    for name in ("a", "b"):
        town.pod(name, process=f"process of {name}", replica=f"pods/{name}/b-1")
    town.owned("1", "a", follower=holder("b"))
    kill(town, "a")
    kill(town, "b")
    assert town.where("1")[:3] == ("c", 3, "restored")
    assert town.a("1").sources == [
        source("a", replica="pods/a/b-1"),
        source("b", replica="pods/b/b-1"),
    ]


def test_a_third_death_during_the_restore_cuts_no_source(town: Town) -> None:
    for name in ("a", "b", "c"):
        town.pod(name, process=f"process of {name}", replica=f"pods/{name}/b-1")
    town.owned("1", "a", follower=holder("b"))
    kill(town, "a", "b")
    before = town.a("1").sources
    assert town.where("1")[0] == "c"
    town.pod("d", replica="pods/d/b-1")
    kill(town, "c")
    assert town.where("1")[:3] == ("d", town.a("1").epoch, "restored")
    assert town.a("1").sources == before, "c never had the rows"


def test_who_restores_is_limited_by_capacity_and_a_follower_is_not(town: Town) -> None:
    town.pod("b", capacity=0, process="process of b")
    town.pod("c", capacity=0)
    town.owned("1", "a", follower=holder("b"))
    town.owned("2", "a")
    kill(town, "a")
    assert town.where("1")[:3] == ("b", 2, "promoted")
    assert "all at their capacity" in town.reason("2")


def test_promotions_are_planned_together_and_before_all_else(town: Town) -> None:
    """Who only lost a follower is not even thought about before they are written."""
    for number in range(1, 301):
        town.owned(str(number), "a", follower=holder("b"))
    for number in range(301, 311):
        town.owned(str(number), "b", follower=holder("a"))
    town.settle()
    town.ended("a", "process of a")
    plan = town.once()
    assert [fence.lease.pod for fence in plan.fence] == ["a"]
    plan = town.once()
    assert len(plan.assign) == 300
    assert {decision.assignment.cause for decision in plan.assign} == {"promoted"}
    assert plan.more


def test_a_new_leader_without_any_memory_decides_the_same(town: Town) -> None:
    town.pod("a", process="process of a", replica="pods/a/b-1")
    town.owned("1", "a", follower=holder("b"))
    other = Town()
    other.now_s = NOW_S
    for bucket, key, value in (
        ("pods", "b", town.view.pods["b"].lease),  # type: ignore[index]
        ("guilds", "1", town.a("1")),
    ):
        other.put(bucket, key, value)
    for pod in ("a", "b"):
        holding = town.view.holds["1"][pod]  # type: ignore[index]
        other.put("handoffs", f"holds.1.{pod}", holding)
    other.settle()
    assert other.where("1") == ("a", 1, "placed", "b"), "a may live: nobody is judged yet"
    for _ in range(10):
        other.now_s += 1
        other.settle()
    assert other.where("1")[:3] == ("b", 2, "promoted")
    assert [one.pod for one in other.a("1").sources] == ["a"]


def test_step_17_an_owner_that_does_not_come_to_open_gives_way_to_a_follower_with_the_rows(
    town: Town,
) -> None:
    town.owned("1", "a", epoch=3, follower=holder("b"), held=False)
    town.holds("1", "b")
    town.settle()
    for _ in range(11):
        town.later(0.9)
        town.settle()
    assert town.where("1")[:2] == ("a", 3)
    town.later(0.2)
    town.settle()
    assert town.where("1")[:3] == ("b", 4, "promoted")
    assert town.a("1").before == [earlier("a", epoch=3, process="process of a")]


def test_a_guild_that_its_owner_does_not_open_waits_and_says_why(town: Town) -> None:
    town.owned("1", "a", held=False)
    town.settle()
    assert GuildId("1") not in town.leader.waiting, "it has just been given to it"
    town.later(2.1)
    town.settle()
    assert town.reason("1") == "a has it and has not opened it yet"
    town.pod("a", process="process of a", refused={"1": "the rows are of another stream"})
    town.settle()
    assert town.reason("1") == "a has it and cannot serve it: the rows are of another stream"
    assert unopened(town.view, town.now_s, 2.0) == {
        PodId("a"): {GuildId("1"): "the rows are of another stream"}
    }
    town.pod("a", process="process of a")
    town.holds("1", "a", role="own", epoch=1)
    town.settle()
    assert GuildId("1") not in town.leader.waiting
    assert unopened(town.view, town.now_s, 0.0) == {}


def test_step_17_so_does_one_that_cannot_serve_a_guild_any_more_which_it_had_opened(
    town: Town,
) -> None:
    town.owned("1", "a", epoch=3, follower=holder("b"), held=False)
    town.holds("1", "b")
    town.holds("1", "a", role="own", epoch=3)
    town.settle()
    town.later(0.9)
    town.settle()
    assert town.where("1")[:2] == ("a", 3)
    town.pod("a", process="process of a", refused={"1": "the stream lost inputs"})
    town.later(2.1)
    town.settle()
    assert town.reason("1") == "a has it and cannot serve it: the stream lost inputs"
    assert unopened(town.view, town.now_s, 2.0) == {
        PodId("a"): {GuildId("1"): "the stream lost inputs"}
    }
    for _ in range(9):
        town.later(0.9)
        town.settle()
    assert town.where("1")[:3] == ("b", 4, "promoted")


def test_a_guild_that_was_refused_and_is_served_again_stays(town: Town) -> None:
    town.owned("1", "a", epoch=3, follower=holder("b"), held=False)
    town.holds("1", "b")
    town.holds("1", "a", role="own", epoch=3)
    town.pod("a", process="process of a", refused={"1": "the stream lost inputs"})
    town.later(5)
    town.settle()
    town.pod("a", process="process of a")
    town.settle()
    assert GuildId("1") not in town.leader.waiting
    town.later(20)
    town.settle()
    assert town.where("1")[:2] == ("a", 3)


def test_step_17_an_owner_that_opened_keeps_its_guild(town: Town) -> None:
    town.owned("1", "a", epoch=3, follower=holder("b"), held=False)
    town.holds("1", "b")
    town.holds("1", "a", role="own", epoch=3)
    town.settle()
    town.later(60)
    town.settle()
    assert town.where("1")[:2] == ("a", 3)


def test_a_pod_that_nothing_remembers_may_have_a_replica_all_the_same(town: Town) -> None:
    """Found by the simulation (seed 47): the made-up lease of its fence named no replica."""
    town.pod("b", replica="pods/b/b-1")
    town.logs["1"] = 11
    town.owned("1", "ghost", 4, held=False)
    town.holds("1", "ghost", 4, role="own")
    town.settle()
    assert town.where("1")[2] == "restored"
    assert town.a("1").sources == [source("ghost", 4, replica="pods/ghost/b-4")]


def test_a_follower_that_restarts_and_dies_before_it_reports_is_still_known_by_its_disk(
    town: Town,
) -> None:
    """Found by the simulation (seeds 242, 717, 792)."""
    town.logs["1"] = 11
    town.owned("1", "a", follower=holder("b"))
    town.pod("b", 2, process="process of b")
    town.settle()
    kill(town, "a", "b")
    town.pod("a", 2, data="a new disk")
    town.pod("b", 3)
    town.settle()
    assert town.where("1")[:3] == ("b", 2, "promoted")


def outlived(town: Town) -> None:
    """The owner's pod is gone for good; its follower has opened the guild and is backed up."""
    for name in ("a", "b"):
        town.pod(name, replica=f"pods/{name}/b-1")
    town.owned("1", "a", follower=holder("b"))
    town.expire("a")
    town.settle()
    assert town.a("1").before == [earlier("a")]


def test_step_7_an_earlier_owner_that_is_gone_and_silent_is_named_no_more(town: Town) -> None:
    outlived(town)
    town.settle(built=True)
    assert town.a("1").sources == []
    town.later(KEPT_S - 1)
    town.settle()
    assert town.a("1").before == [earlier("a")], "it may be back soon"
    town.later(2)
    town.settle()
    assert town.where("1")[:2] == ("b", 2), "it is no new epoch"
    assert town.a("1").before == []
    assert "a" not in town.view.index.by_pod
    assert forgettable(town.view, town.view.pods[PodId("a")], town.now_s)


def test_step_7_one_that_has_drained_and_gone_is_named_no_more(town: Town) -> None:
    town.owned("1", "b", epoch=2, before=[earlier("a")], follower=holder("c"))
    town.released("1", "a", 1)
    town.silent("1", "a", 1)
    town.settle()
    town.later(KEPT_S + 1)
    town.settle()
    assert town.a("1").before == [earlier("a")], "it is here"
    town.expire("a")
    town.settle()
    town.later(KEPT_S + 1)
    town.settle()
    assert town.a("1").before == []


def test_step_7_nobody_is_left_out_before_the_guild_is_open(town: Town) -> None:
    outlived(town)
    town.settle()
    town.later(KEPT_S + 1)
    town.settle()
    assert town.a("1").before == [earlier("a")]
    town.settle(built=True)
    assert town.a("1").before == []


def test_step_7_nobody_is_left_out_whose_rows_are_a_source(town: Town) -> None:
    outlived(town)
    town.holds("1", "b", role="own", epoch=2, beat=7)  # later than what is backed up
    town.later(KEPT_S + 1)
    town.settle()
    assert town.a("1").before == [earlier("a")]
    town.pod("b", replica="pods/b/b-1", backed_up_beat=7)
    town.settle()
    assert (town.a("1").before, town.a("1").sources) == ([], [])


def test_step_7_nobody_is_left_out_whose_silence_is_not_proven(town: Town) -> None:
    town.pod("a", state="fenced", ttl_s=2 * KEPT_S)
    town.owned("1", "b", epoch=2, before=[earlier("a"), earlier("c")])
    town.later(KEPT_S + 1)
    town.settle()
    assert town.a("1").before == [earlier("a"), earlier("c")]
    town.later(KEPT_S)
    town.settle()
    assert town.a("1").before == [earlier("c")]


def test_step_7_nobody_is_left_out_by_a_leader_that_has_not_fenced_it_yet(town: Town) -> None:
    town.owned("1", "b", epoch=2, before=[earlier("a")])
    town.expire("a")
    town.later(KEPT_S + 1)
    town.leader.begin(town.now_s)
    town.settle()
    assert town.a("1").before == [earlier("a")]
