"""0006, steps 18 and 19: every guild has a follower where another pod lives."""

import pytest

from contracts.ids import PodId
from tests.unit.config.town import Town, holder, joining, source


@pytest.fixture
def town() -> Town:
    town = Town()
    for name in ("a", "b", "c"):
        town.pod(name, process=f"process of {name}")
    return town


def test_a_guild_without_a_follower_gets_one(town: Town) -> None:
    town.owned("1", "a")
    town.settle()
    assert town.a("1").joining == joining("b", purpose="follow", cause="followed", since_ms=0)
    town.holds("1", "b")
    town.settle()
    assert town.where("1") == ("a", 1, "placed", "b"), "no change of owner, no new epoch"


def test_followers_are_spread_over_the_other_pods(town: Town) -> None:
    for number in range(1, 21):
        town.owned(str(number), "a")
    town.settle(built=True)
    followers = [town.where(str(number))[3] for number in range(1, 21)]
    assert (followers.count("b"), followers.count("c")) == (10, 10)


@pytest.mark.parametrize("placed", [True, False])
def test_a_pod_follows_no_more_guilds_than_it_may_own(placed: bool) -> None:
    town = Town()
    town.pod("a")
    town.pod("b", capacity=3)
    names = [str(number) for number in range(1, 9)]
    if placed:
        town.pod("b", capacity=0)
        town.register(*names)
        town.settle(built=True)
        town.pod("b", capacity=3)
    else:
        for name in names:
            town.owned(name, "a")
    town.settle(built=True)
    without = [name for name in names if town.where(name)[3] is None]
    assert len(without) == 5
    assert town.reason(without[0]) == (
        "it has no follower, and the other pods follow as many guilds as they may: "
        "start another pod"
    )
    town.ended("a", "")
    town.expire("a")
    town.settle(built=True)
    assert town.view.index.owned[PodId("b")] == 3, "more than its capacity is not promoted to it"


def test_a_guild_without_a_follower_gets_one_when_a_pod_has_room_again(town: Town) -> None:
    town.pod("b", capacity=1)
    town.pod("c", capacity=0)
    town.owned("1", "a", follower=holder("b"))
    town.owned("2", "a")
    town.settle()
    assert town.where("2")[3] is None
    town.owned("1", "a", follower=holder("c"))
    town.settle(built=True)
    assert town.where("2")[3] == "b"


def test_a_follower_lives_in_another_zone_where_there_is_one() -> None:
    town = Town()
    for name, zone in (("a", "x"), ("b", "x"), ("c", "y")):
        town.pod(name, zone=zone)
    for number in range(1, 6):
        town.owned(str(number), "a")
    town.settle(built=True)
    assert {town.where(str(number))[3] for number in range(1, 6)} == {"c"}


def test_a_follower_that_started_anew_on_its_disk_follows_on(town: Town) -> None:
    town.owned("1", "a", follower=holder("b"))
    town.pod("b", 2)
    town.settle()
    assert town.a("1").follower == holder("b", 2)
    assert town.a("1").epoch == 1
    assert town.a("1").joining is None


def test_a_follower_that_came_back_without_its_disk_is_replaced_and_kept_as_source(
    town: Town,
) -> None:
    town.pod("b", replica="pods/b/b-1")
    town.owned("1", "a", follower=holder("b"))
    town.pod("b", 2, data="a new disk", replica="pods/b/b-2")
    town.settle(built=True)
    assert town.where("1")[3] in ("b", "c")
    assert town.a("1").epoch == 1


def test_a_lost_follower_is_waited_for_before_another_is_built(town: Town) -> None:
    town.owned("1", "a", follower=holder("b"))
    town.ended("b", "process of b")
    town.settle()
    assert town.where("1")[3] == "b"
    assert "waiting for it to be back" in town.reason("1")
    town.later(7.9)
    town.settle()
    assert town.where("1")[3] == "b"
    town.later(0.2)
    town.settle()
    assert town.a("1").follower is None
    assert town.a("1").sources == [source("b")]
    joins = town.a("1").joining
    assert joins is not None
    assert joins.pod == "c"


