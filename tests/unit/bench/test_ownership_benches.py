"""What the benches of ownership compute from what they saw."""

import math

import msgspec
import pytest

from components.bench.capacity import Carried, most
from components.bench.capacity import figures_of as capacity_figures
from components.bench.failover import (
    Response,
    Times,
    figures_of,
    first_responses,
    opened_ms,
    serving_ms,
    split,
)
from components.bench.handoff import Told, pause_ms
from components.bench.rebalance import is_fair
from components.bench.scale import Grown, records_of, slope
from components.chaos.watching import Change
from components.cli.bench import MEASUREMENTS, main
from components.simulator.record import Entry
from contracts import storage
from contracts.ids import Epoch, Generation, GuildId, Incarnation, PodId, Sequence
from contracts.message import Message, encode
from contracts.operations import BalanceReport
from contracts.records import Assignment, Holding, PodLease


def created(number: int, at_ms: float, interaction: str) -> Entry:
    data = {"what": "created", "id": interaction}
    return Entry(n=number, at_ms=at_ms, kind="interaction", data=data)


def answered(number: int, at_ms: float, interaction: str, status: int) -> Entry:
    path = f"/interactions/{interaction}/token/callback"
    data = {"method": "POST", "path": path, "status": status}
    return Entry(n=number, at_ms=at_ms, kind="rest", data=data)


def test_an_interactions_first_accepted_response_counts() -> None:
    entries = [
        created(1, 1000.0, "7"),
        created(2, 1100.0, "8"),
        answered(3, 1400.0, "7", 503),
        answered(4, 1500.0, "7", 204),
        answered(5, 1900.0, "7", 204),
    ]
    assert first_responses(entries) == {"7": Response(asked_ms=1000.0, took_s=0.5)}


def test_only_questions_that_met_the_failover_count_and_those_before_it_are_the_baseline() -> None:
    killed_ms, whole_ms = 10_000.0, 10_400.0
    asked = {
        "answered before": (9_700.0, 0.25),
        "open at the kill": (9_900.0, 0.7),
        "asked during": (10_300.0, 0.02),
        "asked afterwards": (10_401.0, 0.01),
    }
    responses = [Response(asked_ms=at_ms, took_s=took_s) for at_ms, took_s in asked.values()]
    assert split(responses, killed_ms, whole_ms) == ([0.7, 0.02], [0.25])


def shown(seen_ms: float, bucket: str, key: str, value: Message | None) -> Change:
    raw = None if value is None else encode(value)
    return Change(seen_ms=seen_ms, bucket=bucket, key=key, revision=int(seen_ms), value=raw)


def lease(seen_ms: float, state: str, start: str, pod: str = "a") -> Change:
    value = PodLease(
        pod=PodId(pod),
        incarnation=Incarnation(start),
        state=state,  # type: ignore[arg-type]
        data="d",
        capacity=10,
        version="0",
        engine_version=1,
        started_ms=0,
    )
    return shown(seen_ms, storage.PODS, pod, value)


def test_a_killed_pod_is_back_when_another_start_of_it_is_first_seen_to_serve() -> None:
    changes = [
        lease(1.0, "serving", "a-1"),
        lease(2.0, "fenced", "a-1"),
        lease(3.0, "starting", "a-2"),
        lease(4.0, "serving", "b-2", pod="b"),
        shown(5.0, storage.PODS, "a", None),
        lease(6.0, "serving", "a-2"),
        lease(7.0, "serving", "a-2"),
    ]
    assert serving_ms(changes[:5], "a", Incarnation("a-1")) is None
    assert serving_ms(changes, "a", Incarnation("a-1")) == 6.0


def assigned(seen_ms: float, guild: str, epoch: int) -> Change:
    value = Assignment(
        guild=GuildId(guild),
        pod=PodId("b"),
        incarnation=Incarnation("b-1"),
        epoch=Epoch(epoch),
        first_sequence=Sequence(1),
        generation=Generation("g"),
        since_ms=0,
        cause="promoted",
    )
    return shown(seen_ms, storage.GUILDS, guild, value)


def held(seen_ms: float, guild: str, role: str, epoch: int, took_ms: int) -> Change:
    value = Holding(
        guild=GuildId(guild),
        pod=PodId("b"),
        incarnation=Incarnation("b-1"),
        data="d",
        role=role,  # type: ignore[arg-type]
        epoch=Epoch(epoch),
        sequence=Sequence(1),
        beat=0,
        source="disk",
        took_ms=took_ms,
    )
    return shown(seen_ms, storage.HANDOFFS, f"holds.{guild}.b", value)


def test_a_guild_is_open_when_its_new_owner_was_told_and_had_taken_what_it_took() -> None:
    changes = [
        held(900.0, "1", "own", 4, took_ms=7),  # of before
        assigned(1000.0, "1", 5),
        assigned(1010.0, "1", 5),  # a follower was added
        assigned(1000.0, "2", 8),
        held(2100.0, "1", "follow", 5, took_ms=1),
        held(2200.0, "1", "own", 5, took_ms=120),
        assigned(3000.0, "1", 6),
        held(4100.0, "1", "own", 6, took_ms=1),  # moved on: it was open before
        assigned(1000.0, "3", 5),
        held(2200.0, "3", "own", 5, took_ms=1),  # not one of those that were struck
    ]
    before = {GuildId("1"): Epoch(4), GuildId("2"): Epoch(7)}
    assert opened_ms(changes, before) == {"1": 1120.0}


