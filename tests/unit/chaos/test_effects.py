"""A result is not believed: Discord's record must show it."""

from typing import Any

import pytest

from components.chaos.effects import Held, check_effects
from components.chaos.oracle import Replayed
from components.gateway.engine.effects import (
    AddRole,
    AnyPayload,
    BanMember,
    CreateMessage,
    CreateThread,
    DeleteMessage,
    InteractionAnswerPayload,
    KickMember,
    RaiseSignal,
    SendDirectMessage,
    TimeOutMember,
    UnbanMember,
)
from components.simulator.record import Entry
from components.traffic.evidence import Cut, Evidence, LoggedItem
from contracts.ids import ChannelId, GuildId, InteractionId, MessageId, RoleId, Sequence, UserId
from contracts.inputs import EffectError, EffectResult

GUILD, USER = GuildId("42"), UserId("5")
DELETE = DeleteMessage(channel=ChannelId("7"), message=MessageId("99"), reason="r")
POST = CreateMessage(channel=ChannelId("7"), body={}, nonce="n")
DIRECT = SendDirectMessage(user=USER, body={}, nonce="n")
THREAD = CreateThread(
    channel=ChannelId("7"), message=MessageId("98"), name="t", auto_archive_minutes=60
)
TIMEOUT = TimeOutMember(user=USER, until_ms=1_800_000_000_250, reason="r")
UNTIL = "2027-01-15T08:00:00.250000+00:00"
ROLE = AddRole(user=USER, role=RoleId("6"), reason="r")
KICK = KickMember(user=USER, joined_before_ms=1, reason="r")
BAN = BanMember(user=USER, delete_message_s=1, reason="r")
UNBAN = UnbanMember(user=USER, reason="r")
ANSWER = InteractionAnswerPayload(
    interaction=InteractionId("1"), application="2", token="t", answer_to="", type=4, data={}
)
SIGNAL = RaiseSignal(op="share", guild_name="g", guild_count=3)


def call(method: str, path: str, status: int | None = 204, **data: Any) -> Entry:
    return Entry(
        n=1,
        at_ms=1,
        kind="rest",
        data={"method": method, "path": path, "status": status, "body": None, **data},
    )


def world(kind: str, **data: Any) -> Entry:
    return Entry(n=1, at_ms=1, kind=kind, data=data)


def patched(until: str | None) -> Entry:
    body = {"communication_disabled_until": until}
    return call("PATCH", "/guilds/42/members/5", 200, body=body)


DELETED = call("DELETE", "/channels/7/messages/99")
GONE = world("message_delete", id="99", bulk=True)
CREATED = world("message_create", id="1", nonce="n")
STARTED = call("POST", "/channels/7/messages/98/threads", 201)
GIVEN = call("PUT", "/guilds/42/members/5/roles/6")
KICKED = call("DELETE", "/guilds/42/members/5")
BANNED = call("PUT", "/guilds/42/bans/5")
UNBANNED = call("DELETE", "/guilds/42/bans/5")


def checked(payload: AnyPayload, result: EffectResult | None, *record: Entry) -> Held:
    """What is found when the first input asks for this one effect."""
    results = () if result is None else (result,)
    return check_effects(evidence(*results, record=record), {GUILD: replay(payload)})


def evidence(*results: EffectResult, record: tuple[Entry, ...] = ()) -> Evidence:
    inputs = tuple(
        LoggedItem(
            guild=GUILD,
            sequence=number,
            stored_ms=1,
            message_id="",
            traceparent="",
            body=result,
        )
        for number, result in enumerate(results, 2)
    )
    return Evidence(
        guilds=(GUILD,),
        cut=Cut(record=9, inputs={GUILD: 9}),
        record=record,
        inputs=inputs,
        facts=(),
        mod_logs={},
    )


def replay(payload: AnyPayload) -> Replayed:
    return Replayed(dump=b"", dumps={}, facts=set(), effects={(1, 0): payload}, applied=9, last=9)


def result(outcome: str, code: int | None = None) -> EffectResult:
    error = None if code is None else EffectError(status=404, code=code, message="words")
    return EffectResult(sequence=Sequence(1), index=0, outcome=outcome, error=error)  # type: ignore[arg-type]


DONE = result("done")


