"""Which states of replicas are worth a try, from what the bucket lists."""

from datetime import UTC, datetime

from components.gateway.shell.bucket import LtxFile
from components.restoring.points import (
    Holder,
    Point,
    before,
    for_the_earliest,
    for_the_moment,
    points_of,
)


def ltx(first: int, last: int, stored_s: int, level: int = 0) -> LtxFile:
    stored = datetime.fromtimestamp(stored_s, UTC)
    return LtxFile(path="", level=level, first=first, last=last, size=1, stored=stored)


def points(*by_s: int, replica: str = "r") -> list[Point]:
    return [Point(replica=replica, transaction=n, by_ms=s * 1000) for n, s in enumerate(by_s, 1)]


def test_every_end_of_a_file_that_leaves_nothing_out_is_a_point() -> None:
    files = [ltx(1, 1, 10), ltx(2, 2, 11), ltx(3, 5, 12), ltx(7, 8, 13)]
    assert [(p.transaction, p.by_ms) for p in points_of("r", files)] == [
        (1, 10_000),
        (2, 11_000),
        (5, 12_000),
    ]
    assert points_of("r", []) == []
    assert points_of("r", [ltx(4, 5, 10)]) == []


def test_what_was_compacted_is_bounded_by_what_was_stored_before_it() -> None:
    files = [ltx(1, 4, 60, level=1), ltx(3, 3, 11), ltx(4, 4, 12)]
    assert [(p.transaction, p.by_ms) for p in points_of("r", files)] == [(4, 12_000)]
    # 3 alone is no point: what leads to it has been compacted into a file that ends later


def test_a_state_of_a_time_is_sought_from_the_newest_before_it_in_steps_that_double() -> None:
    tries = before(points(*range(10, 20)), 18_500)
    assert [point.transaction for point in tries] == [9, 8, 7, 5, 1]
    assert before(points(10), 9_999) == []


def test_the_earliest_state_is_sought_from_the_first_that_may_hold_the_guild() -> None:
    found = {name: points(*range(10, 20), replica=name) for name in ("others", "owner")}
    first, second = for_the_earliest(found, [Holder(replica="owner", since_ms=14_000)])
    assert [(p.replica, p.transaction) for p in first] == [
        ("owner", number) for number in (5, 6, 7, 9, 10)
    ]
    assert [(p.replica, p.transaction) for p in second] == [
        ("others", number) for number in (1, 2, 3, 5, 9, 10)
    ]


def test_replicas_whose_pods_had_the_guild_by_then_come_first() -> None:
    found = {name: points(10, 20, replica=name) for name in ("others", "later", "owner")}
    found["newer"] = points(10, 25, replica="newer")
    found["young"] = points(40, replica="young")
    holders = [Holder(replica="owner", since_ms=5_000), Holder(replica="later", since_ms=31_000)]
    order = for_the_moment(found, holders, 30_000, others=True)
    assert [tries[0].replica for tries in order] == ["owner", "later", "newer", "others"]
    order = for_the_moment(found, holders, 30_000, others=False)
    assert [tries[0].replica for tries in order] == ["owner", "later"]
