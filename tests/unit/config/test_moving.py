"""0006, steps 13, 14 and 17: planned moves, drains and pins, and how they are given up."""

import pytest

from components.bus.entries import Entry
from components.config.world import Wanted
from contracts import storage
from contracts.ids import GuildId, PodId
from contracts.message import encode
from tests.unit.config.town import Town, earlier, holder, joining, source


@pytest.fixture
def town() -> Town:
    town = Town()
    for name in ("a", "b", "c"):
        town.pod(name, process=f"process of {name}")
    return town


def want(town: Town, guild: str, pod: str, purpose: str = "own", cause: str = "moved") -> None:
    town.leader.want(
        [
            Wanted(
                guild=GuildId(guild),
                pod=PodId(pod),
                purpose=purpose,  # type: ignore[arg-type]  # one of two
                cause=cause,  # type: ignore[arg-type]  # one of those
                by="alice",
                reason="alice asked for it",
            )
        ]
    )


def test_step_13_the_target_joins_and_nothing_else_changes(town: Town) -> None:
    town.owned("1", "a", follower=holder("b"))
    want(town, "1", "c")
    town.settle()
    assert town.where("1") == ("a", 1, "placed", "b")
    assert town.a("1").joining == joining("c", by="alice", since_ms=0)
    assert town.reason("1") == "c is building its rows, to own it"


def test_step_14_once_the_target_holds_the_rows_it_gets_the_next_epoch(town: Town) -> None:
    town.owned("1", "a", follower=holder("b"))
    want(town, "1", "c")
    town.settle()
    town.holds("1", "c")
    town.settle()
    assert town.where("1") == ("c", 2, "moved", "b")
    assert town.a("1").before == [earlier("a", process="process of a")]
    assert town.a("1").by == "alice"
    assert town.a("1").joining is None


def test_step_13_what_a_pod_said_when_it_followed_before_does_not_answer_a_joining(
    town: Town,
) -> None:
    town.owned("1", "a", follower=holder("b"), joining=joining("c", since_ms=7))
    town.holds("1", "c", joined_ms=3)  # it has been a source since, and applied nothing
    town.settle()
    assert town.where("1") == ("a", 1, "placed", "b")
    town.holds("1", "c", joined_ms=7)
    town.settle()
    assert town.where("1") == ("c", 2, "moved", "b")


def test_step_14_the_old_owner_follows_where_nobody_does(town: Town) -> None:
    town.owned("1", "a", joining=joining("c"))
    town.holds("1", "c")
    town.settle()
    assert town.where("1") == ("c", 2, "moved", "a")


@pytest.mark.parametrize(
    ("zone_of_a", "why", "follower"),
    [("x", "moved", "a"), ("x", "leaves", "b"), ("", "moved", "a"), ("y", "moved", "b")],
)
def test_step_14_the_old_owner_follows_where_the_follower_would_share_the_new_owners_zone(
    zone_of_a: str, why: str, follower: str
) -> None:
    town = Town()
    town.pod("a", zone=zone_of_a)
    town.pod("b", zone="y")
    town.pod("c", zone="y")
    town.owned("1", "a", follower=holder("b"))
    want(town, "1", "c")
    town.settle()
    if why == "leaves":
        town.pod("a", zone=zone_of_a, state="draining")
    town.holds("1", "c")
    town.settle()
    assert town.where("1")[::3] == ("c", follower)


def test_step_14_a_move_to_the_follower_is_one_write(town: Town) -> None:
    town.owned("1", "a", follower=holder("b"))
    want(town, "1", "b")
    town.settle()
    assert town.where("1") == ("b", 2, "moved", "a")


