"""The check sees each kind of loss and doubling when it is planted, and nothing otherwise."""

from typing import Any

import msgspec
import pytest

from components.simulator.record import Entry
from components.traffic.check import Violations, check
from components.traffic.evidence import Cut, Evidence, LoggedItem, PublishedFact
from contracts.facts import CaseOpened, CaseUpdated, MessageFlagged, SignalScore
from contracts.ids import CaseNumber, ChannelId, GuildId, MessageId, Sequence, SessionId, UserId
from contracts.inputs import DiscordDispatch, EffectResult, dispatch_id
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
MOD_LOG, THREAD, BOT = "50", "60", "99"
LINK = f"https://discord.com/channels/{GUILD}/1/7"


def said(message: str, channel: str, content: str, author: str = BOT) -> Entry:
    return entry(
        "message_create",
        id=message,
        channel_id=channel,
        author_id=author,
        content=content,
        nonce=f"n{message}",
    )


STARTER = said(THREAD, MOD_LOG, "Reports about <@9> (nine) are in this thread.")
STARTED = entry(
    "rest", method="POST", path=f"/channels/{MOD_LOG}/messages/{THREAD}/threads", status=201
)
HEADER = said("61", THREAD, f"**Spam**\n<@9> (nine, `9`) in <#1> · {LINK}")
QUOTED = said("62", THREAD, f"> see {LINK}")
REPORT = (STARTER, STARTED, HEADER, QUOTED)
DELETED = entry("rest", method="DELETE", path="/api/v10/channels/1/messages/7", status=204)
FACTS = (fact(FLAGGED, 1, 1, 0), fact(OPENED, 2, 1, 1), fact(SETTLED, 3, 2, 0))
SOUND = Evidence(
    cut=Cut(record=9, inputs={GUILD: 9}),
    guilds=(GUILD,),
    record=(dispatch(1), DELETED, *REPORT),
    inputs=(logged(1),),
    facts=FACTS,
    mod_logs={GUILD: MOD_LOG},
)


def found(evidence: Evidence) -> Violations:
    return check(evidence)[1]


def test_sound_evidence_has_no_violation_and_says_over_how_much() -> None:
    checked, violations = check(SOUND)
    assert violations.total == 0
    assert (checked.inputs, checked.reports, checked.facts) == (1, 1, 3)


def result(index: int, outcome: str) -> LoggedItem:
    body = EffectResult(sequence=Sequence(1), index=index, outcome=outcome)  # type: ignore[arg-type]
    return msgspec.structs.replace(logged(1), message_id=f"eff-{index}-{outcome}", body=body)


def record(*entries: Entry) -> dict[str, Any]:
    return {"record": (dispatch(1), DELETED, *entries)}


def second_thread() -> tuple[Entry, Entry]:
    started = {**STARTED.data, "path": f"/channels/{MOD_LOG}/messages/70/threads"}
    return said("70", MOD_LOG, STARTER.data["content"]), entry("rest", **started)


def violation() -> Entry:
    return entry("violation", of="request", name="POST /x", problems=[{"at": "flags"}])


@pytest.mark.parametrize(
    ("planted", "kind"),
    [
        ({"inputs": ()}, "inputs_lost"),
        ({"inputs": (logged(1), logged(1))}, "inputs_doubled"),
        ({"record": (dispatch(1), *REPORT)}, "effects_lost"),
        ({"facts": FACTS[:2]}, "effects_lost"),
        (record(*REPORT, said("62", THREAD, "")), "effects_doubled"),
        ({"inputs": (logged(1), result(0, "parked"))}, "effects_parked"),
        (record(STARTER, STARTED, QUOTED), "reports_lost"),
        (record(STARTER, HEADER), "reports_lost"),
        (record(*REPORT[:2], said("61", MOD_LOG, LINK)), "reports_lost"),
        (record(*REPORT[:2], said("61", THREAD, LINK, author="9")), "reports_lost"),
        (record(*REPORT, said("63", THREAD, LINK)), "reports_doubled"),
        (record(*REPORT, said("63", MOD_LOG, LINK)), "reports_doubled"),
        (record(*REPORT, *second_thread()), "reports_doubled"),
        (record(*REPORT, violation()), "spec_violations"),
        ({"facts": (*FACTS, fact(SETTLED, 4, 2, 0))}, "facts_doubled"),
        ({"facts": (FACTS[0], FACTS[1], fact(SETTLED, 3, 2, 1))}, "facts_missing"),
        ({"facts": (*FACTS[1:], fact(FLAGGED, 4, 1, 0))}, "facts_out_of_order"),
    ],
)
def test_each_planted_fault_is_seen(planted: dict[str, Any], kind: str) -> None:
    assert found(msgspec.structs.replace(SOUND, **planted)).counts()[kind] >= 1


