"""The load that each pod should have, where some must have more and some cannot have as much."""

import hypothesis.strategies as st
import pytest
from hypothesis import given

from components.config.balance.level import levels

pods = st.lists(st.tuples(st.floats(0, 100), st.floats(0, 100)), min_size=1, max_size=8)


def test_without_limits_everyone_has_the_mean() -> None:
    assert levels(9, [0, 0, 0], [99, 99, 99]) == [3, 3, 3]


def test_who_must_have_more_leaves_less_to_the_others() -> None:
    assert levels(9, [5, 0, 0], [99, 99, 99]) == pytest.approx([5, 2, 2])


def test_who_cannot_have_as_much_leaves_more_to_the_others() -> None:
    assert levels(9, [0, 0, 0], [1, 99, 99]) == pytest.approx([1, 4, 4])


def test_what_no_pod_can_have_is_left_out() -> None:
    assert levels(9, [0, 0], [1, 2]) == pytest.approx([1, 2])
    assert levels(0, [], []) == []


@given(pods, st.floats(0, 1))
def test_levels_keep_the_limits_and_add_up(limits: list[tuple[float, float]], share: float) -> None:
    least = [min(pair) for pair in limits]
    most = [max(pair) for pair in limits]
    total = sum(least) + share * (sum(most) - sum(least))
    found = levels(total, least, most)
    for level, floor, top in zip(found, least, most, strict=True):
        assert floor <= level <= top
    assert sum(found) == pytest.approx(total, abs=1e-6)