def test_step_20_an_old_owner_that_does_not_follow_is_a_source_until_others_hold(
    town: Town,
) -> None:
    for name in ("a", "b", "c"):
        town.pod(name, replica=f"pods/{name}/b-1")
    town.owned("1", "a", follower=holder("b"))
    want(town, "1", "c")
    town.settle()
    town.holds("1", "c")
    town.settle()
    assert town.a("1").sources == [source("a", replica="pods/a/b-1")]
    town.holds("1", "c", role="own", epoch=2, beat=8)
    town.pod("c", replica="pods/c/b-1", backed_up_beat=7)
    town.settle()
    assert town.a("1").sources, "the backup does not have its rows yet"
    town.pod("c", replica="pods/c/b-1", backed_up_beat=8)
    town.settle()
    assert town.a("1").sources == []


def test_step_20_an_owner_that_has_not_opened_gives_up_no_source(town: Town) -> None:
    town.pod("a", replica="pods/a/b-1", backed_up_beat=100)
    kept = [source("z", replica="pods/z/b-1")]
    town.owned("1", "a", epoch=2, held=False, sources=kept)
    town.holds("1", "a", role="own", epoch=1)
    town.settle()
    assert town.a("1").sources == kept


def test_step_20_without_backup_a_follower_that_holds_is_enough(town: Town) -> None:
    town.owned("1", "a", sources=[source("z")], follower=holder("b"), held=False)
    town.holds("1", "a", role="own")
    town.settle()
    assert town.a("1").sources == [source("z")]
    town.holds("1", "b")
    town.settle()
    assert town.a("1").sources == []


def test_step_20_a_target_that_has_the_rows_and_is_given_up_is_a_source(town: Town) -> None:
    town.owned("1", "a", held=False, joining=joining("c"))
    town.holds("1", "c")
    town.pod("c", state="draining")
    town.settle()
    assert town.a("1").joining == joining("b", purpose="follow", cause="followed", since_ms=0)
    assert town.a("1").sources == [source("c")], "a, which owns it, has not said that it has any"


def test_step_20_once_the_others_have_the_rows_a_target_given_up_drops_them(town: Town) -> None:
    town.owned("1", "a", follower=holder("b"), joining=joining("c"))
    town.holds("1", "c")
    town.pod("c", state="draining")
    town.settle()
    assert town.where("1") == ("a", 1, "placed", "b")
    assert (town.a("1").joining, town.a("1").sources) == (None, [])


@pytest.mark.parametrize("how", ["is gone", "leaves", "is drained", "is full"])
def test_a_drain_does_not_wait_for_a_pin_whose_pod_takes_no_guilds(town: Town, how: str) -> None:
    if how == "is gone":
        town.expire("c")
    elif how == "leaves":
        town.pod("c", state="draining")
    elif how == "is drained":
        town.drain("c")
    else:
        town.pod("c", capacity=0)
    town.owned("1", "a")
    town.pin("1", "c")
    town.drain("a")
    town.settle()
    assert town.a("1").joining == joining("b", cause="drained", by="alice", since_ms=0)
    town.holds("1", "b")
    town.settle()
    assert town.where("1")[:3] == ("b", 2, "drained")
    if how == "is drained":
        town.drain("c", draining=False)
    else:
        town.pod("c", 2)
    town.settle(built=True)
    assert town.where("1")[:3] == ("c", 3, "pinned")


def test_a_drain_under_way_turns_to_the_pod_of_a_pin_that_takes_guilds_again(town: Town) -> None:
    town.pod("c", state="draining")
    town.owned("1", "a")
    town.pin("1", "c")
    town.drain("a")
    town.settle()
    town.pod("c", 2)
    town.settle()
    assert town.a("1").joining == joining("c", 2, cause="drained", by="alice", since_ms=0)


@pytest.mark.parametrize("how", ["dies", "leaves", "is drained"])
def test_step_14_a_move_is_given_up_when_its_target_goes(town: Town, how: str) -> None:
    town.owned("1", "a", follower=holder("b"))
    want(town, "1", "c")
    town.settle()
    if how == "dies":
        town.ended("c", "process of c")
    elif how == "leaves":
        town.pod("c", state="draining")
    else:
        town.drain("c")
    town.settle()
    assert town.where("1") == ("a", 1, "placed", "b")
    assert town.a("1").joining is None
    assert not town.leader.wanted