@pytest.mark.parametrize(
    ("change", "lost"),
    [({}, 0), ({"at_ms": 99.0}, 1), ({"subject": "8"}, 1), ({"session": "s"}, 1)],
)
def test_an_event_that_two_sessions_were_sent_is_lost_when_neither_is_on_the_log(
    change: dict[str, Any], lost: int
) -> None:
    """The number of shards changes: one of the sessions does not speak for the guild any more."""
    data = {
        **dispatch(5).data,
        "session": change.get("session", "ended"),
        "subject_id": change.get("subject", "7"),
    }
    other = Entry(n=2, at_ms=change.get("at_ms", 1.0), kind="dispatch", data=data)
    evidence = msgspec.structs.replace(SOUND, record=(*SOUND.record, other))
    assert len(found(evidence).inputs_lost) == lost


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


def test_a_missing_removal_is_excused_only_by_the_case_of_its_own_verdict() -> None:
    gone = {"record": (dispatch(1), *REPORT)}
    failed = msgspec.structs.replace(SETTLED, status="failed", error="message.delete: refused")
    facts = (*FACTS[:2], fact(failed, 3, 2, 0))
    checked, violations = check(msgspec.structs.replace(SOUND, facts=facts, **gone))
    assert (checked.excused, violations.total) == (1, 0)

    for other in ({"error": "member.timeout: refused"}, {"number": CaseNumber(2)}):
        updated = fact(msgspec.structs.replace(failed, **other), 3, 2, 0)
        evidence = msgspec.structs.replace(SOUND, facts=(*FACTS[:2], updated), **gone)
        assert "delete 7 of guild 42" in found(evidence).effects_lost
    expired = (logged(1), result(1, "failed"))
    assert found(msgspec.structs.replace(SOUND, inputs=expired, **gone)).effects_lost


def test_a_parked_effect_that_was_settled_later_is_settled() -> None:
    inputs = (logged(1), result(0, "parked"), result(0, "done"), result(0, "parked"))
    assert found(msgspec.structs.replace(SOUND, inputs=inputs)).effects_parked == []


def test_a_guild_without_a_mod_log_has_no_reports_to_lose() -> None:
    evidence = msgspec.structs.replace(SOUND, mod_logs={}, **record())
    checked, violations = check(evidence)
    assert (checked.reports, violations.total) == (0, 0)


def test_a_second_verdict_on_a_message_neither_hides_nor_needs_a_header() -> None:
    again = fact(msgspec.structs.replace(FLAGGED, edited=True), 9, 20, 0)
    sound = msgspec.structs.replace(SOUND, facts=(*FACTS, again))
    assert found(sound).total == 0
    assert found(msgspec.structs.replace(sound, **record(*REPORT[:2]))).reports_lost


def test_what_came_after_the_cut_may_be_under_way() -> None:
    early = Cut(record=0, inputs={GUILD: 0})
    unfinished = msgspec.structs.replace(
        SOUND, cut=early, record=(dispatch(1),), inputs=(), facts=FACTS[:2]
    )
    checked, violations = check(unfinished)
    assert (checked.reports, violations.total) == (0, 0)
