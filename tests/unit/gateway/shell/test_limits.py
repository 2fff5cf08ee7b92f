"""The guard against invalid requests."""

import pytest

from components.gateway.shell.effects.limits import InvalidRequests
from components.sharing.invalid import INVALID_WINDOW_S


class Clock:
    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


def test_posts_wait_when_too_many_requests_were_invalid() -> None:
    clock = Clock()
    invalid = InvalidRequests(3, clock)
    for _ in range(3):
        assert invalid.wait_s == 0
        invalid.note()
        clock.now += 1
    assert invalid.wait_s > 0
    clock.now += INVALID_WINDOW_S - 3
    assert invalid.wait_s == 0
    assert invalid.count == 2


def test_what_other_pods_had_counts_too() -> None:
    clock = Clock()
    invalid = InvalidRequests(5000, clock)
    invalid.publish(5000, pods=2)
    assert invalid.wait_s > 0
    clock.now += INVALID_WINDOW_S  # nobody published since: they are all over
    assert invalid.wait_s == 0


@pytest.mark.parametrize("pods", [1, 2, 4, 10])
def test_pods_together_stay_below_the_limit_while_nobody_counts(pods: int) -> None:
    clock = Clock()
    guards = [InvalidRequests(5000, clock) for _ in range(pods)]
    for guard in guards:
        guard.publish(1000, pods)
    noted = 0
    for guard in guards:
        while guard.wait_s == 0:
            guard.note()
            noted += 1
    assert 1000 + noted <= 5000 + pods
