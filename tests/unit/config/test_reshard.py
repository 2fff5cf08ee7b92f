"""How a change of the number of shards is judged and goes on."""

from typing import Literal

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from components.config import reshard
from components.config.reshard import Shards
from contracts.ids import GuildId
from contracts.operations import SessionBudget
from contracts.records import ShardLease, ShardPlan

PLAN = ShardPlan(
    generation=1,
    count=3,
    from_generation=0,
    from_count=2,
    phase="connect",
    operation="op",
    by="alice",
    since_ms=0,
)
NOW = Shards(generation=0, count=2)
GUILDS = [GuildId(str(number << 22)) for number in range(5_001)]


def budget(remaining: int = 1_000, problem: str = "") -> SessionBudget:
    return SessionBudget(
        replica="shard-0",
        recommended=1,
        remaining=remaining,
        reset_after_s=5_400,
        max_concurrency=1,
        problem=problem,
    )


def lease(
    generation: int,
    shard: int,
    overlap: Literal["", "connecting", "ready", "storing", "over"] = "",
    state: Literal["connected", "resuming"] = "connected",
) -> ShardLease:
    return ShardLease(
        shard=shard,
        holder="shard-0",
        shard_count=3 if generation else 2,
        generation=generation,
        overlap=overlap,
        state=state,
        since_ms=0,
    )


OLD = {(0, shard): lease(0, shard) for shard in range(2)}
READY = {(1, shard): lease(1, shard, "ready") for shard in range(3)}
OVER = {(1, shard): lease(1, shard, "over") for shard in range(3)}


@pytest.mark.parametrize(
    ("count", "given", "words"),
    [
        (0, budget(), "1 to 10000"),
        (2, budget(), "already"),
        (1, budget(), "take at least 3 shards"),
        (3, budget(remaining=23), "grants 23 more new sessions today, and 24 are needed"),
        (3, budget(problem="HTTP 503"), "HTTP 503"),
    ],
)
def test_a_change_that_cannot_work_is_refused_with_words(
    count: int, given: SessionBudget, words: str
) -> None:
    refused = reshard.refusal(count, NOW, GUILDS, given)
    assert refused is not None
    assert words in refused


def test_a_change_within_the_budget_and_discords_limit_is_not_refused() -> None:
    assert reshard.refusal(3, NOW, GUILDS, budget(remaining=24)) is None


def test_the_status_warns_when_a_shard_is_nearly_full() -> None:
    calm = reshard.status(None, OLD, GUILDS[:4_000])
    near = reshard.status(None, OLD, GUILDS[:4_600])
    assert (calm.count, calm.connected, calm.fullest, calm.warning) == (2, 2, 2_000, "")
    assert near.warning.endswith("modbot ops reshard 3")


def test_guilds_are_cut_over_once_all_new_sessions_are_ready() -> None:
    late = {**READY, (1, 2): lease(1, 2, "connecting")}
    assert reshard.next_phase(PLAN, {**OLD, **late}, (), 0) is None
    assert reshard.next_phase(PLAN, {**OLD, **READY}, (), 0) == "cut"


def test_a_number_that_discord_refuses_is_known_from_any_new_lease() -> None:
    assert reshard.refused(PLAN, {**OLD, **READY}) == ""
    no = msgspec.structs.replace(lease(1, 2), refused="no")
    assert reshard.refused(PLAN, {**OLD, **READY, (1, 2): no}) == "no"
    assert reshard.refused(PLAN, {**OLD, (2, 0): no}) == ""


def test_the_instant_of_the_cut_is_stated_while_it_is_made_and_afterwards() -> None:
    cut = msgspec.structs.replace(PLAN, phase="cut", cut_ms=1_764_000_000_000)
    text = reshard.progress(cut, OVER, {0}, 1).text
    assert text.startswith("cutting guilds over since 2025-11-24 16:00:00 UTC; 1 of")
    done = msgspec.structs.replace(cut, phase="done")
    assert reshard.progress(done, OVER, (), 1).text == (
        "guilds were cut over at 2025-11-24 16:00:00 UTC"
    )


def test_the_cut_waits_for_an_old_shard_that_is_away_but_not_for_ever() -> None:
    away = {**OLD, **READY, (0, 1): lease(0, 1, state="resuming")}
    assert reshard.next_phase(PLAN, away, (), reshard.OLD_WAIT_S - 1) is None
    assert reshard.next_phase(PLAN, away, (), reshard.OLD_WAIT_S) == "cut"


def test_a_change_is_done_when_every_old_session_has_ended_and_every_new_one_caught_up() -> None:
    cut = msgspec.structs.replace(PLAN, phase="cut")
    assert reshard.next_phase(cut, OVER, {0}, 0) is None
    assert reshard.next_phase(cut, {**OVER, (1, 0): lease(1, 0, "storing")}, {0, 1}, 0) is None
    assert reshard.next_phase(cut, OVER, {0, 1}, 0) == "done"


@given(
    st.lists(
        st.tuples(
            st.sampled_from(["connecting", "ready", "storing", "over", "gone"]),
            st.sampled_from(["connecting", "ready", "storing", "over", "gone"]),
            st.sets(st.integers(0, 1)),
        ),
        max_size=30,
    )
)
def test_whatever_is_killed_in_between_a_plan_only_goes_forward_and_ends(
    seen: list[tuple[str, str, set[int]]],
) -> None:
    plan, ended = msgspec.structs.replace(PLAN, count=2), set[int]()
    order = ["connect", "cut", "done"]

    def step(overlaps: tuple[str, str]) -> None:
        nonlocal plan
        leases = {
            (1, shard): lease(1, shard, overlap)  # type: ignore[arg-type]
            for shard, overlap in enumerate(overlaps)
            if overlap != "gone"
        }
        following = reshard.next_phase(plan, leases, ended, reshard.OLD_WAIT_S)
        if following is not None:
            assert order.index(following) == order.index(plan.phase) + 1
            plan = msgspec.structs.replace(plan, phase=following)

    for first, second, marks in seen:
        if plan.phase == "cut":
            ended |= marks
        step((first, second))
        assert plan.phase != "done" or ended == {0, 1}
    step(("ready", "ready"))
    ended = {0, 1}
    step(("over", "over"))
    assert plan.phase == "done"


def test_what_runs_after_a_plan_is_what_it_ended_with() -> None:
    def after(phase: Literal["connect", "cut", "done", "aborted"]) -> tuple[int, int]:
        now = reshard.running(msgspec.structs.replace(PLAN, phase=phase), {})
        return now.generation, now.count

    assert after("connect") == after("aborted") == (0, 2)
    assert after("cut") == after("done") == (1, 3)
    assert reshard.running(None, OLD) == Shards(generation=0, count=2)