def told(asked_ms: float, answered_ms: float, epoch: int) -> Told:
    return Told(asked_ms / 1000, answered_ms / 1000, Epoch(epoch))


def test_a_pause_is_the_longest_request_that_was_under_way_while_the_guild_changed_hands() -> None:
    slow_before = [told(0, 90, 1), told(95, 96, 1)]
    met_it = [told(98, 140, 2), told(99, 138, 2), told(137, 142, 2)]
    slow_after = [told(143, 400, 2)]
    assert pause_ms([*slow_after, *met_it, *slow_before]) == pytest.approx(42)


def test_an_answer_of_the_old_owner_that_comes_late_is_part_of_the_pause() -> None:
    assert pause_ms([told(0, 1, 1), told(2, 60, 1), told(5, 30, 2)]) == pytest.approx(58)


def test_without_a_move_what_was_under_way_in_the_middle_counts() -> None:
    asked = [told(0, 90, 1), told(100, 103, 1), told(102, 109, 1), told(110, 400, 1)]
    assert pause_ms(asked) == pytest.approx(7)


def test_a_new_pod_with_too_little_is_no_fair_share() -> None:
    report = BalanceReport(moves=[], moves_total=0, max_over_mean=1.1, max_over_mean_after=1.1)
    assert is_fair(msgspec.structs.replace(report, min_over_mean=0.9))
    assert not is_fair(msgspec.structs.replace(report, min_over_mean=0.7))
    assert not is_fair(msgspec.structs.replace(report, min_over_mean=0.9, max_over_mean=1.2))


def test_a_takeover_that_is_too_slow_breaks_its_limits() -> None:
    times = Times(answered=[0.1] * 98 + [1.2] * 2, effects=[0.6] * 100, all_guilds=[0.4, 1.6])
    figures = {figure.name: figure for figure in figures_of("kill", times, [2.0, 3.0])}
    assert figures["answered_p50_s"].ok
    assert not figures["answered_p99_s"].ok
    assert not figures["effects_p50_s"].ok
    assert figures["effects_max_s"].ok
    baseline = figures["answered_max_s"].baseline
    assert baseline is not None
    assert baseline.value == 3.0
    assert figures["all_guilds_max_s"].value == 1.6
    assert figures["all_guilds_p99_s"].limit is None


@pytest.mark.parametrize(
    ("kind", "limited"),
    [
        ("unattested", {"effects_p50_s", "effects_p99_s", "effects_max_s"}),
        ("cold", {"answered_p50_s", "answered_p99_s"}),
    ],
)
def test_the_other_kinds_have_limits_of_their_own(kind: str, limited: set[str]) -> None:
    times = Times(answered=[0.1], effects=[0.1], all_guilds=[0.1])
    figures = figures_of(kind, times, [])  # type: ignore[arg-type]
    assert {f.name for f in figures if f.limit is not None} == {f"{kind}_{one}" for one in limited}


def test_what_is_there_anyway_is_no_growth() -> None:
    sizes = [Grown(guilds=n, start_s=1.0 + n / 1000, rss_mib=50.0) for n in (1_000, 10_000)]
    assert math.isclose(slope(sizes, lambda one: one.start_s, 1.0), 1.0)


def test_owner_and_follower_of_a_filled_guild_hold_its_rows_on_different_pods() -> None:
    for number in range(10):
        _, assignment, holdings = records_of(number, pods=3)
        assert assignment.follower is not None
        assert assignment.pod != assignment.follower.pod
        assert {holding.pod for holding in holdings} == {assignment.pod, assignment.follower.pod}


def carried(guilds: int = 1000) -> Carried:
    measured = [1.0]
    return Carried(
        guilds=guilds,
        rss_mib={"gateway": 150.0, "config": 60.0, "edge": 60.0},
        quiet_mib={"gateway": 120.0, "config": 60.0, "edge": 60.0},
        raw_ms=measured,
        read_ms=measured,
        write_ms=measured,
        takeover_s=measured,
    )


def test_the_most_memory_of_all_readings_counts() -> None:
    assert most({"a": 1.0, "b": 5.0}, {"a": 3.0, "b": 2.0}, {"a": 2.0}) == {"a": 3.0, "b": 5.0}
    [figure] = [f for f in capacity_figures(carried(), (1000,)) if f.name == "rss_mib"]
    assert (figure.value, figure.limit) == (150.0, 160.0)
    assert figure.baseline is not None
    assert figure.baseline.value == 120.0


@pytest.mark.parametrize(("live_per_s", "ok"), [(1850.0, True), (1750.0, False)])
def test_what_a_pod_applies_live_is_held_against_what_the_log_took(
    live_per_s: float, ok: bool
) -> None:
    found = carried()
    found.logged_per_s, found.live_per_s = 2000.0, live_per_s
    [figure] = [f for f in capacity_figures(found, (1000,)) if f.name == "live_per_s"]
    assert (figure.limit, figure.ok) == (1800.0, ok)


def test_memory_has_limits_at_a_thousand_guilds_alone() -> None:
    for guilds, limited in ((1000, {"rss_mib", "config_rss_mib", "edge_rss_mib"}), (5000, set())):
        figures = capacity_figures(carried(guilds), (1000, 5000))
        names = {f.name for f in figures if f.limit is not None and f.unit == "MiB"}
        assert names == limited


@pytest.mark.parametrize("name", sorted(MEASUREMENTS))
def test_every_measurement_says_what_it_does(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main([name, "--help"])
    assert ended.value.code == 0
    assert "--json" in capsys.readouterr().out
