"""The figures of planning: one a size, beside a plan that forgets where the guilds are."""

import itertools

import pytest

from components.bench.placement import (
    Measured,
    PlacementOptions,
    best_fit,
    figures_of,
    measure,
    run_placement,
    slope,
)
from components.config.balance import GuildLoad, PodRoom
from contracts.ids import GuildId, PodId


def measured(guilds: int, seconds: float) -> Measured:
    return Measured(
        guilds=guilds,
        plan_s={"all_new": seconds / 2, "one_more_pod": seconds},
        worst_s=3 * seconds,
        moves={"all_new": guilds, "one_more_pod": 10},
        naive_s=1.0,
        naive_moves=guilds,
        max_over_mean=1.0,
    )


def test_the_baseline_gives_each_guild_to_the_pod_with_least() -> None:
    pods = [PodRoom(pod=PodId(name), capacity=9) for name in "ab"]
    weights = {"1": 5.0, "2": 3.0, "3": 3.0}
    guilds = [GuildLoad(guild=GuildId(name), weight=weight) for name, weight in weights.items()]
    assert best_fit(pods, guilds) == {"1": "a", "2": "b", "3": "b"}  # one zone: no followers


def test_the_figure_of_a_size_is_its_slowest_situation_and_the_largest_size_has_the_limit() -> None:
    [figure, *_] = figures_of(measured(100_000, 1.5))
    assert (figure.name, figure.value, figure.ok) == ("plan_100000_s", 1.5, True)
    assert not figures_of(measured(100_000, 2.5))[0].ok
    assert figures_of(measured(1_000, 2.5))[0].limit is None


def test_the_median_of_the_rounds_counts_and_the_slowest_is_shown(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A clock by which the rounds of each situation take 1, 5 and 2 seconds."""
    took = itertools.cycle([0.0, 1.0, 0.0, 5.0, 0.0, 2.0])
    monkeypatch.setattr("components.bench.placement.time.perf_counter", lambda: next(took))
    one = measure(50, PlacementOptions(rounds=3))
    assert set(one.plan_s.values()) == {2.0}
    assert (one.worst_s, one.naive_s) == (5.0, 2.0)
    figures = {figure.name: figure.value for figure in figures_of(one)}
    assert figures["plan_50_worst_s"] == 5.0


def test_growth_in_proportion_has_the_slope_one() -> None:
    assert slope([measured(1_000, 0.01), measured(100_000, 1.0)]) == pytest.approx(1.0)
    small = measured(10, 9.0)
    assert slope([small, measured(1_000, 0.01), measured(10_000, 1.0)]) == pytest.approx(2.0)
    assert slope([measured(1_000, 0.01)]) == 0


def test_one_more_pod_moves_far_fewer_guilds_than_the_baseline() -> None:
    one = measure(2_000, PlacementOptions(rounds=1))
    assert 0 < one.moves["one_more_pod"] <= 40
    assert one.naive_moves > 1_500
    assert one.moves["all_new"] == 2_000


def test_the_result_counts_every_plan_and_names_every_size() -> None:
    said: list[str] = []
    result = run_placement(PlacementOptions(sizes=(300, 600), rounds=2), said.append)
    names = {figure.name for figure in result.figures}
    assert result.checked == 2 * 4 * 2
    assert {"plan_300_s", "plan_600_s", "slope"} <= names
    assert len(said) == 2
