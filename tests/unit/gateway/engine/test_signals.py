"""Signals between guilds: opted in, answered with a timeout, told to the user once."""

from components.gateway.engine.effects import (
    CreateMessage,
    RaiseSignal,
    SendDirectMessage,
    TimeOutMember,
)
from contracts.facts import CaseOpened
from tests.unit.gateway.engine.support import (
    GUILD,
    MEMBER,
    MOD_LOG,
    Log,
    facts,
    kinds,
    payloads,
)

SHARING = {"signals": {"share": True}, "mod_log_channel": MOD_LOG}
HIGH = "@here @everyone free nitro claim gift reward"


def test_a_guild_that_does_not_share_takes_no_signal() -> None:
    applied = Log().signal(MEMBER)
    assert (applied.status, kinds(applied), facts(applied)) == ("applied", [], [])


def test_a_guilds_own_signal_is_ignored() -> None:
    assert kinds(Log(SHARING).signal(MEMBER, source=GUILD)) == []


def test_a_signal_times_the_member_out_and_the_case_says_whose_signal_it_was() -> None:
    log = Log(SHARING)
    applied = log.signal(MEMBER)
    (timeout,) = payloads(applied)
    assert isinstance(timeout, TimeOutMember)
    assert timeout.until_ms == log.now + 20 * 3_600_000
    assert timeout.reason == ("modbot: spammed in 3 servers that share signals, last in Bakers")
    assert log.cases() == []
    done = log.settle(applied.effects[0])
    (opened,) = facts(done)
    assert isinstance(opened, CaseOpened)
    assert opened.source_guild == "7777"
    case = log.case(1)
    assert (case.action, case.status, case.source_guild) == ("timeout", "done", "7777")
    assert case.username == "spam_mer"


def test_a_user_who_is_no_member_leaves_no_trace() -> None:
    log = Log(SHARING)
    applied = log.signal(MEMBER)
    log.settle(applied.effects[0], "failed", code=10007, words="Unknown Member")
    log.settle(log.signal(MEMBER).effects[0], settled="undone since")
    assert log.cases() == []
    assert log.pending("member.timeout") == []


def test_a_signal_is_logged_in_the_members_thread() -> None:
    log = Log(SHARING)
    done = log.settle(log.signal(MEMBER).effects[0])
    started = log.settle(done.effects[0], message_id="888")
    flushed = log.settle(started.effects[0], thread_id="888")
    (post,) = payloads(flushed)
    assert isinstance(post, CreateMessage)
    assert "signal from Bakers** · case #1" in post.body["content"]
    assert "spam\\_mer" in post.body["content"]


def test_the_guild_that_claimed_it_writes_to_the_user() -> None:
    log = Log(SHARING)
    raised = log.post(HIGH).effects[-1]
    assert raised.kind == "signal.raise"
    applied = log.settle(raised, reached="true", dm_claimed="true")
    (dm,) = payloads(applied)
    assert isinstance(dm, SendDirectMessage)
    assert dm.user == MEMBER
    for advice in ("password", "two-factor", "Authorized Apps", "**Gardeners**"):
        assert advice in dm.body["content"]
    assert dm.body["allowed_mentions"] == {"parse": []}
    assert applied.effects[0].expires_ms == log.now + 3_600_000


def test_nobody_is_written_to_below_the_threshold_or_when_another_claimed_it() -> None:
    for data in ({}, {"reached": "true"}, {"reached": "true", "dm_claimed": "false"}):
        log = Log(SHARING)
        assert kinds(log.settle(log.post(HIGH).effects[-1], **data)) == []  # type: ignore[arg-type]


def test_turning_sharing_on_and_off_is_told_outside() -> None:
    log = Log()
    (on,) = payloads(log.put_settings(SHARING))
    assert isinstance(on, RaiseSignal)
    assert (on.op, on.guild_name, on.guild_count) == ("share", "Gardeners", 3)
    assert kinds(log.put_settings({"signals": {"share": True, "guild_count": 5}})) == []
    (off,) = payloads(log.put_settings({}))
    assert isinstance(off, RaiseSignal)
    assert off.op == "unshare"
