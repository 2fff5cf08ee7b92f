"""The rules of placement, one world a rule."""

import pytest

from components.config.placement import decide, is_newer
from components.config.world import Plan, World
from contracts.ids import GuildId, Incarnation
from tests.unit.config.worlds import GENERATION, NOW_S, applied, held, log, pod, registered, world


def assigned(plan: Plan) -> list[tuple[str, str, int, str]]:
    """Guild, pod, epoch and cause of every assignment of a plan."""
    return [
        (a.assignment.guild, a.assignment.pod, a.assignment.epoch, a.assignment.cause)
        for a in plan.assign
    ]


def reason(plan: Plan, guild: str = "1") -> str:
    """Why the guild waits."""
    return plan.waiting[GuildId(guild)].reason


def test_a_new_guild_goes_to_the_pod_with_the_fewest_guilds() -> None:
    before = world(
        pods=[pod("a"), pod("b")],
        guilds=[registered("1")],
        owned=[held("8", "a"), held("9", "a"), held("7", "b")],
        logs={"1": log(42)},
    )
    plan = decide(before)
    assert assigned(plan) == [("1", "b", 1, "placed")]
    decision = plan.assign[0]
    assert decision.revision == 0
    assert decision.assignment.first_sequence == 42
    assert decision.assignment.generation == GENERATION
    assert decision.assignment.incarnation == "b-1"


def test_many_new_guilds_are_spread_evenly() -> None:
    guilds = [str(number) for number in range(1, 31)]
    before = world(
        pods=[pod("a"), pod("b"), pod("c")],
        guilds=[registered(guild) for guild in guilds],
        logs={guild: log() for guild in guilds},
    )
    owners = [owner for _, owner, _, _ in assigned(decide(before))]
    assert [owners.count(name) for name in "abc"] == [10, 10, 10]


def test_a_guild_whose_log_was_not_looked_at_is_looked_up_first() -> None:
    plan = decide(world(pods=[pod("a")], guilds=[registered("1")]))
    assert plan.look_up == ["1"]
    assert not plan.acts


def test_what_was_read_long_ago_is_not_believed() -> None:
    old = log(read_at_s=NOW_S - 6)
    plan = decide(world(pods=[pod("a")], guilds=[registered("1")], logs={"1": old}))
    assert plan.look_up == ["1"]
    assert not plan.acts


def test_a_guild_without_any_input_waits_and_is_looked_up_again_soon() -> None:
    before = world(pods=[pod("a")], guilds=[registered("1")], logs={"1": log(None)})
    plan = decide(before)
    assert not plan.acts
    assert reason(plan) == "nothing is on its log yet"
    assert plan.wake_at_s == NOW_S + 0.5


def test_a_log_that_stays_empty_is_looked_at_less_and_less_often() -> None:
    fact = log(None)
    pauses = []
    for looks in (1, 2, 5, 50):
        again = type(fact)(first=None, generation=GENERATION, read_at_s=NOW_S, looks=looks)
        plan = decide(world(pods=[pod("a")], guilds=[registered("1")], logs={"1": again}))
        assert plan.wake_at_s is not None
        pauses.append(plan.wake_at_s - NOW_S)
    assert pauses == [0.5, 1.0, 8.0, 8.0]


def test_a_guild_that_the_history_knows_is_never_placed_from_nothing() -> None:
    before = world(
        pods=[pod("a")], guilds=[registered("1")], logs={"1": log()}, placed_before={"1"}
    )
    plan = decide(before)
    assert not plan.acts
    assert "history knows this guild but the bus does not" in reason(plan)


def test_nothing_new_is_placed_while_the_history_may_still_be_read() -> None:
    pending = world(
        pods=[pod("a")],
        guilds=[registered("1")],
        logs={"1": log()},
        history_pending_until_s=NOW_S + 2,
    )
    plan = decide(pending)
    assert not plan.acts
    assert "waiting for PostgreSQL" in reason(plan)
    assert plan.wake_at_s == NOW_S + 2


