"""What clients say in headers and paths, and how a fact is written as an event."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from components.edge.events import as_event, event_id
from components.edge.feed import StoredFact
from components.edge.guilds import guild_id, sequence_of
from components.edge.owners import OwnerReply
from components.edge.problems import HTTP_STATUS, TITLES
from contracts.errors import ErrorCode, ServiceError
from contracts.ids import Epoch, Sequence


@given(st.integers(0, 10**9), st.integers(0, 10**17))
def test_an_etag_reads_back_as_its_sequence(epoch: int, applied: int) -> None:
    reply = OwnerReply(value=None, epoch=Epoch(epoch), applied=Sequence(applied))
    for text in (reply.etag, f"W/{reply.etag}", str(applied), f" {applied} "):
        assert sequence_of(text) == applied


@given(st.text(max_size=30))
def test_any_text_is_a_number_or_refused(text: str) -> None:
    for read in (sequence_of, event_id, guild_id):
        try:
            value = read(text)
        except ServiceError:
            continue
        assert value is None or int(value) >= 0


def test_every_code_of_the_bus_has_a_status_and_a_title() -> None:
    codes = {value for name, value in vars(ErrorCode).items() if name.isupper()}
    assert set(HTTP_STATUS) == codes
    assert set(HTTP_STATUS.values()) <= set(TITLES)


@given(
    st.dictionaries(st.text(max_size=10), st.text(max_size=20), max_size=4),
    st.sampled_from([None, 2]),
)
def test_a_fact_is_one_event_whatever_its_text(data: dict[str, str], indent: int | None) -> None:
    fact = StoredFact(
        sequence=Sequence(5),
        type="case.opened",
        headers={"ce-id": "1-2-0", "Nats-Msg-Id": "x", "Modbot-Epoch": "3"},
        data=json.dumps(data, ensure_ascii=False, indent=indent).replace("\n", "\r\n").encode(),
    )
    text = as_event(fact).decode()
    assert text.endswith("\n\n")
    lines = text[:-2].split("\n")
    assert lines[:2] == ["id: 5", "event: case.opened"]
    assert len(lines) == 3
    assert "\r" not in text
    content = json.loads(lines[2].removeprefix("data: "))
    assert content == {"attributes": {"id": "1-2-0"}, "data": data}


@pytest.mark.parametrize("text", [None, ""])
def test_without_an_event_id_a_feed_begins_now(text: str | None) -> None:
    assert event_id(text) is None
