"""Weights follow what owners measure, slowly, so that a burst moves nothing."""

import pytest

from components.config.weights import Weights
from components.config.world import Held
from contracts.ids import GuildId, PodId
from contracts.records import GuildLoad, PodLoads
from tests.unit.config.town import Town, start

ONE = GuildId("1")


@pytest.fixture
def owned() -> dict[GuildId, Held]:
    town = Town()
    town.owned("1", "a")
    return dict(town.view.assignments)


def report(pod: str, at_ms: int, events_per_s: float) -> PodLoads:
    """Of guild 1."""
    load = GuildLoad(guild=ONE, events_per_s=events_per_s)
    return PodLoads(pod=PodId(pod), incarnation=start(1), at_ms=at_ms, guilds=[load])


def test_a_guild_that_nobody_measured_is_quiet() -> None:
    assert Weights().of(ONE) == 1.0


def test_one_burst_moves_the_weight_a_quarter_of_the_way(owned: dict[GuildId, Held]) -> None:
    weights = Weights()
    weights.report(report("a", 1, 100.0), owned)  # 100 inputs of 0.15 ms: 151
    assert weights.of(ONE) == pytest.approx(1 + 150 / 4)
    weights.report(report("a", 1, 100.0), owned)
    assert weights.of(ONE) == pytest.approx(1 + 150 / 4), "the same report again"


def test_steady_load_is_reached_within_a_minute_of_reports(owned: dict[GuildId, Held]) -> None:
    weights = Weights()
    for at_ms in range(6):
        weights.report(report("a", at_ms, 100.0), owned)
    assert weights.of(ONE) == pytest.approx(151, rel=0.2)


def test_what_a_follower_measures_does_not_count(owned: dict[GuildId, Held]) -> None:
    weights = Weights()
    weights.report(report("b", 1, 100.0), owned)
    assert weights.of(ONE) == 1.0


def test_a_guild_that_is_no_longer_assigned_is_forgotten(owned: dict[GuildId, Held]) -> None:
    weights = Weights()
    weights.report(report("a", 1, 100.0), owned)
    weights.forget([ONE])
    assert weights.of(ONE) == 1.0
