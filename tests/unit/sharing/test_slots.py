"""The slots by which a process keeps to its share of the global rate."""

import asyncio

from hypothesis import given
from hypothesis import strategies as st

from components.sharing.slots import RateShare


class Clock:
    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


async def taken(share: RateShare, *, urgent: bool) -> int:
    """How many slots can be had at once."""
    count = 0
    while True:
        try:
            async with asyncio.timeout(0):
                await share.take(urgent=urgent)
        except TimeoutError:
            return count
        count += 1


async def test_a_slot_is_free_again_one_second_after_the_answer() -> None:
    clock = Clock()
    share = RateShare(10, clock)
    assert await taken(share, urgent=True) == 10
    clock.now += 5.0
    assert await taken(share, urgent=True) == 0  # no answer yet: Discord may count them any time
    share.answered()
    clock.now += 0.99
    assert await taken(share, urgent=True) == 0
    clock.now += 0.01
    assert await taken(share, urgent=True) == 1


async def test_a_slot_of_a_request_that_was_not_written_is_free_at_once() -> None:
    share = RateShare(1, Clock())
    await share.take(urgent=True)
    share.unused()
    assert await taken(share, urgent=True) == 1


async def test_posts_leave_a_slot_to_removals() -> None:
    share = RateShare(10, Clock())
    assert await taken(share, urgent=False) == 9
    assert await taken(share, urgent=True) == 1


async def test_posts_go_even_when_the_share_is_tiny() -> None:
    assert await taken(RateShare(1, Clock()), urgent=False) == 1


async def test_a_pod_without_a_share_sends_nothing() -> None:
    assert await taken(RateShare(), urgent=True) == 0


async def test_urgent_effects_pass_posts_that_wait_since_longer() -> None:
    share = RateShare(1)
    await share.take(urgent=True)
    order: list[str] = []

    async def wait(name: str, *, urgent: bool) -> None:
        await share.take(urgent=urgent)
        order.append(name)
        share.unused()

    async with asyncio.TaskGroup() as group:
        for name, urgent in (("post", False), ("ban", True), ("later post", False)):
            group.create_task(wait(name, urgent=urgent))
        await asyncio.sleep(0)
        share.unused()
    assert order == ["ban", "post", "later post"]


async def test_a_waiter_that_gives_up_hands_its_slot_on() -> None:
    share = RateShare(1)
    await share.take(urgent=True)
    first = asyncio.create_task(share.take(urgent=True))
    second = asyncio.create_task(share.take(urgent=True))
    await asyncio.sleep(0)
    share.unused()  # the first one's turn, in the very moment in which it is cancelled
    first.cancel()
    async with asyncio.timeout(1):
        await second


async def test_a_waiter_goes_when_the_second_is_over() -> None:
    share = RateShare(1)
    await share.take(urgent=True)
    started = asyncio.get_running_loop().time()
    share.answered()
    async with asyncio.timeout(3):
        await share.take(urgent=True)
    assert asyncio.get_running_loop().time() - started > 0.95


async def test_a_global_limit_pauses_everything() -> None:
    clock = Clock()
    share = RateShare(50, clock)
    share.pause(2.0)
    assert await taken(share, urgent=True) == 0
    clock.now += 2.0
    assert await taken(share, urgent=True) == 50


async def test_a_lower_share_counts_as_kept_when_no_more_slots_are_in_use() -> None:
    clock = Clock()
    share = RateShare(0, clock)
    news: list[float] = []
    share.divide(10, revision=7)
    share.on_news = lambda: news.append(clock.now)
    assert await taken(share, urgent=True) == 10
    share.divide(2, revision=8)
    for _ in range(10):
        share.answered()
    assert share.report()[1:] == (10, 7)
    clock.now += 1.0
    share.divide(2, revision=9)
    assert share.report()[1:] == (2, 9)
    assert news
    assert await taken(share, urgent=True) == 2


async def test_unmet_demand_is_told_at_once_but_not_all_the_time() -> None:
    clock = Clock()
    share = RateShare(5, clock)
    news: list[float] = []
    share.on_news = lambda: news.append(clock.now)
    await taken(share, urgent=True)
    assert len(news) == 1
    wanted = share.report()[0]
    assert wanted > 5
    await taken(share, urgent=True)
    assert len(news) == 1
    clock.now += 1.0
    await taken(share, urgent=True)
    assert len(news) == 2


async def test_demand_that_has_passed_fades() -> None:
    clock = Clock()
    share = RateShare(20, clock)
    await taken(share, urgent=True)
    for _ in range(20):
        share.answered()
    before = share.report()[0]
    share.report()
    clock.now += 10.0
    assert share.report()[0] < 1 < before


@given(
    steps=st.lists(
        st.tuples(
            st.sampled_from(["send", "answer", "wait", "divide"]),
            st.floats(min_value=0.0, max_value=1.5),
            st.integers(min_value=0, max_value=6),
        ),
        max_size=60,
    )
)
def test_no_second_ever_counts_more_than_the_largest_share_in_force(
    steps: list[tuple[str, float, int]],
) -> None:
    """Whenever between sending and answer Discord counts a request."""

    async def run() -> None:
        clock = Clock()
        share = RateShare(3, clock)
        given = [(clock.now, 3)]
        sent: list[float] = []
        counted: list[float] = []
        revision = 0
        for step, at, number in steps:
            if step == "wait":
                clock.now += at
            elif step == "divide":
                revision += 1
                share.divide(number, revision)
                if share.report()[2] == revision:
                    given.append((clock.now, number))
                else:
                    given.append((clock.now, max(number, given[-1][1])))
            elif step == "send":
                before = share.in_use
                await asyncio.gather(taken(share, urgent=True))
                sent += [clock.now] * (share.in_use - before)
            elif sent:
                # Counted somewhere between, by the worst of both ends.
                first = sent.pop(0)
                counted.append(first if number % 2 else clock.now)
                share.answered()
        for start in counted:
            within = sum(1 for at in counted if start <= at < start + 1.0)
            assert within <= max(share for _, share in given)

    asyncio.run(run())
