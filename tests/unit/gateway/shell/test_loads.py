"""What a guild costs is smoothed once, and the report says how certain it is."""

import random
import statistics

import pytest

from components.gateway.shell.loads import EVERY_S, SMOOTHED, Rates
from contracts.ids import GuildId

ONE, TWO = GuildId("1"), GuildId("2")
MS = 1_000_000


def test_the_interval_in_which_a_guild_came_does_not_count() -> None:
    rates = Rates()
    rates.interval(10, {ONE: (5000, 900 * MS)}, {ONE})  # it caught up with its log
    assert rates.known() == []
    rates.interval(10, {ONE: (20, 40 * MS)}, {ONE})
    [(guild, rate)] = rates.known()
    assert (guild, rate.inputs, rate.spent_ms) == (ONE, 2.0, 4.0)
    assert rate.over_s == 10


def test_the_first_intervals_count_alike_and_later_ones_are_smoothed() -> None:
    rates = Rates()
    rates.interval(10, {}, {ONE})
    for inputs in (0, 10, 20):
        rates.interval(10, {ONE: (inputs, 0)}, {ONE})
    [(_, rate)] = rates.known()
    assert rate.inputs == pytest.approx(1.0)
    assert rate.over_s == pytest.approx(30)
    for _ in range(100):
        rates.interval(10, {ONE: (0, 0)}, {ONE})
    before = rate.inputs
    rates.interval(10, {ONE: (100, 0)}, {ONE})
    assert rate.inputs == pytest.approx(before + SMOOTHED * (10 - before))


def test_a_guild_that_left_is_forgotten_and_begins_anew() -> None:
    rates = Rates()
    for here in ({ONE, TWO}, {ONE, TWO}, {TWO}, {ONE, TWO}):
        rates.interval(10, {ONE: (10, 0), TWO: (10, 0)}, here)
    assert [guild for guild, _ in rates.known()] == [TWO]


def test_the_figures_vary_as_those_of_a_plain_mean_over_the_time_that_is_stated() -> None:
    """Poisson counts of one a second: the variance of a mean over T seconds is 1/T."""
    dice, seen, over_s = random.Random(1), [], 0.0
    for _ in range(400):
        rates = Rates()
        rates.interval(EVERY_S, {}, {ONE})
        for _ in range(60):
            rates.interval(EVERY_S, {ONE: (poisson(dice, EVERY_S), 0)}, {ONE})
        [(_, rate)] = rates.known()
        seen.append(rate.inputs)
        over_s = rate.over_s
    assert over_s == pytest.approx(123, abs=1)
    assert statistics.mean(seen) == pytest.approx(1, abs=0.02)
    assert statistics.variance(seen) == pytest.approx(1 / over_s, rel=0.2)


def poisson(dice: random.Random, mean: float) -> int:
    """How many come when ``mean`` come on average."""
    count, passed = 0, dice.expovariate(1)
    while passed < mean:
        count, passed = count + 1, passed + dice.expovariate(1)
    return count
