"""Decoding names what is wrong, and encoding is the same every time."""

import contextlib
from typing import get_args

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from contracts import inputs
from contracts.facts import CaseOpened
from contracts.ids import (
    CaseNumber,
    Epoch,
    GuildId,
    Incarnation,
    RequestId,
    Sequence,
    SessionId,
    UserId,
)
from contracts.inputs import EffectResult, TimerFired
from contracts.message import MalformedMessage, decode, encode
from contracts.requests import GetCase, ListCases


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"", "truncated"),
        (b"{", "truncated"),
        (b"nonsense", "malformed"),
        (b'{"kind":"timer_fired","timer":"x","armed_by":1} x', "trailing"),
        (b"[]", "Expected `object`, got `array`"),
        (b'{"kind":"timer_fired","timer":"x"}', "missing required field `armed_by`"),
        (b'{"kind":"timer_fired","timer":7,"armed_by":1}', "$.timer"),
        (b'{"kind":"timer_fired","timer":"x","armed_by":"1"}', "$.armed_by"),
        (b'{"kind":"timer_fired","timer":"x","armed_by":1.5}', "$.armed_by"),
        (b'{"kind":"dispatch","timer":"x","armed_by":1}', "$.kind"),
        (b'{"kind":"timer_fired","timer":"\xff","armed_by":1}', "utf-8"),
        (b"[" * 100_000, ""),
    ],
)
def test_a_malformed_message_names_the_type_and_the_field(data: bytes, reason: str) -> None:
    with pytest.raises(MalformedMessage) as caught:
        decode(data, TimerFired)
    assert caught.value.expected == "TimerFired"
    assert reason.lower() in caught.value.reason.lower()


def test_nesting_without_end_is_malformed_and_no_crash() -> None:
    deep = b'{"kind":"dispatch","data":' + b"[" * 200_000
    with pytest.raises(MalformedMessage):
        decode(deep, inputs.DiscordDispatch)


@given(st.binary(max_size=200))
def test_any_bytes_decode_or_are_malformed(data: bytes) -> None:
    for kind in (TimerFired, CaseOpened, GetCase):
        with contextlib.suppress(MalformedMessage):  # any other error fails the test
            decode(data, kind)


def test_an_unknown_kind_of_input_is_refused_by_the_union() -> None:
    with pytest.raises(msgspec.ValidationError, match="kind"):
        msgspec.json.decode(b'{"kind":"tomorrow"}', type=inputs.AnyInput)


def test_kinds_of_inputs_are_unique() -> None:
    tags = [kind.__struct_config__.tag for kind in get_args(inputs.AnyInput)]
    assert len(set(tags)) == len(tags)


def test_a_request_with_an_unknown_field_is_refused_and_its_defaults_are_not_sent() -> None:
    with pytest.raises(MalformedMessage, match="unknown field `nubmer`"):
        decode(b'{"number":1,"nubmer":2}', GetCase)
    assert encode(ListCases()) == b"{}"
    assert encode(ListCases(before=CaseNumber(3))) == b'{"before":3}'


@given(st.permutations(["a", "b", "c", "d"]))
def test_mappings_are_encoded_in_one_order(names: list[str]) -> None:
    message = EffectResult(
        sequence=Sequence(1), index=0, outcome="done", data=dict.fromkeys(names, "x")
    )
    assert encode(message).endswith(b'"data":{"a":"x","b":"x","c":"x","d":"x"}}')


def test_message_ids_are_the_designs() -> None:
    guild, user = GuildId("42"), UserId("7")
    session, sequence = SessionId("s"), Sequence(9)
    assert inputs.dispatch_id(session, 5) == "dsp:s:5"
    assert inputs.dispatch_id(session, 5, 2) == "dsp:s:5:2"
    assert inputs.interaction_id("1") == "int:1"
    assert inputs.command_id(guild, RequestId("r")) == "cmd:42:r"
    assert inputs.timer_id(guild, "t", sequence) == "tmr:42:t:9"
    assert inputs.effect_result_id(guild, sequence, 0) == "eff:42:9:0"
    assert inputs.facts_published_id(guild, sequence, 0) == "fct:42:9:0"
    assert inputs.skip_id(guild, sequence) == "skp:42:9"
    assert inputs.signal_id(guild, GuildId("43"), sequence, user) == "sig:42:43:9:7"
    first = inputs.owner_opened_id(guild, Epoch(1), Incarnation("i"), "a")
    assert first != inputs.owner_opened_id(guild, Epoch(1), Incarnation("i"), "b")
