"""Cases of moderators, what they lift, and the reads that show cases."""

from typing import Any

import pytest

from components.gateway.engine.model import Applied, UndoQuestion
from contracts.errors import ServiceError
from contracts.facts import CaseUpdated
from contracts.ids import Sequence
from contracts.requests import GetCase, GetGuildStatus, ListCases, SkipParkedInput
from tests.unit.gateway.engine.support import (
    BOT,
    GUILD,
    MEMBER,
    OPERATOR,
    RESTRICTED_ROLE,
    T0,
    Log,
    facts,
    snowflake,
)

TIMEOUT_KEY = "communication_disabled_until"


def audit(log: Log, action: int, *, by: str | None = "42", **more: Any) -> Applied:
    """A moderator's entry in the audit log about the usual member."""
    entry = {
        "id": str(log.sequence + 1),
        "guild_id": GUILD,
        "action_type": action,
        "target_id": MEMBER,
        "user_id": by,
        **more,
    }
    return log.dispatch("GUILD_AUDIT_LOG_ENTRY_CREATE", entry)


def undone(log: Log, kind: Any, since: int) -> bool:
    return log.engine.undone(
        UndoQuestion(guild=log.guild, kind=kind, user=MEMBER, since=Sequence(since))  # type: ignore[arg-type]
    )


@pytest.mark.parametrize(("action", "name"), [(20, "kick"), (22, "ban"), (23, "unban")])
def test_what_moderators_do_is_a_case(action: int, name: str) -> None:
    log = Log()
    audit(log, action, reason="rude")
    case = log.case(1)
    assert (case.action, case.status, case.reason, case.user) == (name, "done", "rude", MEMBER)
    assert (case.moderator_kind, case.moderator) == ("moderator", "42")


def test_a_timeout_by_a_moderator_has_its_end_and_lifting_it_is_a_case_too() -> None:
    log = Log()
    audit(log, 24, changes=[{"key": TIMEOUT_KEY, "new_value": "2027-01-15T09:00:00+00:00"}])
    audit(log, 24, changes=[{"key": TIMEOUT_KEY, "old_value": "2027-01-15T09:00:00+00:00"}])
    assert (log.case(1).action, log.case(1).until_ms) == ("timeout", T0 + 3_600_000)
    assert (log.case(2).action, log.case(2).until_ms) == ("remove_timeout", None)


def test_other_changes_of_a_member_are_no_case() -> None:
    log = Log()
    audit(log, 24, changes=[{"key": "nick", "new_value": "x"}])
    audit(log, 25, changes=[{"key": "$add", "new_value": [{"id": "5", "name": "x"}]}])
    audit(log, 1)
    audit(log, 20, target_id=None)
    assert log.cases() == []


def test_the_bots_own_entries_are_not_recorded_twice() -> None:
    log = Log()
    audit(log, 22, by=BOT)
    audit(log, 24, by=BOT, changes=[{"key": TIMEOUT_KEY, "new_value": "2027-01-15T09:00:00Z"}])
    assert log.cases() == []


def test_an_entry_without_an_executor_is_by_somebody_unknown() -> None:
    log = Log()
    audit(log, 20, by=None)
    assert (log.case(1).moderator_kind, log.case(1).moderator) == ("unknown", None)


@pytest.mark.parametrize("value", ["soon", "2027-01-15T09:00:00", 5])
def test_an_entry_with_a_timeout_that_is_no_time_is_quarantined(value: object) -> None:
    log = Log()
    applied = audit(log, 24, changes=[{"key": TIMEOUT_KEY, "new_value": value}])
    assert applied.status == "quarantined"
    assert log.cases() == []


def test_a_moderators_case_names_a_member_the_guild_has_met() -> None:
    log = Log()
    log.post("@here free")
    audit(log, 20)
    assert log.case(2).username == log.case(1).username != ""


def test_what_somebody_lifted_later_is_undone() -> None:
    log = Log({"restricted_role": RESTRICTED_ROLE})
    since = log.sequence
    kinds = ("member.timeout", "member.ban", "member.role_add", "member.unban")
    assert not any(undone(log, kind, since) for kind in kinds)
    audit(log, 24, changes=[{"key": TIMEOUT_KEY}])
    audit(log, 23)
    removed = [{"id": RESTRICTED_ROLE, "name": "Quiet"}]
    audit(log, 25, changes=[{"key": "$remove", "new_value": removed}])
    audit(log, 22)
    assert all(undone(log, kind, since) for kind in kinds)
    assert not any(undone(log, kind, log.sequence) for kind in kinds)
    assert not undone(log, "message.delete", since)


