"""The simulated log: ids once, a faultless engine beside it, and retention."""

import pytest

from components.simulate.kv import WrongRevision
from components.simulate.streams import EMPTY, Streams, applied


def test_an_id_is_stored_once() -> None:
    streams = Streams(["1"])
    first, given = streams.append("1", "dispatch", "a")
    again, repeated = streams.append("1", "dispatch", "a")
    assert (first, again) == (1, 1)
    assert given is not None
    assert repeated is None


def test_rows_follow_from_the_inputs_in_their_order_alone() -> None:
    streams = Streams(["1", "2"])
    streams.append("1", "dispatch", "a", effect=True, fact=True)
    streams.append("2", "dispatch", "b")
    streams.append("1", "dispatch", "c", effect=True)
    streams.append("1", "result", "d", of=1)
    streams.append("1", "mark", "e", of=1)
    log = streams.logs["1"]
    rows = EMPTY
    for given in log.inputs.values():
        rows = applied(rows, given)
    assert rows == log.truth[log.last]
    assert (rows.count, rows.effects, rows.facts) == (4, (3,), ())
    inputs = list(log.inputs.values())
    swapped = applied(applied(EMPTY, inputs[1]), inputs[0])
    assert swapped.chain != log.truth[3].chain


def test_facts_are_taken_behind_the_one_their_writer_names() -> None:
    streams = Streams(["1"])
    first = streams.publish("1", fact=1, epoch=1, expected=0)
    with pytest.raises(WrongRevision):
        streams.publish("1", fact=2, epoch=1, expected=0)
    streams.publish("1", fact=2, epoch=1, expected=first)


def test_what_has_expired_is_not_read_any_more() -> None:
    streams = Streams(["1", "2"])
    for number in range(6):
        streams.append("12"[number % 2], "dispatch", str(number))
    log = streams.logs["1"]
    assert log.first_kept() == log.first_ever == 1
    streams.expire_below(4)
    assert log.first_kept() == 5
    following = log.after(1)
    assert following is not None
    assert following.sequence == 5
    assert streams.logs["2"].first_kept() == 4