def test_placement_goes_on_without_postgresql_after_the_wait() -> None:
    late = world(
        pods=[pod("a")],
        guilds=[registered("1")],
        logs={"1": log()},
        history_pending_until_s=NOW_S,
    )
    assert assigned(decide(late)) == [("1", "a", 1, "placed")]


@pytest.mark.parametrize("state", ["starting", "draining", "fenced"])
def test_only_a_serving_pod_takes_new_guilds(state: str) -> None:
    plan = decide(world(pods=[pod("a", state=state)], guilds=[registered("1")]))
    assert not plan.acts
    assert reason(plan) == "no pod is serving"
    assert plan.look_up == []


def test_a_guild_waits_when_every_pod_is_at_capacity() -> None:
    before = world(pods=[pod("a", capacity=1)], guilds=[registered("1")], owned=[held("9", "a")])
    plan = decide(before)
    assert not plan.acts
    assert "all at their capacity" in reason(plan)
    assert plan.look_up == []


def test_a_guild_that_the_bot_left_is_not_placed_and_keeps_what_it_has() -> None:
    gone = registered("1", present=False)
    assert decide(world(pods=[pod("a")], guilds=[gone])) == Plan(
        assign=[], fence=[], look_up=[], waiting={}, wake_at_s=None
    )
    assert not decide(world(pods=[pod("a")], guilds=[gone], owned=[held("1", "a")])).acts


def test_a_served_guild_is_left_alone() -> None:
    plan = decide(world(pods=[pod("a")], guilds=[registered("1")], owned=[held("1", "a")]))
    assert plan == Plan(assign=[], fence=[], look_up=[], waiting={}, wake_at_s=None)


@pytest.mark.parametrize("state", ["starting", "serving"])
def test_a_pod_that_started_anew_gets_its_guilds_back_at_the_next_epoch(state: str) -> None:
    before = world(pods=[pod("a", start=2, state=state)], owned=[held("1", "a", epoch=4)])
    plan = decide(before)
    assert assigned(plan) == [("1", "a", 5, "restarted")]
    assert plan.assign[0].assignment.incarnation == "b-2"
    assert plan.assign[0].assignment.first_sequence == 10
    assert plan.assign[0].revision == 5


def test_a_pod_that_has_no_incarnation_yet_gets_nothing() -> None:
    plan = decide(world(pods=[pod("a", start=None)], owned=[held("1", "a")]))
    assert not plan.acts
    assert reason(plan) == "a is starting"


def test_an_assignment_is_not_given_back_to_an_older_incarnation() -> None:
    plan = decide(world(pods=[pod("a", start=2)], owned=[held("1", "a", start=3)]))
    assert not plan.acts
    assert "no news yet" in reason(plan)


def test_a_pod_that_is_away_for_a_while_keeps_its_guilds() -> None:
    before = world(
        pods=[pod("a", away_since_s=NOW_S - 59), pod("b")],
        owned=[held("1", "a")],
        logs={"1": log()},
    )
    plan = decide(before)
    assert not plan.acts
    assert "a is away; it keeps the guild" in reason(plan)
    assert plan.wake_at_s == NOW_S + 1


def test_a_pod_that_stays_away_is_fenced_before_its_guild_moves() -> None:
    before = world(
        pods=[pod("a", away_since_s=NOW_S - 60, revision=33), pod("b", start=4)],
        owned=[held("1", "a", epoch=2), held("2", "a")],
        logs={"1": log(), "2": log()},
    )
    plan = decide(before)
    assert plan.assign == []
    assert [(f.lease.pod, f.lease.state, f.revision) for f in plan.fence] == [("a", "fenced", 33)]
    assert plan.fence[0].lease.data == "disk of a"
    after = decide(applied(before, plan))
    assert assigned(after) == [("1", "b", 3, "replaced"), ("2", "b", 2, "replaced")]
    assert after.assign[0].assignment.incarnation == "b-4"


