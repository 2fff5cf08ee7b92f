"""The record: numbers without gaps, pages, its bound, and followers."""

import asyncio

from hypothesis import given
from hypothesis import strategies as st

from components.simulator.clock import Clock
from components.simulator.record import Record


def filled(count: int, limit: int = 1_000_000) -> Record:
    record = Record(Clock(), limit)
    for i in range(count):
        record.add("odd" if i % 2 else "even", {"i": i})
    return record


@given(count=st.integers(0, 3500), page=st.integers(1, 1500))
def test_pages_together_are_the_whole_record_once(count: int, page: int) -> None:
    record = filled(count)
    got: list[int] = []
    since = 0
    while True:
        entries, reached = record.since(since, None, page)
        assert len(entries) <= page
        got += [e.n for e in entries]
        if reached == record.last:
            break
        since = reached
    assert got == list(range(1, count + 1))


def test_a_kind_is_filtered_and_the_page_goes_on_after_what_was_looked_at() -> None:
    record = filled(2500)
    entries, reached = record.since(0, frozenset({"odd"}), 10_000)
    assert [e.n for e in entries] == list(range(2, 2501, 2))
    assert reached == 2500


def test_past_its_limit_the_oldest_go_and_first_says_so() -> None:
    record = filled(10_000, limit=2000)
    assert record.last == 10_000
    assert 7000 <= record.first <= 8001
    entries, _ = record.since(0, None, 1)
    assert entries[0].n == record.first


async def test_every_follower_gets_every_entry_as_it_comes() -> None:
    record = filled(3)
    got: list[list[int]] = [[], []]

    async def follow(mine: list[int]) -> None:
        async for batch in record.follow(0, None):
            mine += [e.n for e in batch]
            if len(mine) == 6:
                return

    tasks = [asyncio.create_task(follow(mine)) for mine in got]
    for _ in range(3):
        await asyncio.sleep(0)
        record.add("later", {})
    await asyncio.wait_for(asyncio.gather(*tasks), 5)
    assert got == [[1, 2, 3, 4, 5, 6]] * 2
