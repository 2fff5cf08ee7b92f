"""What is kept back while the number of shards changes, and how fast a guild may append."""

import msgspec

from components.shard.flood import FloodLimit
from components.shard.generations import wanted
from components.shard.overlap import LATE_S, Overlap
from contracts.ids import GuildId
from contracts.records import ShardPlan

EVEN, ODD = GuildId(str(2 << 22)), GuildId(str(3 << 22))


class Clock:
    def __init__(self) -> None:
        self.now_s = 100.0

    def __call__(self) -> float:
        return self.now_s


def test_a_guild_is_kept_back_until_its_own_old_session_has_ended() -> None:
    overlap = Overlap(2)
    assert overlap.keeps_back(EVEN)
    assert overlap.ended({0: 0}) == {0: 0}
    assert not overlap.keeps_back(EVEN)
    assert overlap.keeps_back(ODD)
    assert not overlap.over
    assert overlap.ended({0: 0, 1: 7}) == {1: 7}
    assert overlap.over


def test_what_arrives_soon_after_the_release_may_still_be_double() -> None:
    clock = Clock()
    overlap = Overlap(1, clock=clock)
    overlap.finish()
    assert overlap.may_be_double(EVEN)
    clock.now_s += LATE_S
    assert not overlap.may_be_double(EVEN)


def test_without_another_number_of_shards_nothing_is_kept_back() -> None:
    overlap = Overlap(0)
    assert overlap.over
    assert not overlap.keeps_back(EVEN)
    assert not overlap.may_be_double(EVEN)


def test_both_numbers_of_shards_are_held_until_the_change_is_over() -> None:
    plan = ShardPlan(
        generation=4,
        count=3,
        from_generation=2,
        from_count=1,
        phase="connect",
        operation="op",
        by="alice",
        since_ms=0,
    )

    def seen(phase: str) -> list[tuple[int, int, int, bool]]:
        now = wanted(msgspec.structs.replace(plan, phase=phase), 9)
        return [(one.generation, one.count, one.from_count, one.ending) for one in now]

    assert seen("connect") == [(2, 1, 0, False), (4, 3, 1, False)]
    assert seen("cut") == [(2, 1, 0, True), (4, 3, 1, False)]
    assert seen("done") == [(4, 3, 0, False)]
    assert seen("aborted") == [(2, 1, 0, False)]
    assert [one.count for one in wanted(None, 9)] == [9]


def test_a_guild_may_append_its_burst_at_once_and_then_at_its_rate() -> None:
    clock = Clock()
    limit = FloodLimit(10, 3, clock=clock)
    for _ in range(3):
        assert limit.wait_s(EVEN) == 0
        limit.take(EVEN)
    assert abs(limit.wait_s(EVEN) - 0.1) < 1e-9
    assert limit.wait_s(ODD) == 0
    clock.now_s += 0.1
    assert limit.wait_s(EVEN) < 1e-9


def test_without_a_rate_nothing_waits() -> None:
    limit = FloodLimit(0, 1)
    for _ in range(100):
        limit.take(EVEN)
    assert limit.wait_s(EVEN) == 0
