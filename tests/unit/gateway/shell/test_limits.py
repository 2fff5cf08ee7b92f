"""The share of the global rate, and the guard against invalid requests."""

import asyncio

from components.gateway.shell.effects.limits import INVALID_WINDOW_S, InvalidRequests, RateShare


class Clock:
    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


async def taken(share: RateShare, *, urgent: bool) -> int:
    """How many tokens can be had at once."""
    count = 0
    while True:
        try:
            async with asyncio.timeout(0):
                await share.take(urgent=urgent)
        except TimeoutError:
            return count
        count += 1


async def test_a_burst_is_one_seconds_share() -> None:
    clock = Clock()
    share = RateShare(50.0, clock)
    assert await taken(share, urgent=True) == 50
    clock.now += 0.5
    assert await taken(share, urgent=True) == 25


async def test_pods_split_the_rate() -> None:
    clock = Clock()
    share = RateShare(50.0, clock)
    share.split(5)
    assert await taken(share, urgent=True) == 10
    clock.now += 1.0
    assert await taken(share, urgent=True) == 10


async def test_posts_leave_a_part_of_the_burst_to_removals() -> None:
    share = RateShare(50.0, Clock())
    assert await taken(share, urgent=False) == 40
    assert await taken(share, urgent=True) == 10


async def test_posts_go_even_when_the_share_is_tiny() -> None:
    share = RateShare(50.0, Clock())
    share.split(100)
    assert await taken(share, urgent=False) == 1


async def test_a_global_limit_pauses_everything() -> None:
    clock = Clock()
    share = RateShare(50.0, clock)
    share.pause(2.0)
    assert await taken(share, urgent=True) == 0
    clock.now += 2.0
    assert await taken(share, urgent=True) == 50


def test_posts_wait_when_too_many_requests_were_invalid() -> None:
    clock = Clock()
    invalid = InvalidRequests(3, clock)
    for _ in range(3):
        assert invalid.wait_s == 0
        invalid.note()
        clock.now += 1
    assert invalid.wait_s == INVALID_WINDOW_S - 3
    clock.now += INVALID_WINDOW_S - 3
    assert invalid.wait_s == 0


def test_pods_together_stay_below_the_limit_of_invalid_requests() -> None:
    """Discord counts by address, and pods may share one."""
    clock = Clock()
    pods = [InvalidRequests(5000, clock) for _ in range(3)]
    noted = 0
    for pod in pods:
        pod.split(len(pods))
        while pod.wait_s == 0:
            pod.note()
            noted += 1
    assert noted == 3 * (5000 // 3)


def test_a_pod_that_joins_late_adds_its_part_only() -> None:
    clock = Clock()
    first, second = InvalidRequests(5000, clock), InvalidRequests(5000, clock)
    for _ in range(4999):
        first.note()
    assert first.wait_s == 0
    for pod in (first, second):
        pod.split(2)
    assert first.wait_s == INVALID_WINDOW_S
    for _ in range(2500):
        assert second.wait_s == 0
        second.note()
    assert second.wait_s == INVALID_WINDOW_S  # 7,499 together; Discord bans at 10,000


def test_a_pod_that_is_left_alone_may_use_the_whole_limit_again() -> None:
    invalid = InvalidRequests(4, Clock())
    invalid.split(2)
    for _ in range(2):
        invalid.note()
    assert invalid.wait_s > 0
    invalid.split(1)
    assert invalid.wait_s == 0


def test_more_pods_than_the_limit_leave_each_one_request() -> None:
    invalid = InvalidRequests(3, Clock())
    invalid.split(10)
    assert invalid.wait_s == 0
    invalid.note()
    assert invalid.wait_s == INVALID_WINDOW_S
