"""``restore.*``: rows of an earlier state put back at once, by somebody, and taken back again."""

import hashlib
from typing import Any

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from components.gateway.engine.model import Applied
from components.gateway.engine.policies import restore as restore_policy
from components.gateway.engine.policies.restore import KEPT, TABLES_OF
from components.gateway.engine.registry import find_policies
from components.gateway.engine.settings_store import settings_view
from components.gateway.engine.spam.tracker import SWEEP
from components.gateway.engine.table_rows import table_of
from contracts.errors import ErrorCode
from contracts.facts import GuildRestored, SettingsChanged
from contracts.inputs import Actor
from contracts.message import decode
from contracts.requests import GetDigest, GuildDigest, RestoreView
from contracts.settings import GuildSettings
from tests.unit.gateway.engine.support import GUILD, MOD_LOG, OPERATOR, T0, Log, facts, snowflake

SPAM = "free nitro claim gift reward @everyone"
USER = Actor(kind="user", id="5")


def busy_log() -> Log:
    """A guild with settings, cases, reports and threads; the last case is pending."""
    log = Log({"mod_log_channel": MOD_LOG, "spam": {"timeout_s": 600}})
    for number in range(3):
        log.post(SPAM, author=snowflake(T0 - 1000 * number), number=number + 1)
        while waiting := log.pending():
            log.settle(waiting[0], message_id=snowflake(T0, 100 + len(log.cases())))
    log.post(SPAM, author=snowflake(T0 - 5000), number=5)
    return log


def rows_of(log: Log, *parts: str) -> list[dict[str, Any]]:
    """The guild's rows of these parts, as a tool would read them from a rebuilt database."""
    found = []
    for part in parts:
        for name in TABLES_OF[part]:  # type: ignore[index]
            table = table_of(log.database, name)
            names = ", ".join(column.name for column in table.columns)
            order = " ORDER BY version DESC LIMIT 1" if name == "settings" else ""
            query = f"SELECT {names} FROM {name} WHERE guild_id = {GUILD}{order}"
            found += [{"table": name, "values": table.named(row)} for row in log.rows(query)]
    return found


def ask(log: Log, verb: str, actor: Actor = OPERATOR, **arguments: Any) -> Applied:
    named = {"actor": {"kind": actor.kind, "id": actor.id}, "restore": "r1", **arguments}
    return log.command(f"restore.{verb}", named, actor=actor)


def view(applied: Applied) -> RestoreView:
    assert applied.reply is not None
    assert applied.reply.error is None, applied.reply.error
    return decode(applied.reply.body, RestoreView)


def code(applied: Applied) -> int:
    assert applied.reply is not None
    assert applied.reply.error is not None
    return applied.reply.error.code


def put_back(log: Log, rows: list[dict[str, Any]], parts: list[str], name: str = "r1") -> Applied:
    pieces = [rows[at : at + 2] for at in range(0, len(rows), 2)]
    view(ask(log, "begin", restore=name, at_ms=T0, parts=parts, pieces=len(pieces)))
    for number, piece in enumerate(pieces, 1):
        view(ask(log, "piece", restore=name, number=number, rows=piece))
    return ask(log, "close", restore=name)


def state(log: Log) -> list[Any]:
    return [
        log.rows(f"SELECT * FROM {name} WHERE guild_id = {GUILD} ORDER BY 1, 2, 3")
        for name in ("cases", "reports", "member_threads")
    ]


def damage(log: Log) -> None:
    """What a restore is for: rows that somebody spoilt."""
    log.database.execute("UPDATE cases SET reason = 'spoilt'")
    log.database.execute("DELETE FROM reports")
    log.database.execute("DELETE FROM cases WHERE number = 2")


def test_rows_are_put_back_at_the_close_and_with_a_fact_of_who_did_it() -> None:
    log = busy_log()
    before = state(log)
    rows = rows_of(log, "cases", "reports")
    damage(log)
    closed = put_back(log, rows, ["cases", "reports"])
    assert state(log) == before
    seen = view(closed)
    assert (seen.state, seen.rows, seen.by) == ("in_force", len(rows), OPERATOR)
    (fact,) = facts(closed)
    assert isinstance(fact, GuildRestored)
    assert (fact.by, fact.rows, fact.undone, fact.at_ms) == ("ops", len(rows), False, T0)