def test_a_pod_that_nobody_remembers_is_fenced_as_never_written() -> None:
    before = world(pods=[pod("b")], owned=[held("1", "a")], logs={"1": log()})
    (fence,) = decide(before).fence
    assert (fence.lease.pod, fence.lease.incarnation, fence.revision) == ("a", "b-1", 0)


def test_a_pod_that_nobody_remembers_is_away_since_the_buckets_were_read() -> None:
    before = world(
        pods=[pod("b")], owned=[held("1", "a")], logs={"1": log()}, judge_from_s=NOW_S - 59
    )
    plan = decide(before)
    assert not plan.acts
    assert plan.wake_at_s == NOW_S + 1


def test_nobody_is_judged_before_the_moment_from_which_news_counts() -> None:
    for away in (pod("a", away_since_s=0.0), pod("a", state="fenced")):
        before = world(
            pods=[away, pod("b")],
            owned=[held("1", "a")],
            logs={"1": log()},
            judge_from_s=NOW_S + 3,
        )
        plan = decide(before)
        assert not plan.acts
        assert plan.wake_at_s == NOW_S + 3


def test_what_a_former_leader_fenced_is_replaced_without_waiting_again() -> None:
    before = world(
        pods=[pod("a", state="fenced", away_since_s=NOW_S - 1), pod("b")],
        owned=[held("1", "a")],
        logs={"1": log()},
    )
    assert assigned(decide(before)) == [("1", "b", 2, "replaced")]


@pytest.mark.parametrize(
    ("first", "generation", "words"),
    [
        (11, GENERATION, "its first input is no longer on the log; waiting for a to come back"),
        (None, GENERATION, "its first input is no longer on the log; waiting for a to come back"),
        (10, "2026-02-02T00:00:00Z", "the log was made anew since the guild was placed"),
    ],
)
def test_a_guild_whose_log_is_not_whole_stays_with_its_pod(
    first: int | None, generation: str, words: str
) -> None:
    before = world(
        pods=[pod("a", away_since_s=0.0), pod("b")],
        owned=[held("1", "a")],
        logs={"1": log(first, generation=generation)},
    )
    plan = decide(before)
    assert not plan.acts
    assert words in reason(plan)
    assert plan.wake_at_s == NOW_S + 60


def test_a_guild_of_a_lost_pod_waits_when_no_other_has_room() -> None:
    before = world(pods=[pod("a", away_since_s=0.0)], owned=[held("1", "a")], logs={"1": log()})
    plan = decide(before)
    assert not plan.acts
    assert reason(plan) == "a is away and no pod is serving"


def test_a_pod_without_guilds_is_never_fenced() -> None:
    assert not decide(world(pods=[pod("a", away_since_s=0.0), pod("b")])).acts


@pytest.mark.parametrize(
    ("incarnation", "than", "newer"),
    [
        ("b-10", "b-9", True),
        ("b-9", "b-10", False),
        ("b-9", "b-9", False),
        ("2026-01-01T00:00:00.5Z-3", "2026-01-01T00:00:00.5Z-20", False),
        ("rebuilt-3", "b-20", True),
        ("odd", "b-20", True),
        ("odd", "odd", False),
    ],
)
def test_incarnations_are_ordered_by_the_revision_within_a_bucket(
    incarnation: str, than: str, newer: bool
) -> None:
    assert is_newer(Incarnation(incarnation), than=Incarnation(than)) is newer


def test_the_same_world_gives_the_same_plan() -> None:
    def make(order: int) -> World:
        guilds = [str(number) for number in range(1, 20)][::order]
        return world(
            pods=[pod(name) for name in "abc"[::order]],
            guilds=[registered(guild) for guild in guilds],
            logs={guild: log() for guild in guilds},
        )

    assert decide(make(1)) == decide(make(-1))
