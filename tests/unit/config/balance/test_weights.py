"""The weight of a guild, from whatever its owner reports."""

import math

import hypothesis.strategies as st
import pytest
from hypothesis import given

from components.config.balance import DEFAULT_WEIGHT, weigh
from components.config.balance.weights import INPUT_MS, OVER_S, UNIT_MS_PER_S, doubt

anything = st.floats(allow_nan=True, allow_infinity=True)


def test_a_quiet_guild_weighs_as_much_as_one_without_reports() -> None:
    assert weigh(0, 0, 0) == DEFAULT_WEIGHT == 1


def test_a_tenth_of_a_millisecond_a_second_weighs_as_much_as_a_quiet_guild() -> None:
    assert weigh(0, 0, 0.1) == 2
    assert weigh(0, 10_000, 0) == 2
    assert weigh(2, 0, 0) == pytest.approx(4)


@given(anything, anything, anything)
def test_whatever_is_reported_the_weight_is_a_positive_number(
    events: float, rows: float, engine_ms: float
) -> None:
    weight = weigh(events, rows, engine_ms)
    assert math.isfinite(weight)
    assert weight >= DEFAULT_WEIGHT


@given(st.floats(0, 1e3), st.floats(0, 1e7), st.floats(0, 1e3), st.floats(0, 100))
def test_more_of_anything_never_weighs_less(
    events: float, rows: float, engine_ms: float, more: float
) -> None:
    weight = weigh(events, rows, engine_ms)
    assert weigh(events + more, rows, engine_ms) >= weight
    assert weigh(events, rows + more, engine_ms) >= weight
    assert weigh(events, rows, engine_ms + more) >= weight


def test_the_doubt_is_the_variance_of_a_count_in_weight() -> None:
    """99 inputs in 100 s and one more, each of 0.15 ms and 0.35 ms in the engine."""
    rate = 99 / 100
    whole, engine = (INPUT_MS + 0.35) / UNIT_MS_PER_S, 0.35 / UNIT_MS_PER_S
    expected = (whole**2 + engine**2) * 100 / 100**2
    assert doubt(rate, rate * 0.35, 100) == pytest.approx(expected)


def test_a_pod_that_does_not_say_how_long_it_measured_has_for_about_a_minute() -> None:
    assert doubt(2, 1, 0) == doubt(2, 1, OVER_S)


@given(anything, anything, anything)
def test_whatever_is_reported_the_doubt_is_a_positive_number(
    events: float, engine_ms: float, over_s: float
) -> None:
    variance = doubt(events, engine_ms, over_s)
    assert variance >= 0
    assert not math.isnan(variance)