def test_a_removed_ban_counts_without_the_audit_log_and_another_role_does_not() -> None:
    log = Log({"restricted_role": RESTRICTED_ROLE})
    since = log.sequence
    other = [{"id": "5", "name": "x"}]
    audit(log, 25, changes=[{"key": "$remove", "new_value": other}])
    assert not undone(log, "member.role_add", since)
    log.dispatch("GUILD_BAN_REMOVE", {"guild_id": GUILD, "user": {"id": MEMBER}})
    assert undone(log, "member.ban", since)


def test_the_bots_own_ban_seen_late_does_not_call_off_the_unban_of_a_softban() -> None:
    log = Log({"spam": {"honeypot_channels": ["66"]}})
    banned = log.settle(log.post("hello", channel="66").effects[0])
    (unban,) = banned.effects
    audit(log, 22, by=BOT)
    assert not undone(log, "member.unban", unban.sequence)
    audit(log, 22)
    assert undone(log, "member.unban", unban.sequence)


def test_a_lift_of_one_member_or_kind_undoes_no_other() -> None:
    log = Log()
    since = log.sequence
    audit(log, 23, target_id="77")
    assert not undone(log, "member.ban", since)
    audit(log, 24, changes=[{"key": TIMEOUT_KEY}])
    assert not undone(log, "member.ban", since)


def test_the_result_of_an_action_is_a_fact() -> None:
    log = Log()
    applied = log.post("@here @everyone")
    (updated,) = facts(log.settle(applied.effects[0]))
    assert isinstance(updated, CaseUpdated)
    assert (updated.number, updated.status) == (1, "done")


def test_an_action_that_somebody_undid_meanwhile_is_done_and_says_so() -> None:
    log = Log()
    applied = log.post("@here @everyone free nitro gift claim steam")
    log.settle(applied.effects[1], settled="undone since")
    assert (log.case(1).status, "undid" in log.case(1).error) == ("done", True)


def test_cases_are_listed_newest_first_in_pages() -> None:
    log = Log()
    for user in ("71", "72", "71", "71"):
        audit(log, 20, target_id=user)
    first = log.read(ListCases(limit=3))
    assert [case.number for case in first.cases] == [4, 3, 2]  # type: ignore[attr-defined]
    rest = log.read(ListCases(limit=3, before=first.next_before))  # type: ignore[attr-defined]
    assert [case.number for case in rest.cases] == [1]  # type: ignore[attr-defined]
    assert rest.next_before is None  # type: ignore[attr-defined]
    of_user = log.read(ListCases(user="71", limit=3))  # type: ignore[arg-type]
    assert [case.number for case in of_user.cases] == [4, 3, 1]  # type: ignore[attr-defined]
    assert of_user.next_before is None  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    ("request_", "code"),
    [
        (GetCase(number=1), 404),  # type: ignore[arg-type]
        (GetCase(number=0), 404),  # type: ignore[arg-type]
        (GetCase(number=2**70), 404),  # type: ignore[arg-type]
        (ListCases(limit=0), 422),
        (ListCases(limit=201), 422),
        (ListCases(before=-1), 422),  # type: ignore[arg-type]
        (SkipParkedInput(actor=OPERATOR, sequence=Sequence(1), reason="x"), 405),
    ],
)
def test_requests_that_cannot_be_answered_say_why(request_: Any, code: int) -> None:
    with pytest.raises(ServiceError) as caught:
        Log().read(request_)
    assert caught.value.code == code


def test_the_status_of_a_guild_that_is_not_here_is_not_found() -> None:
    log = Log()
    log.engine.drop(GUILD)
    with pytest.raises(ServiceError) as caught:
        log.read(GetGuildStatus())
    assert caught.value.code == 404


def test_the_status_counts_what_waits() -> None:
    log = Log({"mod_log_channel": "4000"})
    log.post("@here @everyone")
    status = log.status()
    assert (status.name, status.pod, status.epoch, status.applied) == (
        "Gardeners",
        "p",
        1,
        log.sequence,
    )
    assert (status.cases, status.outbox_pending, status.facts_unpublished) == (1, 2, 4)


def test_numbers_are_each_guilds_own() -> None:
    log = Log()
    other = Log(guild="2000", database=log.database)  # type: ignore[arg-type]
    for each in (log, other):
        each.post("@here free", author=snowflake(T0 - 10**11))
        assert [case.number for case in each.cases()] == [1]
