"""Whom the pipeline skips, what it does about a verdict, and how it treats edits."""

from typing import Any

import pytest

from components.gateway.engine.effects import (
    AddRole,
    BanMember,
    DeleteMessage,
    KickMember,
    RaiseSignal,
    TimeOutMember,
    UnbanMember,
)
from contracts.facts import CaseOpened, MessageFlagged, ReportFiled
from tests.unit.gateway.engine.support import (
    ADMIN_ROLE,
    DAY_MS,
    GUILD,
    MEMBER,
    MODERATOR_ROLE,
    MVP_ROLE,
    OWNER,
    RESTRICTED_ROLE,
    T0,
    Log,
    facts,
    kinds,
    message,
    payloads,
    signals,
    snowflake,
    tier,
)

LOW = "@here free"
MEDIUM = "@here @everyone"
HIGH = "@here @everyone free nitro claim gift reward"


@pytest.mark.parametrize(
    "more",
    [
        {"author": OWNER},
        {"roles": [ADMIN_ROLE]},
        {"roles": [RESTRICTED_ROLE, MVP_ROLE]},
        {"roles": [MODERATOR_ROLE]},
        {"webhook_id": "77"},
        {"type": 7},
        {"type": 18},
    ],
)
def test_the_exempt_are_neither_scored_nor_remembered(more: dict[str, Any]) -> None:
    log = Log({"moderator_role": MODERATOR_ROLE})
    assert facts(log.post(HIGH, **more)) == []
    assert log.rows("SELECT * FROM spam_tracker") == []


@pytest.mark.parametrize("flag", ["bot", "system"])
def test_bots_and_the_system_are_skipped(flag: str) -> None:
    log = Log()
    data = message(HIGH)
    data["author"][flag] = True
    assert facts(log.dispatch("MESSAGE_CREATE", data)) == []


def test_a_message_without_a_member_is_skipped() -> None:
    log = Log()
    data = message(HIGH)
    del data["member"]
    assert facts(log.dispatch("MESSAGE_CREATE", data)) == []


@pytest.mark.parametrize("name", ["mvp", "MODERATOR", "Admin", "admins"])
def test_roles_are_exempt_by_their_name_in_any_case(name: str) -> None:
    log = Log()
    role = {"guild_id": GUILD, "role": {"id": "71", "name": name}}
    log.dispatch("GUILD_ROLE_CREATE", role)
    assert facts(log.post(HIGH, roles=["71"])) == []
    role["role"] = {"id": "71", "name": f"{name}x"}
    log.dispatch("GUILD_ROLE_UPDATE", role)
    assert tier(log.post(HIGH, roles=["71"])) == "high"


def test_a_moderator_role_is_exempt_only_once_it_is_set() -> None:
    assert tier(Log().post(HIGH, roles=[MODERATOR_ROLE])) == "high"


def test_a_reply_is_scored_like_any_message() -> None:
    assert tier(Log().post(HIGH, type=19)) == "high"


def test_the_pipeline_can_be_turned_off() -> None:
    log = Log({"spam": {"enabled": False}})
    assert facts(log.post(HIGH)) == []


def test_a_clean_message_asks_for_nothing() -> None:
    applied = Log().post("good morning")
    assert (applied.effects, applied.facts) == ((), ())


def test_a_low_verdict_is_only_reported() -> None:
    log = Log()
    applied = log.post(LOW)
    assert kinds(applied) == []
    flagged, filed, opened = facts(applied)
    assert isinstance(flagged, MessageFlagged)
    assert (flagged.tier, flagged.score, flagged.edited) == ("low", 6, False)
    assert isinstance(filed, ReportFiled)
    assert isinstance(opened, CaseOpened)
    case = log.case(1)
    assert (case.action, case.status, case.tier, case.score) == ("flag", "done", "low", 6)
    assert (case.user, case.username, case.moderator_kind) == (MEMBER, f"user_{MEMBER[-4:]}", "bot")
    assert {signal.name: signal.points for signal in case.signals} == {
        "mass_ping": 5,
        "spam_keyword": 1,
    }


def test_no_fact_carries_the_messages_text() -> None:
    applied = Log().post(f"{HIGH} zanzibar")
    assert applied.facts
    assert all(b"zanzibar" not in fact.data for fact in applied.facts)


def test_a_medium_verdict_deletes() -> None:
    log = Log()
    applied = log.post(MEDIUM)
    (delete,) = payloads(applied)
    assert isinstance(delete, DeleteMessage)
    assert delete.reason == "modbot case #1: spam (medium, 10 points)"
    assert (log.case(1).action, log.case(1).status) == ("delete_message", "pending")
    log.settle(applied.effects[0])
    assert log.case(1).status == "done"