@pytest.mark.parametrize("cause", ["moved", "rebalanced"])
def test_step_14_a_move_is_given_up_when_its_target_does_not_build(town: Town, cause: str) -> None:
    town.owned("1", "a", follower=holder("b"))
    want(town, "1", "c", cause=cause)
    town.settle()
    town.later(299)
    town.settle()
    assert town.a("1").joining is not None
    assert town.leader.wanted
    town.later(1)
    settled = town.once().settled
    assert settled == {"1": "c has not built its rows within 300 s"}
    town.settle()
    assert town.where("1") == ("a", 1, "placed", "b")
    assert town.a("1").joining is None
    want(town, "1", "c", cause=cause)
    town.settle()
    tried = town.a("1").joining is not None
    assert tried == (cause == "moved"), "a person may ask at once, balance asks later"
    assert bool(town.leader.wanted) == tried


def test_step_14_who_has_the_rows_when_its_time_is_over_is_not_given_up(town: Town) -> None:
    town.owned("1", "a", follower=holder("b"))
    want(town, "1", "c")
    town.settle()
    town.later(301)
    town.holds("1", "c")
    town.settle()
    assert town.where("1")[:3] == ("c", 2, "moved")


def test_step_14_a_target_that_does_not_build_has_its_time_again_after_nats_was_away(
    town: Town,
) -> None:
    town.owned("1", "a", follower=holder("b"), joining=joining("c"))
    town.later(290)
    held = town.view.assignments[GuildId("1")]
    value = encode(held.assignment)
    again = Entry(key="1", value=value, revision=held.revision, created_ms=0)
    town.view.reset(storage.GUILDS, {"1": again})
    town.later(290)
    town.leader.begin(town.now_s)  # a new leader has been watching
    town.settle()
    assert town.a("1").joining is not None
    town.later(10)
    town.settle()
    assert town.a("1").joining is None


def test_a_drain_tries_another_pod_when_one_does_not_build_and_the_first_one_later(
    town: Town,
) -> None:
    town.owned("9", "b")
    town.owned("1", "a")
    town.drain("a")
    town.settle()
    assert town.a("1").joining == joining("c", cause="drained", by="alice", since_ms=0)
    town.later(301)
    town.settle()
    assert town.a("1").joining == joining("b", cause="drained", by="alice", since_ms=0)
    town.later(298)
    town.expire("b")
    town.settle()
    assert town.a("1").joining is None
    assert "c did not build its rows within 300 s: tried again later" in town.reason("1")
    town.later(2)
    town.settle(built=True)
    assert town.where("1")[:3] == ("c", 2, "drained")


def test_who_did_not_build_is_tried_again_at_once_when_it_has_started_anew(town: Town) -> None:
    town.owned("1", "a", follower=holder("b"))
    town.pin("1", "c")
    town.settle()
    town.later(301)
    town.settle()
    assert town.a("1").joining is None
    assert town.reason("1").startswith("it is to move, but c did not build its rows")
    town.pod("c", 2)
    town.settle(built=True)
    assert town.where("1")[:3] == ("c", 2, "pinned")


def test_a_drain_does_not_wait_for_a_pin_whose_pod_does_not_build(town: Town) -> None:
    town.owned("1", "a")
    town.pin("1", "c")
    town.settle()
    town.drain("a")
    town.settle()
    town.later(301)
    town.settle()
    assert town.a("1").joining == joining("b", cause="drained", by="alice", since_ms=0)
    town.settle(built=True)
    assert town.where("1")[:3] == ("b", 2, "drained")


def test_step_14_a_new_leader_goes_on_from_the_joining_record_alone(town: Town) -> None:
    town.owned("1", "a", follower=holder("b"), joining=joining("c", by="alice"))
    town.leader.begin(town.now_s)
    town.settle()
    assert town.where("1")[:2] == ("a", 1)
    town.holds("1", "c")
    town.settle()
    assert town.where("1") == ("c", 2, "moved", "b")


