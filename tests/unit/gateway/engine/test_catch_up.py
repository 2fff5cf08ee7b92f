"""Inputs that the shard read over REST after a gap: taken once, judged by their own time."""

import sqlite3
from pathlib import Path
from typing import Any

import pytest

from components.gateway.engine.model import Effect, UndoQuestion
from components.gateway.engine.policies import cases
from components.gateway.engine.schema import open_database
from components.gateway.engine.spam.tracker import KEPT_MESSAGES
from contracts.ids import UserId
from tests.unit.gateway.engine.support import (
    ADMIN_ROLE,
    GUILD,
    MEMBER,
    T0,
    Log,
    message,
    signals,
    snapshot,
    snowflake,
    tier,
)

SPAM = "free nitro claim gift reward airdrop @everyone"
HOUR_MS = 3_600_000


def ban(entry: int = 77, **more: Any) -> dict[str, Any]:
    return {
        "id": snowflake(T0, entry),
        "guild_id": GUILD,
        "action_type": 22,
        "target_id": MEMBER,
        "user_id": "42",
        **more,
    }


def after_a_gap() -> Log:
    """A guild whose second session has just sent its snapshot."""
    log = Log()
    log.post("hello", number=99)
    log.now = T0 + HOUR_MS
    log.dispatch("GUILD_CREATE", snapshot(), session="s2", sequence=2)
    return log


def test_spam_in_the_gap_is_judged() -> None:
    log = after_a_gap()
    applied = log.catch_up("MESSAGE_CREATE", message(SPAM), session="s2", sequence=2)
    assert applied.status == "applied"
    assert tier(applied) is not None
    assert len(log.cases()) == 1


def test_an_exempt_members_message_in_the_gap_is_left_alone() -> None:
    log = after_a_gap()
    data = message(SPAM, roles=[ADMIN_ROLE])
    assert tier(log.catch_up("MESSAGE_CREATE", data, session="s2", sequence=2)) is None


def test_a_message_without_a_member_is_not_judged() -> None:
    log = after_a_gap()
    data = {name: value for name, value in message(SPAM).items() if name != "member"}
    assert tier(log.catch_up("MESSAGE_CREATE", data, session="s2", sequence=2)) is None


def test_the_sessions_chain_goes_on_as_if_nothing_had_been_read() -> None:
    log = after_a_gap()
    before = log.rows("SELECT * FROM sessions ORDER BY session")
    log.catch_up("MESSAGE_CREATE", message(number=7), session="s2", sequence=2)
    log.catch_up("MESSAGE_CREATE", {"guild_id": GUILD}, session="s2", sequence=2)
    assert log.rows("SELECT * FROM sessions ORDER BY session") == before
    live = log.dispatch("MESSAGE_CREATE", message(number=8), session="s2", sequence=5, previous=2)
    assert (live.status, live.alarm) == ("applied", "")


def test_what_was_read_for_a_session_that_is_not_current_is_ignored() -> None:
    log = after_a_gap()
    for session in ("s1", "s9"):
        applied = log.catch_up("MESSAGE_CREATE", message(SPAM), session=session)
        assert applied.status == "ignored"
    assert log.cases() == []


def test_only_what_can_be_read_afterwards_is_taken() -> None:
    log = after_a_gap()
    deleted = {"guild_id": GUILD, "role_id": ADMIN_ROLE}
    applied = log.catch_up("GUILD_ROLE_DELETE", deleted, session="s2", sequence=2)
    assert applied.status == "ignored"
    assert log.rows(f"SELECT 1 FROM roles WHERE role_id = '{ADMIN_ROLE}'") == [(1,)]


def test_a_foreign_guilds_message_is_quarantined_and_its_id_noted() -> None:
    log = after_a_gap()
    data = message(SPAM, guild="3333")
    assert log.catch_up("MESSAGE_CREATE", data, session="s2").status == "quarantined"
    assert log.catch_up("MESSAGE_CREATE", data, session="s2").status == "ignored"


@pytest.mark.parametrize("message_id", [None, ""])
def test_a_message_that_is_read_twice_has_one_verdict(message_id: str | None) -> None:
    log = after_a_gap()
    data = message(SPAM)
    for _ in range(2):
        log.catch_up("MESSAGE_CREATE", data, session="s2", message_id=message_id)
    assert len(log.cases()) == 1
    assert len(log.rows("SELECT 1 FROM reports")) == 1