def test_nothing_is_in_force_before_the_close() -> None:
    log = busy_log()
    rows = rows_of(log, "cases")
    damage(log)
    spoilt = state(log)
    ask(log, "begin", at_ms=T0, parts=["cases"], pieces=1)
    staged = view(ask(log, "piece", number=1, rows=rows))
    assert (staged.state, staged.received, staged.rows) == ("staged", 1, len(rows))
    assert state(log) == spoilt


def test_a_close_and_an_undo_take_as_few_statements_however_many_rows_there_are() -> None:
    statements = []
    for count in (1, 3):
        log = busy_log()
        rows = [row for row in rows_of(log, "cases") if row["values"]["status"] != "pending"]
        log.database.execute("UPDATE cases SET reason = 'spoilt'")
        ask(log, "begin", at_ms=T0, parts=["cases"], pieces=1)
        ask(log, "piece", number=1, rows=rows[:count])
        seen: list[str] = []
        log.database.set_trace_callback(seen.append)
        assert view(ask(log, "close")).rows == count
        assert view(ask(log, "undo")).rows == count
        log.database.set_trace_callback(None)
        statements.append(len(seen))
    assert statements[0] == statements[1]


@pytest.mark.parametrize(
    "reason", ["a\0b", "quotes \"' and \\", "line\nbreak", "äöü 🎉 \ud7ff", ""]
)
def test_every_text_comes_back_as_it_was(reason: str) -> None:
    log = busy_log()
    log.database.execute("UPDATE cases SET reason = ?", (reason,))
    rows, before = rows_of(log, "cases"), state(log)
    damage(log)
    spoilt = state(log)
    put_back(log, rows, ["cases"])
    assert state(log)[0] == before[0]
    assert view(ask(log, "undo")).left == 0
    assert state(log) == spoilt


def test_a_close_without_every_piece_changes_nothing() -> None:
    log = busy_log()
    rows = rows_of(log, "cases")
    damage(log)
    spoilt = state(log)
    ask(log, "begin", at_ms=T0, parts=["cases"], pieces=2)
    ask(log, "piece", number=2, rows=rows)
    assert code(ask(log, "close")) == ErrorCode.CONFLICT
    assert state(log) == spoilt
    ask(log, "piece", number=1, rows=[])
    assert view(ask(log, "close")).state == "in_force"


def test_a_piece_costs_as_much_however_much_is_staged() -> None:
    log = busy_log()
    rows = rows_of(log, "cases", "reports")
    ask(log, "begin", at_ms=T0, parts=["cases", "reports"], pieces=9)
    statements = []
    for number in range(1, 10):
        seen: list[str] = []
        log.database.set_trace_callback(seen.append)
        view(ask(log, "piece", number=number, rows=rows))
        log.database.set_trace_callback(None)
        statements.append(len(seen))
    assert len(set(statements)) == 1