def test_a_medium_verdict_restricts_where_there_is_a_role_for_it() -> None:
    log = Log({"restricted_role": RESTRICTED_ROLE})
    applied = log.post(MEDIUM)
    delete, role = payloads(applied)
    assert isinstance(delete, DeleteMessage)
    assert isinstance(role, AddRole)
    assert (role.user, role.role) == (MEMBER, RESTRICTED_ROLE)
    log.settle(applied.effects[0], "failed", code=50013, words="Missing Permissions")
    assert log.case(1).status == "pending"
    log.settle(applied.effects[1])
    case = log.case(1)
    assert (case.action, case.status) == ("restrict", "done")
    assert case.error == "message.delete: Missing Permissions (50013)"


def test_a_high_verdict_deletes_and_times_out_until_a_fixed_moment() -> None:
    log = Log()
    log.now = T0 + 5000
    applied = log.post(HIGH)
    delete, timeout = payloads(applied)
    assert isinstance(delete, DeleteMessage)
    assert isinstance(timeout, TimeOutMember)
    assert timeout.until_ms == T0 + 20 * 3_600_000
    assert applied.effects[1].expires_ms == timeout.until_ms
    assert (log.case(1).action, log.case(1).until_ms) == ("timeout", timeout.until_ms)


def test_the_length_of_a_timeout_is_a_setting() -> None:
    timeout = payloads(Log({"spam": {"timeout_s": 60}}).post(HIGH))[1]
    assert isinstance(timeout, TimeOutMember)
    assert timeout.until_ms == T0 + 60_000


def test_the_third_report_of_any_tier_kicks_after_a_high_verdict() -> None:
    log = Log()
    gap = 600_000
    assert kinds(log.post(LOW, at=T0)) == []
    assert "member.kick" not in kinds(log.post(HIGH, at=T0 + gap))
    applied = log.post(HIGH, at=T0 + 2 * gap)
    assert kinds(applied) == ["message.delete", "member.timeout", "member.kick"]
    kick = payloads(applied)[2]
    assert isinstance(kick, KickMember)
    assert kick.joined_before_ms == T0 + 2 * gap
    assert log.case(3).action == "kick"
    assert kinds(log.post(LOW, at=T0 + 3 * gap)) == []


def test_reports_of_others_and_other_guilds_do_not_count() -> None:
    log = Log({"spam": {"kick_after_reports": 2}})
    log.post(HIGH, author=snowflake(T0 - 500 * DAY_MS))
    assert "member.kick" not in kinds(log.post(HIGH))


def test_a_honeypot_softbans() -> None:
    log = Log({"spam": {"honeypot_channels": ["66"]}})
    applied = log.post("hello", channel="66")
    (ban,) = payloads(applied)
    assert isinstance(ban, BanMember)
    assert ban.delete_message_s == 604_800
    assert (log.case(1).action, log.case(1).tier) == ("softban", "honeypot")
    banned = log.settle(applied.effects[0])
    (unban,) = payloads(banned)
    assert isinstance(unban, UnbanMember)
    assert unban.for_ban == (applied.sequence, 0)
    assert log.case(1).status == "pending"
    log.settle(banned.effects[0])
    assert log.case(1).status == "done"


def test_a_softban_whose_ban_fails_has_no_unban_and_says_why() -> None:
    log = Log({"spam": {"honeypot_channels": ["66"]}})
    applied = log.post("hello", channel="66")
    failed = log.settle(applied.effects[0], "failed", code=50013, words="Missing Permissions")
    assert kinds(failed) == []
    case = log.case(1)
    assert (case.status, case.error) == ("failed", "member.ban: Missing Permissions (50013)")


def test_an_effect_that_expired_fails_its_case_visibly() -> None:
    log = Log()
    applied = log.post(MEDIUM)
    log.settle(applied.effects[0], "expired")
    assert (log.case(1).status, log.case(1).error) == ("failed", "message.delete: expired")


def test_a_guild_that_shares_raises_a_signal_at_every_verdict() -> None:
    log = Log({"signals": {"share": True, "guild_count": 4}})
    for text, tier_name, escalate in ((LOW, "low", False), (HIGH, "high", True)):
        raised = payloads(log.post(text))[-1]
        assert isinstance(raised, RaiseSignal)
        assert (raised.op, raised.tier, raised.escalate) == ("report", tier_name, escalate)
        assert (raised.user, raised.guild_count) == (MEMBER, 4)
        assert raised.guild_name == "Gardeners"