def test_step_17_a_target_that_dies_after_the_decision_gives_it_back(town: Town) -> None:
    town.owned("1", "a", joining=joining("c"))
    town.holds("1", "c")
    town.settle()
    town.expire("c")
    town.settle()
    assert town.where("1")[:3] == ("a", 3, "promoted")
    assert town.a("1").before == [
        earlier("a", epoch=1, process="process of a"),
        earlier("c", epoch=2, process="process of c"),
    ]


def test_step_17_an_old_owner_that_never_releases_is_judged_like_any_pod(town: Town) -> None:
    town.owned("1", "c", epoch=2, before=[earlier("a")], follower=holder("b"))
    town.expire("a")
    assert [fence.lease.pod for fence in town.plan().fence] == ["a"]


def test_a_drain_hands_over_to_followers_and_leaves_nothing_behind(town: Town) -> None:
    for number in range(1, 41):
        town.owned(str(number), "a", follower=holder("b" if number % 2 else "c"))
    town.owned("41", "b", follower=holder("a"))
    town.drain("a")
    town.settle(built=True)
    for number in range(1, 42):
        owner, _, _, follower = town.where(str(number))
        assert owner != "a"
        assert follower not in ("a", None)
    assert town.view.index.owned["a"] == 0  # type: ignore[index]
    assert town.view.index.followed["a"] == 0  # type: ignore[index]


def test_a_pod_that_leaves_hands_over_and_stays_follower_for_its_return(town: Town) -> None:
    town.owned("1", "a", follower=holder("b"))
    town.pod("a", state="draining")
    town.settle()
    assert town.where("1") == ("b", 2, "drained", "a")


def test_a_pod_that_leaves_without_a_follower_is_followed_first(town: Town) -> None:
    town.owned("1", "a")
    town.pod("a", state="draining")
    town.settle(built=True)
    owner, epoch, cause, _ = town.where("1")
    assert (owner in ("b", "c"), epoch, cause) == (True, 2, "drained")


@pytest.mark.parametrize("followed", [True, False])
def test_a_pod_that_leaves_hands_over_what_is_pinned_to_it_until_it_is_back(
    town: Town, followed: bool
) -> None:
    town.owned("1", "a", follower=holder("b") if followed else None)
    town.pin("1", "a")
    town.pod("a", state="draining")
    town.settle(built=True)
    assert town.where("1") == ("b", 2, "drained", "a")
    town.expire("a")
    town.settle(built=True)
    town.pod("a", 2)
    town.settle(built=True)
    assert town.where("1")[:3] == ("a", 3, "pinned")


def test_a_pod_that_an_operator_wants_empty_keeps_what_is_pinned_to_it_unless_it_ends(
    town: Town,
) -> None:
    town.owned("1", "a", follower=holder("b"))
    town.pin("1", "a")
    town.drain("a")
    town.settle(built=True)
    assert town.where("1")[:2] == ("a", 1)
    assert town.reason("1") == "it is pinned to a, which is to be empty: unpin it"
    town.pod("a", state="draining")
    town.settle(built=True)
    assert town.where("1")[:3] == ("b", 2, "drained")


def test_a_drain_of_a_guild_whose_pin_takes_no_guilds_goes_to_the_follower(town: Town) -> None:
    town.pod("d")
    town.owned("9", "d")  # b has less to do
    town.owned("1", "a", follower=holder("d"))
    town.expire("c")
    town.pin("1", "c")
    town.drain("a")
    town.settle()
    assert town.where("1")[:3] == ("d", 2, "drained")


def test_a_drain_turns_a_follower_in_the_making_into_the_next_owner(town: Town) -> None:
    town.owned("1", "a", joining=joining("c", purpose="follow", cause="followed"))
    town.drain("a")
    town.settle()
    assert town.a("1").joining == joining("c", cause="drained", by="alice", since_ms=0)