@pytest.mark.parametrize(
    ("payload", "shows", "does_not"),
    [
        (DELETE, DELETED, call("DELETE", "/channels/7/messages/98")),
        (DELETE, GONE, world("message_delete", id="98", bulk=False)),
        (POST, CREATED, world("message_create", id="1", nonce="another")),
        (DIRECT, CREATED, world("message_create", id="1", nonce=None)),
        (THREAD, STARTED, call("POST", "/channels/7/messages/97/threads", 201)),
        (TIMEOUT, patched(UNTIL), patched("2027-01-15T08:00:00+00:00")),
        (TIMEOUT, patched(UNTIL), patched(None)),
        (ROLE, GIVEN, call("PUT", "/guilds/42/members/5/roles/7")),
        (ROLE, GIVEN, call("DELETE", "/guilds/42/members/5/roles/6")),
        (KICK, KICKED, call("DELETE", "/guilds/42/members/6")),
        (KICK, BANNED, call("DELETE", "/guilds/42/members/5/roles/6")),
        (BAN, BANNED, call("PUT", "/guilds/43/bans/5")),
        (BAN, BANNED, KICKED),
        (UNBAN, UNBANNED, BANNED),
    ],
)
def test_what_is_done_by_its_result_must_show_in_the_record(
    payload: AnyPayload, shows: Entry, does_not: Entry
) -> None:
    held = checked(payload, DONE, shows)
    assert (held.done, held.lost) == (1, [])
    for record in ((), (does_not,)):
        (words,) = checked(payload, DONE, *record).lost
        assert words.startswith(f"effect 1/0 ({payload.kind}) of guild 42 is done, and Discord's")


def test_a_call_that_failed_shows_nothing_unless_it_took_effect_before_it_was_cut_off() -> None:
    refused = call("DELETE", "/channels/7/messages/99", 500)
    assert len(checked(DELETE, DONE, refused).lost) == 1
    cut = call("DELETE", "/channels/7/messages/99", None, took_effect=True)
    assert checked(DELETE, DONE, cut).lost == []


@pytest.mark.parametrize("payload", [ANSWER, SIGNAL])
def test_what_the_record_cannot_show_is_not_counted(payload: AnyPayload) -> None:
    held = checked(payload, DONE)
    assert (held.done, held.lost) == (0, [])


def test_an_effect_without_a_result_is_lost() -> None:
    assert checked(KICK, None, KICKED).lost == [
        "effect 1/0 (member.kick) of guild 42 has no result"
    ]


@pytest.mark.parametrize("payload", [DELETE, POST, THREAD, TIMEOUT, ROLE, KICK, BAN, SIGNAL])
@pytest.mark.parametrize("outcome", ["failed", "expired"])
def test_an_effect_that_failed_or_expired_is_lost(payload: AnyPayload, outcome: str) -> None:
    (words,) = checked(payload, result(outcome, 50013)).lost
    assert words == f"effect 1/0 ({payload.kind}) of guild 42 {outcome}: 404/50013 words"
    assert len(checked(payload, result(outcome)).lost) == 1


@pytest.mark.parametrize("payload", [TIMEOUT, ROLE, KICK])
@pytest.mark.parametrize("removal", [KICKED, BANNED])
def test_what_is_refused_because_the_bot_has_removed_the_member_is_moot(
    payload: AnyPayload, removal: Entry
) -> None:
    unknown_member = result("failed", 10007)
    held = checked(payload, unknown_member, removal)
    assert (held.moot, held.lost) == (1, [])
    assert len(checked(payload, unknown_member).lost) == 1
    assert len(checked(payload, result("failed", 50013), removal).lost) == 1


def test_an_unknown_member_excuses_neither_a_ban_nor_a_post() -> None:
    for payload in (BAN, POST):
        assert len(checked(payload, result("failed", 10007), BANNED).lost) == 1


def test_the_first_result_counts_or_the_first_after_a_parked_one() -> None:
    asked = {GUILD: replay(KICK)}
    for first, second, lost in (
        (result("failed"), DONE, 1),
        (result("parked"), DONE, 0),
        (DONE, result("failed"), 0),
    ):
        given = evidence(first, second, record=(KICKED,))
        assert len(check_effects(given, asked).lost) == lost


def test_a_result_of_what_nothing_asked_for_is_unfounded() -> None:
    other = EffectResult(sequence=Sequence(3), index=0, outcome="done")
    held = check_effects(evidence(DONE, other, record=(KICKED,)), {GUILD: replay(KICK)})
    assert held.unfounded == ["effect 3/0 of guild 42 derives from no input"]