def test_a_guild_that_does_not_share_raises_none() -> None:
    assert "signal.raise" not in kinds(Log().post(HIGH))


def test_an_edit_to_spam_is_judged_and_says_so() -> None:
    log = Log()
    data = message("hello")
    log.dispatch("MESSAGE_CREATE", data)
    applied = log.edit(data, content=HIGH, edited_timestamp="2027-01-15T08:00:30+00:00")
    assert tier(applied) == "high"
    (flagged, *_) = facts(applied)
    assert isinstance(flagged, MessageFlagged)
    assert flagged.edited


def test_an_edit_that_changes_nothing_is_not_judged_again() -> None:
    log = Log()
    data = message(HIGH)
    log.dispatch("MESSAGE_CREATE", data)
    assert facts(log.edit(data, pinned=True)) == []
    assert len(log.cases()) == 1


def test_an_edit_of_a_message_no_longer_remembered_is_judged_once() -> None:
    log = Log()
    data = message(HIGH)
    assert tier(log.edit(data)) == "high"
    log.database.execute("DELETE FROM spam_tracker")
    assert facts(log.edit(data)) == []


def test_an_edit_does_not_count_as_another_message() -> None:
    log = Log({"spam": {"thresholds": {"low": 1}}})
    data = message("one")
    log.dispatch("MESSAGE_CREATE", data)
    for word in ("two", "three", "four", "five", "six"):
        applied = log.edit(data, content=word)
    assert signals(applied) == {}


def test_a_preview_that_arrives_is_judged_with_its_text() -> None:
    log = Log()
    data = message("see https://x.example @here")
    log.dispatch("MESSAGE_CREATE", data)
    embeds = [{"type": "article", "title": "free nitro", "url": "https://x.example"}]
    assert tier(log.edit(data, embeds=embeds)) == "low"
    assert facts(log.edit(data, embeds=embeds)) == []


def test_a_preview_on_a_judged_message_counts_only_if_it_makes_it_worse() -> None:
    log = Log()
    data = message(f"{LOW} https://x.example")
    assert tier(log.dispatch("MESSAGE_CREATE", data)) == "low"
    assert facts(log.edit(data, embeds=[{"type": "link", "title": "nice"}])) == []
    worse = [{"type": "link", "title": "nitro gift claim reward steam"}]
    assert tier(log.edit(data, embeds=worse)) == "medium"


def test_another_spam_text_in_the_same_message_is_judged_again_at_any_tier() -> None:
    log = Log()
    data = message(LOW)
    log.dispatch("MESSAGE_CREATE", data)
    assert tier(log.edit(data, content="@here claim")) == "low"


def test_a_preview_that_arrives_leaves_what_makes_a_copy_as_it_was() -> None:
    log = Log({"spam": {"thresholds": {"low": 1}}})
    data = message("see https://x.example", number=1)
    log.dispatch("MESSAGE_CREATE", data)
    partial = {"id": data["id"], "channel_id": "500", "guild_id": GUILD, "embeds": [{"title": "A"}]}
    log.dispatch("MESSAGE_UPDATE", partial)
    copy = log.dispatch("MESSAGE_CREATE", message("see https://x.example", number=2))
    assert signals(copy) == {"duplicates": 5}


def test_a_partial_update_is_judged_with_what_is_remembered_of_its_author() -> None:
    log = Log()
    data = message("see https://x.example", joined="2027-01-15T07:59:00+00:00")
    log.dispatch("MESSAGE_CREATE", data)
    partial = {
        "id": data["id"],
        "channel_id": data["channel_id"],
        "guild_id": GUILD,
        "embeds": [{"type": "article", "title": "free nitro gift claim reward"}],
    }
    applied = log.dispatch("MESSAGE_UPDATE", partial)
    assert signals(applied) == {"spam_keyword": 5, "tenure_1h": 2}
    assert log.case(1).user == MEMBER


def test_a_partial_update_of_an_unknown_message_is_left_alone() -> None:
    log = Log()
    partial = {"id": "5", "channel_id": "6", "guild_id": GUILD, "embeds": [{"title": HIGH}]}
    applied = log.dispatch("MESSAGE_UPDATE", partial)
    assert applied.status == "applied"
    assert facts(applied) == []


def test_an_update_without_member_of_an_unknown_message_is_left_alone() -> None:
    """Nobody can say whether its author is a moderator."""
    log = Log()
    data = message(HIGH)
    del data["member"]
    assert facts(log.dispatch("MESSAGE_UPDATE", data)) == []


def test_an_exempt_members_edit_is_skipped() -> None:
    log = Log()
    assert facts(log.edit(message(HIGH, roles=[ADMIN_ROLE]))) == []