def test_an_undrain_gives_up_what_is_under_way(town: Town) -> None:
    town.owned("1", "a", follower=holder("b"), held=False)
    town.holds("1", "a", role="own")
    town.drain("a")
    town.settle()
    assert town.a("1").joining is not None
    town.drain("a", draining=False)
    town.settle()
    assert town.a("1").joining is None
    assert town.where("1")[:2] == ("a", 1)


def test_a_drain_of_the_only_pod_says_why_nothing_moves() -> None:
    town = Town()
    town.pod("a")
    town.owned("1", "a")
    town.drain("a")
    town.settle()
    assert town.reason("1").startswith("a is to be empty, but no pod is serving") or (
        "no other pod" in town.reason("1")
    )


def test_a_pin_moves_the_guild_and_keeps_it(town: Town) -> None:
    town.owned("1", "a", follower=holder("b"))
    town.pin("1", "c")
    town.settle(built=True)
    assert town.where("1")[:3] == ("c", 2, "pinned")
    assert town.a("1").by == "alice"
    want(town, "1", "a")
    town.settle(built=True)
    assert town.where("1")[0] == "c"


def test_a_pin_does_not_keep_a_guild_from_its_follower_when_its_pod_dies(town: Town) -> None:
    town.owned("1", "a", follower=holder("b"))
    town.pin("1", "a")
    town.settle()
    town.ended("a", "process of a")
    town.settle()
    assert town.where("1")[:3] == ("b", 2, "promoted")


@pytest.mark.parametrize("to", ["a", "c"])
def test_a_wish_for_a_guild_whose_pin_takes_no_guilds_ends_with_words(
    town: Town, monkeypatch: pytest.MonkeyPatch, to: str
) -> None:
    town.expire("c")
    town.owned("1", "b", follower=holder("a"))
    town.pin("1", "c")
    town.settle()
    want(town, "1", to, cause="rebalanced")
    why_not = {"a": "it is pinned to c", "c": "c does not take guilds now"}
    assert town.once().settled == {"1": why_not[to]}
    town.settle()
    assert not town.leader.wanted, "nothing is spread while a wish of balance stands"
    assert town.where("1") == ("b", 1, "placed", "a")
    assert town.reason("1") == "it is to move, but c does not take guilds now"


def test_a_pin_to_a_full_pod_waits_for_room_when_a_wish_for_the_same_ends(town: Town) -> None:
    town.pod("c", capacity=1)
    town.owned("9", "c", follower=holder("b"))
    town.owned("1", "a", follower=holder("b"))
    town.pin("1", "c")
    want(town, "1", "c")
    town.settle(built=True)
    assert not town.leader.wanted
    want(town, "9", "b")
    town.settle(built=True)
    assert (town.where("9")[0], town.where("1")[:3]) == ("b", ("c", 2, "pinned"))


def test_what_balance_wants_of_a_guild_ends_with_its_owner(town: Town) -> None:
    town.owned("1", "a", first_sequence=1)  # its first input is gone: it waits
    want(town, "1", "b", cause="rebalanced")
    town.ended("a", "process of a")
    town.settle()
    assert "waiting for a to come back" in town.reason("1")
    assert not town.leader.wanted


def test_what_balance_wants_of_a_guild_ends_when_its_pod_is_to_be_empty(town: Town) -> None:
    town.pod("b", capacity=0)
    town.pod("c", capacity=0)
    town.owned("1", "a", follower=holder("b"))
    town.drain("a")
    want(town, "1", "b", cause="rebalanced")
    town.settle()
    assert "a is to be empty, but no pod has room" in town.reason("1")
    assert not town.leader.wanted


@pytest.mark.parametrize("cause", ["rebalanced", "moved"])
def test_a_wish_for_a_follower_ends_when_nobody_can_follow(town: Town, cause: str) -> None:
    town.expire("b")
    town.expire("c")
    town.owned("1", "a")
    want(town, "1", "b", "follow", cause=cause)
    town.settle()
    assert not town.leader.wanted


def test_a_wish_for_a_follower_ends_where_followers_are_switched_off() -> None:
    town = Town(followers=0)
    town.pod("a")
    town.pod("b")
    town.owned("1", "a")
    want(town, "1", "b", "follow")
    town.settle()
    assert not town.leader.wanted


