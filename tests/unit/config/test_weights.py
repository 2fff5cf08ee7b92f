"""Weights are what owners report, whole, with how much of them may be chance."""

import pytest

from components.config.balance.weights import doubt, weigh
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


def report(pod: str, events_per_s: float, number: int = 1) -> PodLoads:
    """Of guild 1."""
    load = GuildLoad(guild=ONE, events_per_s=events_per_s, engine_ms_per_s=7.0, over_s=60.0)
    return PodLoads(pod=PodId(pod), incarnation=start(number), at_ms=1, guilds=[load])


def test_a_guild_that_nobody_measured_is_quiet() -> None:
    weights = Weights()
    assert (weights.of(ONE), weights.doubt_of(ONE)) == (1.0, 0.0)


def test_the_first_report_of_a_guild_is_taken_whole_and_so_is_every_other(
    owned: dict[GuildId, Held],
) -> None:
    weights = Weights()
    for events_per_s in (100.0, 3.0):
        weights.report(report("a", events_per_s), owned)
        assert weights.of(ONE) == weigh(events_per_s, 0, 7.0)
        assert weights.doubt_of(ONE) == doubt(events_per_s, 7.0, 60.0)


def test_what_a_follower_measures_does_not_count(owned: dict[GuildId, Held]) -> None:
    weights = Weights()
    weights.report(report("b", 100.0), owned)
    assert weights.of(ONE) == 1.0


def test_a_guild_that_moves_keeps_its_weight_until_its_new_owner_reports_it() -> None:
    town, weights = Town(), Weights()
    town.owned("1", "a")
    weights.report(report("a", 100.0), town.view.assignments)
    town.owned("1", "b", epoch=2)
    weights.report(report("a", 1.0), town.view.assignments)
    assert weights.of(ONE) == weigh(100.0, 0, 7.0)
    weights.report(report("b", 50.0), town.view.assignments)
    assert weights.of(ONE) == weigh(50.0, 0, 7.0)


def test_a_guild_that_is_no_longer_assigned_is_forgotten(owned: dict[GuildId, Held]) -> None:
    weights = Weights()
    weights.report(report("a", 100.0), owned)
    weights.forget([ONE])
    assert (weights.of(ONE), weights.doubt_of(ONE)) == (1.0, 0.0)


def test_a_report_counts_for_the_start_of_the_pod_that_made_it(
    owned: dict[GuildId, Held],
) -> None:
    weights = Weights()
    weights.report(report("a", 100.0, number=1), owned)
    assert weights.reported(PodId("a"), start(1))
    assert not weights.reported(PodId("a"), start(2))
    assert not weights.reported(PodId("b"), start(1))
