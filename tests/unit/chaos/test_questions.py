"""What is held against interactions sees each planted fault, and nothing otherwise."""

from typing import Any

import pytest

from components.chaos.questions import Outage, outages, wrong
from components.simulator.record import Entry

TOKEN = "token"
WORDS: dict[str, Any] = {"content": "case 1", "flags": 64}
CREATED_MS = 10_000.0
SHOWN: dict[str, Any] = {
    "id": "7",
    "token": TOKEN,
    "answer": 4,
    "failure": None,
    "loading": False,
    "messages": [{"id": "8"}],
}
FAILED = {**SHOWN, "answer": None, "failure": "not answered in time", "messages": []}


def entry(kind: str, at_ms: float = CREATED_MS, **data: Any) -> Entry:
    return Entry(n=1, at_ms=at_ms, kind=kind, data=data)


def callback(kind: int, status: int = 204, **data: Any) -> Entry:
    path = f"/interactions/7/{TOKEN}/callback"
    body = {"type": kind, "data": data}
    return entry("rest", method="POST", path=path, status=status, body=body)


def edit(**body: Any) -> Entry:
    path = f"/webhooks/1/{TOKEN}/messages/@original"
    return entry("rest", method="PATCH", path=path, status=200, body=body)


CREATED = entry("interaction", what="created", id="7")
OVER_HTTP = {**SHOWN, "answered_over": "http"}
ANSWERED = (CREATED, callback(4, **WORDS))
DEFERRED = (CREATED, callback(5, flags=64), edit(content="case 1"))


@pytest.mark.parametrize(
    ("shown", "record"),
    [
        (SHOWN, ANSWERED),
        ({**SHOWN, "answer": 5}, DEFERRED),
        ({**SHOWN, "answer": 5}, (*DEFERRED, edit(content="case 1"))),
        (SHOWN, (*ANSWERED, callback(4, status=400, content="late"))),
        (OVER_HTTP, (CREATED,)),
        (OVER_HTTP, (CREATED, edit(content="case 1"))),
        ({**OVER_HTTP, "answer": 5}, (CREATED, edit(content="case 1"))),
    ],
)
def test_a_question_that_was_answered_once_is_right(
    shown: dict[str, Any], record: tuple[Entry, ...]
) -> None:
    assert wrong([shown], record, []) == []


@pytest.mark.parametrize(
    ("shown", "record", "words"),
    [
        ({**SHOWN, "answer": None}, ANSWERED, "answer None"),
        ({**SHOWN, "answer": 5, "loading": True}, DEFERRED[:2], "never edited"),
        ({**SHOWN, "messages": [{}, {}]}, ANSWERED, "2 messages"),
        (SHOWN, (*ANSWERED, edit(content="case 2")), "different words"),
        (FAILED, (CREATED,), "was alive"),
        ({**SHOWN, "failure": "late"}, ANSWERED, "failed and answered"),
        (OVER_HTTP, (CREATED, edit(content="case 1"), edit(content="case 2")), "different words"),
        ({**OVER_HTTP, "answer": 5}, (CREATED,), "different words"),
    ],
)
def test_each_planted_fault_is_seen(
    shown: dict[str, Any], record: tuple[Entry, ...], words: str
) -> None:
    assert any(words in found for found in wrong([shown], record, []))


def test_a_failure_is_excused_only_while_its_first_responder_was_dead() -> None:
    back = entry("gateway", at_ms=14_000, what="resume", accepted=True)
    refused = entry("gateway", at_ms=11_000, what="resume", accepted=False)
    (down,) = outages((refused, back), [9_000])
    assert down == Outage(from_ms=9_000, to_ms=14_000)
    assert wrong([FAILED], (CREATED,), [down]) == []
    for other in (Outage(from_ms=1_000, to_ms=9_999), Outage(from_ms=13_001, to_ms=14_000)):
        assert wrong([FAILED], (CREATED,), [other])


def test_a_failure_at_an_edge_is_excused_only_while_that_edge_was_dead() -> None:
    down = Outage(from_ms=9_000, to_ms=14_000)
    assert wrong([FAILED], (CREATED,), [], {"7": [down]}) == []
    assert wrong([FAILED], (CREATED,), [], {"8": [down]})
    assert wrong([FAILED], (CREATED,), [down], {"7": []})  # a shard's end is no excuse