def test_builds_keep_to_the_budget_of_the_pod_that_builds() -> None:
    town = Town(joining_at_once=3)
    town.pod("a")
    town.pod("b")
    for number in range(1, 11):
        town.owned(str(number), "a")
    town.settle()
    joined = [held for held in town.view.assignments.values() if held.assignment.joining]
    assert len(joined) == 3
    town.settle(built=True)
    town.settle(built=True)
    assert all(town.where(str(number))[3] == "b" for number in range(1, 11))


def test_planned_openings_keep_to_the_budget_of_the_pod_that_opens() -> None:
    town = Town(opening_at_once=4)
    town.pod("a")
    town.pod("b")
    for number in range(1, 11):
        town.owned(str(number), "a", follower=holder("b"))
    town.pod("a", state="draining")
    town.settle()
    moved = [number for number in range(1, 11) if town.where(str(number))[0] == "b"]
    assert len(moved) == 4
    town.settle(built=True)
    assert all(town.where(str(number))[0] == "b" for number in range(1, 11))


def test_a_full_pod_is_not_moved_to(town: Town) -> None:
    town.pod("c", capacity=0)
    town.owned("1", "a", follower=holder("b"))
    want(town, "1", "c")
    town.settle()
    assert town.where("1")[:2] == ("a", 1)
    assert not town.leader.wanted


@pytest.mark.parametrize("why", ["pinned", "moved", "drained"])
def test_several_guilds_that_go_to_one_pod_do_not_exceed_its_capacity_together(
    town: Town, why: str
) -> None:
    town.pod("c", capacity=3)
    if why == "drained":
        town.pod("b", capacity=0)
    town.owned("9", "c", follower=holder("b"))
    for number in range(1, 6):
        town.owned(str(number), "a")
        if why == "pinned":
            town.pin(str(number), "c")
        elif why == "moved":
            want(town, str(number), "c")
    if why == "drained":
        town.drain("a")
    town.settle(built=True)
    assert town.view.index.owned[PodId("c")] == 3
    left = [str(number) for number in range(1, 6) if town.where(str(number))[0] == "a"]
    assert len(left) == 3
    if why == "pinned":
        assert town.reason(left[0]) == "it is to move, but c is at its capacity of 3 guilds"


def test_a_guild_goes_to_the_pod_of_its_pin_as_soon_as_that_has_room(town: Town) -> None:
    town.pod("c", capacity=1)
    town.owned("9", "c", follower=holder("b"))
    town.owned("1", "a", follower=holder("b"))
    town.pin("1", "c")
    town.settle(built=True)
    assert town.where("1")[0] == "a"
    want(town, "9", "b")
    town.settle(built=True)
    assert (town.where("9")[0], town.where("1")[0]) == ("b", "c")


def test_a_move_is_given_up_when_its_target_has_become_full(town: Town) -> None:
    town.pod("c", capacity=1)
    town.owned("1", "a", follower=holder("b"), joining=joining("c"))
    want(town, "1", "c")
    town.settle()
    town.owned("2", "c", follower=holder("b"))  # promoted, which asks for no room
    town.holds("1", "c")
    town.settle()
    assert town.where("1") == ("a", 1, "placed", "b")
    assert town.a("1").joining is None
    assert not town.leader.wanted


def test_who_has_no_owner_takes_the_room_that_a_move_was_promised(town: Town) -> None:
    town.pod("b", capacity=0)
    town.pod("c", capacity=1)
    town.pod("a", capacity=1)
    town.owned("1", "a")
    town.pin("1", "c")
    town.settle()
    assert town.a("1").joining == joining("c", cause="pinned", by="alice", since_ms=0)
    town.register("2")
    town.settle()
    assert town.where("2")[0] == "c"
    town.settle(built=True)
    assert town.where("1")[:2] == ("a", 1)
    assert town.reason("1") == "it is to move, but c is at its capacity of 1 guilds"
