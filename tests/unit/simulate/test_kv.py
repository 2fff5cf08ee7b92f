"""The simulated buckets behave as NATS does."""

import pytest

from components.simulate.kv import Entry, KeyValues, WrongRevision
from components.simulate.loop import Loop
from contracts.records import LeaderLease


def lease(holder: str) -> LeaderLease:
    return LeaderLease(holder=holder, since_ms=0)


def bucket(loop: Loop) -> KeyValues:
    return KeyValues(loop, "leaders", 1.0)


def test_a_write_over_another_revision_is_refused() -> None:
    values = bucket(Loop(1))
    first = values.write("a", lease("x"), 0, None)
    values.write("a", lease("y"), first, None)
    with pytest.raises(WrongRevision):
        values.write("a", lease("z"), first, None)
    with pytest.raises(WrongRevision):
        values.write("a", lease("z"), 0, None)
    assert values.entries["a"].value == lease("y")


def test_a_key_that_is_not_renewed_expires_with_a_marker_of_its_own_revision() -> None:
    loop = Loop(1)
    values = bucket(loop)
    values.write("a", lease("x"), 0, 5.0)
    assert loop.run_until(4.9, most_steps=100)
    assert values.entries["a"].value is not None
    assert loop.run_until(20.0, most_steps=100)
    entry = values.entries["a"]
    assert (entry.value, entry.revision, entry.expired) == (None, 2, True)


def test_a_renewal_keeps_a_key() -> None:
    loop = Loop(1)
    values = bucket(loop)
    revision = values.write("a", lease("x"), 0, 5.0)
    for second in range(1, 20):
        loop.run_until(float(second), most_steps=1000)
        revision = values.write("a", lease("x"), revision, 5.0)
    assert values.entries["a"].value == lease("x")


def test_nothing_expires_while_the_server_is_away() -> None:
    loop = Loop(1)
    values = bucket(loop)
    values.write("a", lease("x"), 0, 5.0)
    values.serving = False
    loop.run_until(30.0, most_steps=10_000)
    assert values.entries["a"].value is not None
    values.serving = True
    loop.run_until(32.0, most_steps=10_000)
    assert values.entries["a"].value is None


def test_a_deposed_leader_answers_from_a_while_ago() -> None:
    loop = Loop(1)
    values = bucket(loop)
    values.write("a", lease("x"), 0, None)
    loop.run_until(1.0, most_steps=10)
    values.write("a", lease("y"), 1, None)
    loop.run_until(1.5, most_steps=10)

    def holder(entry: Entry | None) -> str:
        return entry.value.holder if entry and isinstance(entry.value, LeaderLease) else ""

    assert holder(values.read("a")) == "y"
    assert holder(values.read("a", stale_s=1.0)) == "x"
    assert holder(values.read("a", stale_s=2.0)) == ""


def test_a_wall_clock_that_jumps_ends_leases_and_nothing_else() -> None:
    values = bucket(Loop(1))
    values.write("lease", lease("x"), 0, 5.0)
    values.write("fence", lease("y"), 0, None)
    values.jump()
    assert values.entries["lease"].value is None
    assert values.entries["fence"].value == lease("y")
