"""The check sees each kind of loss and doubling when it is planted, and nothing otherwise."""

from typing import Any

import msgspec
import pytest

from components.simulator.record import Entry
from components.traffic.check import Violations, check
from components.traffic.evidence import Cut, Evidence, LoggedItem, PublishedFact
from contracts.facts import CaseOpened, CaseUpdated, MessageFlagged, SignalScore
from contracts.ids import CaseNumber, ChannelId, GuildId, MessageId, SessionId, UserId
from contracts.inputs import DiscordDispatch, dispatch_id
from contracts.message import encode

GUILD = GuildId("42")


def entry(kind: str, **data: Any) -> Entry:
    return Entry(n=1, at_ms=1.0, kind=kind, data=data)


def dispatch(seq: int) -> Entry:
    return entry(
        "dispatch",
        session="s",
        seq=seq,
        event="MESSAGE_CREATE",
        guild_id=str(GUILD),
        subject_id="7",
        sent=True,
    )


def logged(seq: int) -> LoggedItem:
    return LoggedItem(
        guild=GUILD,
        sequence=seq,
        stored_ms=1,
        message_id=dispatch_id(SessionId("s"), seq),
        traceparent="",
        body=DiscordDispatch(
            session=SessionId("s"),
            shard=0,
            sequence=seq,
            event="MESSAGE_CREATE",
            data=msgspec.Raw(b'{"id":"7"}'),
        ),
    )


def fact(data: Any, stream: int, sequence: int, index: int) -> PublishedFact:
    return PublishedFact(
        guild=GUILD,
        stream_sequence=stream,
        input_sequence=sequence,
        index=index,
        id=f"{GUILD}-{sequence}-{index}",
        type=type(data).type,
        data=encode(data),
    )


FLAGGED = MessageFlagged(
    user=UserId("9"),
    channel=ChannelId("1"),
    message=MessageId("7"),
    tier="medium",
    score=10,
    signals=[SignalScore(name="mass_ping", points=10)],
)
OPENED = CaseOpened(
    number=CaseNumber(1),
    user=UserId("9"),
    action="delete_message",
    status="pending",
    moderator_kind="bot",
)
SETTLED = CaseUpdated(
    number=CaseNumber(1), user=UserId("9"), action="delete_message", status="done"
)
DELETED = entry("rest", method="DELETE", path="/api/v10/channels/1/messages/7", status=204)
FACTS = (fact(FLAGGED, 1, 1, 0), fact(OPENED, 2, 1, 1), fact(SETTLED, 3, 2, 0))
SOUND = Evidence(
    cut=Cut(record=9, inputs={GUILD: 9}),
    guilds=(GUILD,),
    record=(dispatch(1), DELETED),
    inputs=(logged(1),),
    facts=FACTS,
)


def found(evidence: Evidence) -> Violations:
    return check(evidence)[1]


def test_sound_evidence_has_no_violation_and_says_over_how_much() -> None:
    checked, violations = check(SOUND)
    assert violations.total == 0
    assert (checked.inputs, checked.facts) == (1, 3)


def nonce(message: str) -> Entry:
    return entry("message_create", id=message, nonce="n")


@pytest.mark.parametrize(
    ("planted", "kind"),
    [
        ({"inputs": ()}, "inputs_lost"),
        ({"inputs": (logged(1), logged(1))}, "inputs_doubled"),
        ({"record": (dispatch(1),)}, "effects_lost"),
        ({"facts": FACTS[:2]}, "effects_lost"),
        ({"record": (dispatch(1), DELETED, nonce("1"), nonce("2"))}, "effects_doubled"),
        ({"facts": (*FACTS, fact(SETTLED, 4, 2, 0))}, "facts_doubled"),
        ({"facts": (FACTS[0], FACTS[1], fact(SETTLED, 3, 2, 1))}, "facts_missing"),
        ({"facts": (*FACTS[1:], fact(FLAGGED, 4, 1, 0))}, "facts_out_of_order"),
    ],
)
def test_each_planted_fault_is_seen(planted: dict[str, Any], kind: str) -> None:
    assert found(msgspec.structs.replace(SOUND, **planted)).counts()[kind] >= 1


@pytest.mark.parametrize(
    "call",
    [
        {"method": "PUT", "path": "/api/v10/guilds/42/bans/9", "reason": "case #3"},
        {"method": "DELETE", "path": "/api/v10/guilds/42/members/9", "reason": "case #3"},
        {"method": "POST", "path": "/api/v10/channels/1/messages/5/threads", "reason": None},
    ],
)
def test_an_act_that_took_effect_twice_is_doubled(call: dict[str, Any]) -> None:
    calls = [entry("rest", status=200, **call) for _ in range(2)]
    evidence = msgspec.structs.replace(SOUND, record=(*SOUND.record, *calls))
    assert found(evidence).counts()["effects_doubled"] == 1
    refused = [calls[0], entry("rest", status=429, **call)]
    evidence = msgspec.structs.replace(SOUND, record=(*SOUND.record, *refused))
    assert found(evidence).total == 0


def test_what_came_after_the_cut_may_be_under_way() -> None:
    early = Cut(record=0, inputs={GUILD: 0})
    unfinished = msgspec.structs.replace(
        SOUND, cut=early, record=(dispatch(1),), inputs=(), facts=FACTS[:2]
    )
    assert found(unfinished).total == 0
