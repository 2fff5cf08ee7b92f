"""When a key counts as ended by our own clock."""

from components.bus.staleness import Staleness


class Clock:
    """A steady clock that the test sets."""

    def __init__(self) -> None:
        self.now_s = 100.0

    def __call__(self) -> float:
        return self.now_s


def test_a_key_is_unchanged_since_its_revision_was_seen_first() -> None:
    clock = Clock()
    staleness = Staleness(clock)
    assert staleness.unchanged_s("a", 1, 7) == 0
    clock.now_s = 104.0
    assert staleness.unchanged_s("a", 1, 7) == 4
    clock.now_s = 109.0
    assert staleness.unchanged_s("a", 1, 7) == 9


def test_a_renewal_begins_the_count_anew() -> None:
    clock = Clock()
    staleness = Staleness(clock)
    staleness.unchanged_s("a", 1, 7)
    clock.now_s = 104.0
    assert staleness.unchanged_s("a", 1, 8) == 0
    clock.now_s = 105.0
    assert staleness.unchanged_s("a", 1, 8) == 1


def test_each_key_has_its_own_count() -> None:
    clock = Clock()
    staleness = Staleness(clock)
    staleness.unchanged_s("a", 1, 7)
    clock.now_s = 104.0
    assert staleness.unchanged_s("b", 1, 7) == 0
    assert staleness.unchanged_s("a", 1, 7) == 4


def test_what_is_read_after_a_reconnect_is_seen_for_the_first_time() -> None:
    clock = Clock()
    staleness = Staleness(clock)
    staleness.unchanged_s("a", 1, 7)
    clock.now_s = 200.0
    assert staleness.unchanged_s("a", 2, 7) == 0


def test_a_key_that_was_gone_is_seen_for_the_first_time() -> None:
    clock = Clock()
    staleness = Staleness(clock)
    staleness.unchanged_s("a", 1, 7)
    clock.now_s = 200.0
    staleness.forget("a")
    assert staleness.unchanged_s("a", 1, 7) == 0
