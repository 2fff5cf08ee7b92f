"""``/case view``: what a moderator sees, and words for everything that is wrong."""

from typing import Any

import pytest

from components.gateway.engine.effects import InteractionAnswerPayload, payload_of
from components.gateway.engine.model import Applied
from contracts.ids import SessionId
from contracts.interactions import EPHEMERAL
from tests.unit.gateway.engine.support import (
    GUILD,
    MEMBER,
    MOD_LOG,
    MODERATOR_ROLE,
    T0,
    Log,
    message,
    snowflake,
)

TOKEN = "secret-token"


def case_view(number: Any = 1, **more: Any) -> dict[str, Any]:
    """Discord's interaction object for ``/case view``."""
    return {
        "id": snowflake(T0, 77),
        "application_id": "9002",
        "type": 2,
        "token": TOKEN,
        "version": 1,
        "guild_id": GUILD,
        "channel_id": "500",
        "locale": "en-GB",
        "member": {"user": {"id": "42"}, "roles": [], "permissions": "8192"},
        "data": {
            "id": "1",
            "name": "case",
            "type": 1,
            "options": [
                {
                    "type": 1,
                    "name": "view",
                    "options": [{"type": 4, "name": "number", "value": number}],
                }
            ],
        },
        **more,
    }


def answer(applied: Applied) -> dict[str, Any]:
    """The data of the one answer."""
    (effect,) = applied.effects
    payload = payload_of(effect.kind, effect.payload)
    assert isinstance(payload, InteractionAnswerPayload)
    assert payload.type == 4
    assert payload.data["flags"] & EPHEMERAL
    assert payload.data["allowed_mentions"] == {"parse": []}
    return payload.data


def fields(data: dict[str, Any]) -> dict[str, str]:
    (embed,) = data["embeds"]
    return {field["name"]: field["value"] for field in embed["fields"]}


def test_a_moderator_sees_the_case() -> None:
    log = Log({"mod_log_channel": MOD_LOG})
    log.post("@here @everyone free nitro claim gift reward")
    data = answer(log.interact(case_view()))
    assert data["embeds"][0]["title"] == "Case #1 · Timed out"
    shown = fields(data)
    assert f"<@{MEMBER}>" in shown["Member"]
    assert shown["Moderator"] == "modbot"
    assert shown["Status"] == "in progress"
    assert f"<t:{T0 // 1000}:f>" in shown["When"]
    assert f"<t:{T0 // 1000 + 72_000}:R>" in shown["Until"]
    assert "20 h" in shown["Until"]
    assert shown["Verdict"].startswith("high, 15 points\n- spam keywords: +5\n- mass ping: +10")
    assert shown["Reason"] == "spam \\(high, 15 points\\)"
    assert f"/channels/{GUILD}/500/" in shown["Message"]
    assert "components" not in data


def test_the_answer_leads_to_the_thread_once_there_is_one() -> None:
    log = Log({"mod_log_channel": MOD_LOG})
    log.post("@here free")
    started = log.settle(log.pending()[0], message_id="888")
    log.settle(started.effects[0], thread_id="888")
    ((button,),) = [row["components"] for row in answer(log.interact(case_view()))["components"]]
    assert button["url"] == f"https://discord.com/channels/{GUILD}/888"


def test_a_failed_action_says_what_went_wrong() -> None:
    log = Log()
    applied = log.post("@here @everyone")
    log.settle(applied.effects[0], "failed", code=50013, words="Missing Permissions")
    shown = fields(answer(log.interact(case_view())))
    assert shown["Status"] == "failed"
    assert shown["What went wrong"] == "message.delete: Missing Permissions \\(50013\\)"


def test_a_case_of_a_signal_names_its_guild() -> None:
    log = Log({"signals": {"share": True}})
    log.settle(log.signal(MEMBER).effects[0])
    assert fields(answer(log.interact(case_view())))["Signal from"] == "server `7777`"


def test_a_moderators_case_names_the_moderator() -> None:
    log = Log()
    entry = {"guild_id": GUILD, "action_type": 20, "target_id": MEMBER, "user_id": "42"}
    log.dispatch("GUILD_AUDIT_LOG_ENTRY_CREATE", {**entry, "reason": "a*b" * 500})
    shown = fields(answer(log.interact(case_view())))
    assert shown["Moderator"] == "<@42>"
    assert len(shown["Reason"]) <= 1024


@pytest.mark.parametrize("number", [99, 0, -1, 2**80, "1", None, True])
def test_an_unknown_number_is_answered_in_words(number: Any) -> None:
    log = Log()
    data = answer(log.interact(case_view(number)))
    assert data["content"].startswith("There is no case")


@pytest.mark.parametrize(
    "member",
    [
        None,
        {"user": {"id": "42"}, "roles": [], "permissions": "0"},
        {"user": {"id": "42"}, "roles": ["5"], "permissions": "2048"},
    ],
)
def test_who_may_not_is_told_so_and_sees_nothing(member: Any) -> None:
    log = Log({"moderator_role": MODERATOR_ROLE})
    log.post("@here free")
    data = answer(log.interact(case_view(member=member)))
    assert data["content"] == "Only moderators of this server may look at its cases."
    assert "embeds" not in data


@pytest.mark.parametrize(
    "member",
    [
        {"roles": [], "permissions": "8"},
        {"roles": [], "permissions": str(8192 | 2**50)},
        {"roles": [MODERATOR_ROLE], "permissions": "0"},
    ],
)
def test_who_may_sees_the_case(member: Any) -> None:
    log = Log({"moderator_role": MODERATOR_ROLE})
    log.post("@here free")
    assert "embeds" in answer(log.interact(case_view(member=member)))


@pytest.mark.parametrize(
    "more",
    [
        {"data": {"name": "nonsense"}},
        {"data": {"name": "case"}},
        {"data": {"name": "case", "options": [{"name": "burn", "options": []}]}},
        {"type": 3, "data": {"custom_id": "x", "component_type": 2}},
    ],
)
def test_an_unknown_command_is_answered_in_words(more: dict[str, Any]) -> None:
    assert "does not know this command" in answer(Log().interact(case_view(**more)))["content"]


def test_the_answer_expires_before_the_token_does() -> None:
    (effect,) = Log().interact(case_view()).effects
    assert effect.lane == "urgent"
    assert effect.expires_ms == T0 + 14 * 60_000


@pytest.mark.parametrize("outcome", ["done", "failed", "expired", "parked"])
def test_the_token_leaves_with_the_answer_and_is_in_no_fact(outcome: str) -> None:
    log = Log()
    applied = log.interact(case_view())
    assert applied.facts == ()
    assert TOKEN.encode() in log.dump()
    log.settle(applied.effects[0], outcome)
    assert TOKEN.encode() not in log.dump()


def test_a_malformed_interaction_is_quarantined_without_its_token() -> None:
    log = Log()
    applied = log.interact(case_view(id="x"))
    assert applied.status == "quarantined"
    assert TOKEN.encode() not in log.dump()


def test_an_interaction_counts_in_its_sessions_chain() -> None:
    log = Log()
    applied = log.interact(case_view(), session=SessionId("s1"), sequence=2, previous=1)
    assert applied.alarm == ""
    following = log.dispatch("MESSAGE_CREATE", message(), sequence=3, previous=2)
    assert following.alarm == ""
    gap = log.interact(
        case_view(id=snowflake(T0, 78)), session=SessionId("s1"), sequence=9, previous=8
    )
    assert "broken chain" in gap.alarm
    assert len(gap.effects) == 1