def test_a_follower_that_is_not_built_in_time_is_sought_elsewhere(town: Town) -> None:
    town.owned("1", "a")
    town.settle()
    town.later(301)
    town.settle()
    assert town.a("1").joining == joining("c", purpose="follow", cause="followed", since_ms=0)
    town.later(2)
    town.expire("c")
    town.settle()
    assert town.reason("1") == (
        "it has no follower, and b did not build its rows within 300 s: tried again later"
    )
    town.later(300)
    town.settle(built=True)
    assert town.where("1")[3] == "b"


def test_after_a_promotion_the_dead_owner_follows_again_when_it_is_back(town: Town) -> None:
    town.owned("1", "a", follower=holder("b"))
    town.ended("a", "process of a")
    town.settle()
    assert town.where("1") == ("b", 2, "promoted", None)
    assert "waiting for a" in town.reason("1")
    town.pod("a", 2)
    town.settle()
    joins = town.a("1").joining
    assert joins is not None
    assert (joins.pod, joins.incarnation, joins.purpose) == ("a", "b-2", "follow")
    town.holds("1", "b", role="own", epoch=2)
    town.holds("1", "a", 2)
    town.settle()
    assert town.where("1") == ("b", 2, "promoted", "a")
    assert town.a("1").sources == []


def test_an_owner_that_stays_away_is_replaced_as_a_follower_by_another(town: Town) -> None:
    town.owned("1", "a", follower=holder("b"))
    town.ended("a", "process of a")
    town.settle()
    town.later(8.1)
    town.settle(built=True)
    assert town.where("1") == ("b", 2, "promoted", "c")


def test_a_new_leader_keeps_sources_until_silence_would_have_shown_a_dead_follower(
    town: Town,
) -> None:
    town.owned("1", "a", follower=holder("b"), sources=[source("c")])
    town.holds("1", "a", role="own")
    town.holds("1", "b")
    town.leader.begin(town.now_s)
    town.settle()
    assert town.a("1").sources == [source("c")]
    looked_on(town, 4)
    assert town.a("1").sources == [source("c")]
    looked_on(town, 1)
    assert town.a("1").sources == []


def looked_on(town: Town, seconds: int) -> None:
    """The leader plans every second."""
    for _ in range(seconds):
        town.later(1)
        town.settle()


def test_a_leader_that_did_not_look_for_a_while_keeps_sources_until_a_death_would_have_shown(
    town: Town,
) -> None:
    town.owned("1", "a", follower=holder("b"), sources=[source("c")], held=False)
    town.settle()
    town.later(3)  # it was stopped, and what it finds may be as old
    town.holds("1", "a", role="own")
    town.holds("1", "b")
    town.settle()
    assert town.a("1").sources == [source("c")]
    looked_on(town, 6)
    assert town.a("1").sources == []


def test_a_follower_whose_end_is_attested_is_no_reason_to_give_a_source_up(town: Town) -> None:
    town.pod("b", process="process of b")
    town.owned("1", "a", follower=holder("b"), sources=[source("c")])
    town.ended("b", "process of b")
    plan = town.plan()  # its fence is not written yet
    assert [fence.lease.pod for fence in plan.fence] == ["b"]
    assert all(decision.assignment.sources for decision in plan.assign)


def test_followers_can_be_switched_off() -> None:
    town = Town(followers=0)
    town.pod("a")
    town.pod("b")
    town.owned("1", "a", follower=holder("b"))
    town.owned("2", "a", joining=joining("b", purpose="follow", cause="followed"))
    town.settle(built=True)
    assert town.where("1")[3] is None
    assert town.a("2").joining is None
    assert town.where("2")[3] is None


def test_a_single_pod_works_without_followers() -> None:
    town = Town()
    town.pod("a")
    town.register("1")
    town.settle(built=True)
    assert town.where("1") == ("a", 1, "placed", None)
    assert town.reason("1") == "it has no follower, and there is no other pod that serves"
    town.pod("b")
    town.settle(built=True)
    assert town.where("1") == ("a", 1, "placed", "b")