@pytest.mark.parametrize(("limit", "at_most"), [("MAX_ROWS", 3), ("MAX_BYTES", 2_000)])
def test_more_than_one_input_may_put_in_force_is_refused_when_it_is_staged(
    limit: str, at_most: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    log = busy_log()
    rows = rows_of(log, "cases", "reports")
    monkeypatch.setattr(restore_policy, limit, at_most)
    ask(log, "begin", at_ms=T0, parts=["cases", "reports"], pieces=2)
    assert view(ask(log, "piece", number=1, rows=rows[:2])).rows == 2
    refused = ask(log, "piece", number=2, rows=rows[2:])
    assert code(refused) == ErrorCode.INVALID
    assert refused.reply is not None
    assert "choose fewer parts" in str(refused.reply.error)
    assert code(ask(log, "close")) == ErrorCode.CONFLICT
    assert view(ask(log, "piece", number=2, rows=rows[2:3])).rows == 3


def test_of_a_row_that_is_staged_twice_the_last_counts_and_an_undo_gives_back_todays() -> None:
    log = busy_log()
    (row, *_) = [row for row in rows_of(log, "cases") if row["values"]["status"] != "pending"]
    today = state(log)
    twice = [
        {**row, "values": {**row["values"], "reason": reason}} for reason in ("first", "second")
    ]
    assert view(put_back(log, twice, ["cases"])).rows == 1
    number = row["values"]["number"]
    assert log.rows(f"SELECT reason FROM cases WHERE number = {number}") == [("second",)]
    ask(log, "undo")
    assert state(log) == today


def test_an_undo_gives_back_what_was_replaced_and_takes_away_what_was_brought() -> None:
    log = busy_log()
    rows = rows_of(log, "cases", "reports", "settings")
    damage(log)
    log.put_settings({"spam": {"timeout_s": 60}})
    spoilt, version = state(log), log.rows("SELECT max(version) FROM settings")
    put_back(log, rows, ["cases", "reports", "settings"])
    assert state(log) != spoilt
    undone = ask(log, "undo")
    assert view(undone).state == "undone"
    assert state(log) == spoilt
    newest = log.rows("SELECT document FROM settings ORDER BY version DESC LIMIT 1")[0][0]
    assert msgspec.json.decode(newest)["spam"]["timeout_s"] == 60
    assert log.rows("SELECT max(version) FROM settings")[0][0] == version[0][0] + 2
    assert [fact.undone for fact in facts(undone) if isinstance(fact, GuildRestored)] == [True]


def test_an_undo_leaves_what_has_changed_since_the_restore_and_says_how_much() -> None:
    log = busy_log()
    rows = rows_of(log, "cases")
    damage(log)
    put_back(log, rows, ["cases"])
    log.database.execute("UPDATE cases SET reason = 'since' WHERE number = 1")
    log.database.execute("DELETE FROM cases WHERE number = 3")
    undone = ask(log, "undo")
    seen = view(undone)
    assert (seen.state, seen.rows, seen.left) == ("undone", len(rows) - 2, 2)
    (fact,) = facts(undone)
    assert isinstance(fact, GuildRestored)
    assert (fact.rows, fact.left) == (len(rows) - 2, 2)
    found = dict(log.rows("SELECT number, reason FROM cases"))
    assert found[1] == "since"
    assert 2 not in found, "the restore brought it and nobody touched it"
    assert 3 not in found, "it was deleted since"
    assert found[4] == "spoilt"


@pytest.mark.parametrize("first", [True, False], ids=["of none", "of others"])
def test_an_undo_leaves_settings_that_are_newer_than_the_restore(first: bool) -> None:
    log = Log() if first else busy_log()
    rows = rows_of(busy_log(), "settings")
    if not first:
        log.put_settings({"spam": {"timeout_s": 60}})
    put_back(log, rows, ["settings"])
    log.put_settings({"spam": {"timeout_s": 90}})
    seen = view(ask(log, "undo"))
    assert (seen.state, seen.rows, seen.left) == ("undone", 0, 1)
    newest = log.rows("SELECT document FROM settings ORDER BY version DESC LIMIT 1")[0][0]
    assert msgspec.json.decode(newest)["spam"]["timeout_s"] == 90


def test_an_undo_gives_back_that_there_were_no_settings() -> None:
    log = Log()
    put_back(log, rows_of(busy_log(), "settings"), ["settings"])
    seen = view(ask(log, "undo"))
    assert (seen.rows, seen.left) == (1, 0)
    assert settings_view(log.database, GUILD).settings == GuildSettings()


def test_an_undo_does_not_bring_back_a_promise_that_was_kept_since() -> None:
    log = busy_log()
    rows = rows_of(log, "cases")
    put_back(log, rows, ["cases"])
    while waiting := log.pending():
        log.settle(waiting[0], message_id=snowflake(T0, 500 + log.sequence))
    ask(log, "undo")
    assert log.rows("SELECT count(*) FROM cases WHERE status = 'pending'") == [(0,)]


def test_a_thread_that_was_being_made_then_is_left_as_it_is_today() -> None:
    log = busy_log()
    rows = [row for row in rows_of(log, "reports") if row["table"] == "member_threads"]
    making = [row for row in rows if row["values"]["state"] != "open"]
    assert making, "the log must leave a thread half made"
    while waiting := log.pending():
        log.settle(waiting[0], message_id=snowflake(T0, 500 + log.sequence))
    threads = state(log)[2]
    put_back(log, making, ["reports"])
    assert state(log)[2] == threads


def test_settings_come_back_as_a_new_version_with_its_author() -> None:
    log = busy_log()
    rows = rows_of(log, "settings")
    log.put_settings({})
    closed = put_back(log, rows, ["settings"])
    changed = [fact for fact in facts(closed) if isinstance(fact, SettingsChanged)]
    assert [(fact.settings_version, fact.by) for fact in changed] == [(3, "ops")]


def test_a_case_that_was_opened_since_stays_and_no_number_is_given_twice() -> None:
    log = busy_log()
    rows = rows_of(log, "cases")
    log.post(SPAM, author=snowflake(T0 - 9_000), number=8)
    numbers = log.rows("SELECT number FROM cases ORDER BY number")
    put_back(log, rows, ["cases"])
    assert log.rows("SELECT number FROM cases ORDER BY number") == numbers
    log.post(SPAM, author=snowflake(T0 - 11_000), number=9)
    assert log.rows("SELECT number FROM cases ORDER BY number")[-1][0] > numbers[-1][0]


def test_no_effect_is_asked_for_and_a_pending_case_that_is_gone_fails() -> None:
    log = busy_log()
    rows = [row for row in rows_of(log, "cases") if row["values"]["status"] == "pending"]
    assert rows, "the log must leave a case pending"
    number = rows[0]["values"]["number"]
    log.database.execute("DELETE FROM cases WHERE number = ?", (number,))
    closed = put_back(log, rows, ["cases"])
    assert closed.effects == ()
    assert log.rows(f"SELECT status FROM cases WHERE number = {number}") == [("failed",)]


def test_a_pending_case_keeps_the_outcome_that_it_has_today() -> None:
    log = busy_log()
    rows = [row for row in rows_of(log, "cases") if row["values"]["status"] == "pending"]
    number = rows[0]["values"]["number"]
    log.database.execute("UPDATE cases SET status = 'done' WHERE number = ?", (number,))
    put_back(log, rows, ["cases"])
    assert log.rows(f"SELECT status FROM cases WHERE number = {number}") == [("done",)]


def test_only_an_operator_may() -> None:
    log = busy_log()
    for verb, more in (
        ("begin", {"at_ms": T0, "parts": ["cases"], "pieces": 0}),
        ("piece", {"number": 1, "rows": []}),
        ("close", {}),
        ("undo", {}),
    ):
        assert code(ask(log, verb, USER, **more)) == ErrorCode.FORBIDDEN


@pytest.mark.parametrize(
    ("row", "why"),
    [
        ({"table": "outbox", "values": {}}, "not of the parts"),
        ({"table": "settings", "values": {}}, "not of the parts"),
        ({"table": "cases", "values": {"number": "1"}}, "64-bit integer"),
        ({"table": "cases", "values": {"number": 2**63 - 1, "nonsense": 1}}, "no column"),
        ({"table": "cases", "values": {"number": 1}}, "may not be null"),
        ({"table": "reports", "values": {"message_id": "1\0"}}, "the character 0"),
    ],
)
def test_rows_that_do_not_fit_are_refused_in_words(row: dict[str, Any], why: str) -> None:
    log = busy_log()
    ask(log, "begin", at_ms=T0, parts=["cases", "reports"], pieces=1)
    applied = ask(log, "piece", number=1, rows=[row])
    assert code(applied) == ErrorCode.INVALID
    assert applied.reply is not None
    assert applied.reply.error is not None
    assert why in applied.reply.error.description


@pytest.mark.parametrize(
    ("part", "table", "wrong", "why"),
    [
        ("cases", "cases", {"status": "bogus"}, "cases.status"),
        ("cases", "cases", {"action": ""}, "cases.action"),
        ("cases", "cases", {"moderator_kind": "nobody"}, "cases.moderator_kind"),
        ("cases", "cases", {"tier": "tall"}, "cases.tier"),
        ("cases", "cases", {"signals": "{}"}, "cases.signals"),
        ("cases", "cases", {"evidence": "no json"}, "cases.evidence"),
        ("cases", "cases", {"number": 2**63 - 1}, "there never was a case"),
        ("cases", "cases", {"number": 0}, "there never was a case"),
        ("reports", "reports", {"tier": "tall"}, "reports.tier"),
        ("reports", "member_threads", {"state": "gone"}, "member_threads.state"),
    ],
)
def test_values_on_which_a_reader_would_fail_are_refused(
    part: str, table: str, wrong: dict[str, Any], why: str
) -> None:
    log = busy_log()
    row = next(row for row in rows_of(log, part) if row["table"] == table)
    ask(log, "begin", at_ms=T0, parts=[part], pieces=1)
    spoilt = {"table": table, "values": {**row["values"], **wrong}}
    applied = ask(log, "piece", number=1, rows=[spoilt])
    assert code(applied) == ErrorCode.INVALID
    assert applied.reply is not None
    assert applied.reply.error is not None
    assert why in applied.reply.error.description
    assert view(ask(log, "piece", number=1, rows=[row])).received == 1


def test_settings_that_are_none_are_refused() -> None:
    log = busy_log()
    (row,) = rows_of(log, "settings")
    ask(log, "begin", at_ms=T0, parts=["settings"], pieces=1)
    for document in ('{"spam": {"timeout_s": "never"}}', "no json"):
        broken = {**row, "values": {**row["values"], "document": document}}
        assert code(ask(log, "piece", number=1, rows=[broken])) in (
            ErrorCode.INVALID,
            ErrorCode.MALFORMED,
        )


def test_a_new_begin_forgets_what_was_staged_and_a_name_is_used_once() -> None:
    log = busy_log()
    ask(log, "begin", at_ms=T0, parts=["cases"], pieces=1)
    ask(log, "begin", restore="r2", at_ms=T0, parts=["cases"], pieces=0)
    assert code(ask(log, "piece", number=1, rows=[])) == ErrorCode.NOT_FOUND
    assert view(ask(log, "close", restore="r2")).rows == 0
    again = ask(log, "begin", restore="r2", at_ms=T0, parts=["cases"], pieces=0)
    assert code(again) == ErrorCode.CONFLICT


def test_only_the_last_restore_can_be_undone() -> None:
    log = busy_log()
    rows = rows_of(log, "cases")
    put_back(log, rows, ["cases"], "r1")
    put_back(log, rows, ["cases"], "r2")
    assert code(ask(log, "undo", restore="r1")) == ErrorCode.CONFLICT
    assert view(ask(log, "undo", restore="r2")).state == "undone"
    assert code(ask(log, "undo", restore="r2")) == ErrorCode.CONFLICT


def test_a_bounded_number_of_restores_is_remembered() -> None:
    log = busy_log()
    for number in range(KEPT + 5):
        put_back(log, [], ["cases"], f"r{number}")
    assert log.rows("SELECT count(*) FROM restores")[0][0] <= KEPT + 1


@settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.lists(st.sampled_from(["begin", "one", "two", "close", "undo"]), max_size=12))
def test_whatever_is_sent_in_whatever_order_the_rows_are_those_of_before_or_of_after(
    steps: list[str],
) -> None:
    log = busy_log()
    rows = rows_of(log, "cases")
    damage(log)
    spoilt = state(log)
    whole = busy_log()
    damage(whole)
    put_back(whole, rows, ["cases"])
    begun = 0
    for step in steps:
        match step:
            case "begin":
                begun += 1
                ask(log, step, restore=f"r{begun}", at_ms=T0, parts=["cases"], pieces=2)
            case "one" | "two":
                half = rows[::2] if step == "one" else rows[1::2]
                number = 1 if step == "one" else 2
                ask(log, "piece", restore=f"r{begun}", number=number, rows=half)
            case _:
                ask(log, step, restore=f"r{begun}")
        assert state(log) in (spoilt, state(whole))


def test_no_part_that_is_put_back_has_a_timer_that_would_have_to_be_armed_again() -> None:
    """Whoever adds a timer says here whether a restore arms it."""
    assert set(find_policies().timers) == {SWEEP}
    swept = {"spam_tracker"}
    assert not swept & {name for names in TABLES_OF.values() for name in names}


def test_the_digest_is_that_of_the_canonical_dump() -> None:
    log = busy_log()
    digest = log.read(GetDigest())
    assert isinstance(digest, GuildDigest)
    assert digest.sha256 == hashlib.sha256(log.dump()).hexdigest()
    assert digest.rows["cases"] == log.rows("SELECT count(*) FROM cases")[0][0]
    log.post("hello", number=7)
    assert log.read(GetDigest()) != digest