def test_a_message_that_the_log_had_is_tracked_and_judged_once() -> None:
    log = Log()
    harmless, spam = message("hello", number=3), message(SPAM, number=4)
    for data in (harmless, spam):
        log.dispatch("MESSAGE_CREATE", data)
    tracked = log.rows("SELECT * FROM spam_tracker ORDER BY message_id")
    reported = log.rows("SELECT * FROM reports")
    for data in (harmless, spam):
        assert log.catch_up("MESSAGE_CREATE", data).effects == ()
    assert log.rows("SELECT * FROM spam_tracker ORDER BY message_id") == tracked
    assert log.rows("SELECT * FROM reports") == reported
    assert len(log.cases()) == 1


def test_a_message_that_is_dispatched_after_it_was_read_has_one_verdict() -> None:
    log = Log()
    log.catch_up("MESSAGE_CREATE", message(SPAM))
    assert log.dispatch("MESSAGE_CREATE", message(SPAM)).effects == ()
    assert len(log.cases()) == 1


def test_a_minute_of_history_read_at_once_is_not_rapid_fire() -> None:
    log = after_a_gap()
    for number in range(1, 11):
        data = message(f"words {number}", at=T0 + number * 20_000, number=number)
        applied = log.catch_up("MESSAGE_CREATE", data, session="s2", sequence=2)
        assert signals(applied) == {}
    assert log.cases() == []


def test_rapid_fire_in_the_gap_is_seen() -> None:
    log = Log({"spam": {"thresholds": {"low": 1}}})
    seen = [
        signals(log.catch_up("MESSAGE_CREATE", message(f"words {n}", at=T0 + n * 100, number=n)))
        for n in range(1, 11)
    ]
    assert "rapid_fire" in seen[-1]


def test_history_does_not_push_out_what_a_member_posted_since() -> None:
    log = Log()
    for number in range(KEPT_MESSAGES):
        log.post("now", at=T0 + HOUR_MS + number * 60_000, number=number)
    kept = log.rows("SELECT message_id FROM spam_tracker ORDER BY message_id")
    log.catch_up("MESSAGE_CREATE", message("then", at=T0))
    assert log.rows("SELECT message_id FROM spam_tracker ORDER BY message_id") == kept


def test_a_moderators_act_in_the_gap_is_one_case_however_often_it_is_heard() -> None:
    log = Log()
    log.catch_up("GUILD_AUDIT_LOG_ENTRY_CREATE", ban())
    log.dispatch("GUILD_AUDIT_LOG_ENTRY_CREATE", ban())
    log.catch_up("GUILD_AUDIT_LOG_ENTRY_CREATE", ban(), message_id="another")
    log.dispatch("GUILD_AUDIT_LOG_ENTRY_CREATE", ban(78))
    log.catch_up("GUILD_AUDIT_LOG_ENTRY_CREATE", ban(78))
    assert [case.action for case in log.cases()] == ["ban", "ban"]


def test_a_lift_in_the_gap_undoes_what_was_asked_for_before_it_and_nothing_since() -> None:
    log = Log({"spam": {"thresholds": {"low": 1, "medium": 2, "high": 3}}})
    for at, content in ((T0, SPAM), (T0 + HOUR_MS, f"{SPAM} more")):
        log.post(content, at=at)
    before, since = log.pending("member.timeout")
    lifted = {
        **ban(1, action_type=24, changes=[{"key": "communication_disabled_until"}]),
        "id": snowflake(T0 + HOUR_MS // 2),
    }
    log.catch_up("GUILD_AUDIT_LOG_ENTRY_CREATE", lifted)

    def undone(effect: Effect) -> bool:
        return log.engine.undone(
            UndoQuestion(
                guild=log.guild, kind=effect.kind, user=UserId(MEMBER), since=effect.sequence
            )
        )

    assert undone(before)
    assert not undone(since)


def test_known_audit_entries_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cases, "KEPT_ENTRIES", 3)
    log = Log()
    for entry in range(1, 8):
        log.dispatch("GUILD_AUDIT_LOG_ENTRY_CREATE", ban(entry))
    known = {entry for (entry,) in log.rows("SELECT entry_id FROM audit_entries")}
    assert known == {snowflake(T0, entry) for entry in (5, 6, 7)}


def test_a_database_from_before_gets_the_table(tmp_path: Path) -> None:
    path = tmp_path / "pod.db"
    open_database(path).close()
    with sqlite3.connect(path) as older:
        older.execute("DROP TABLE audit_entries")
        older.execute("DELETE FROM _sqlite_migrations WHERE name = 'm002_audit_entries'")
    older.close()
    migrated = open_database(path)
    assert migrated.execute("SELECT count(*) FROM audit_entries").fetchone() == (0,)
    migrated.close()
