"""Then against now, and the rows that put then back, with the engine on both sides."""

from components.cli import restore_text
from components.gateway.engine.policies.restore import TABLES_OF
from components.restoring.difference import PARTS, Change, difference, parts_of, rows_for
from components.restoring.putting_back import PIECE_BYTES, pieces_of
from contracts.message import encode
from contracts.requests import RestoredRow
from tests.unit.gateway.engine.support import GUILD, MOD_LOG, OPERATOR, T0, Log, snowflake

SPAM = "free nitro claim gift reward @everyone"


def busy_log() -> Log:
    """Two cases with reports and threads."""
    log = Log({"mod_log_channel": MOD_LOG, "spam": {"timeout_s": 600}})
    for number in range(2):
        log.post(SPAM, author=snowflake(T0 - 1000 * number), number=number + 1)
        while waiting := log.pending():
            log.settle(waiting[0], message_id=snowflake(T0, 100 + log.sequence))
    return log


def put_back(log: Log, rows: list[RestoredRow], parts: list[str]) -> None:
    actor = {"kind": OPERATOR.kind, "id": OPERATOR.id}
    pieces = list(pieces_of(rows))
    named = {"actor": actor, "restore": "r"}
    log.command("restore.begin", {**named, "at_ms": T0, "parts": parts, "pieces": len(pieces)})
    for number, piece in enumerate(pieces, 1):
        listed = [{"table": row.table, "values": row.values} for row in piece]
        log.command("restore.piece", {**named, "number": number, "rows": listed})
    reply = log.command("restore.close", named).reply
    assert reply is not None
    assert reply.error is None, reply.error


def test_equal_states_have_no_difference() -> None:
    log = busy_log()
    then = parts_of(log.database, GUILD)
    assert difference(then, parts_of(log.database, GUILD)) == []
    assert "no difference" in restore_text.difference([])


def test_every_table_of_every_part_is_compared() -> None:
    parts = parts_of(busy_log().database, GUILD)
    assert set(parts.rows) == {name for part in PARTS[1:] for name in TABLES_OF[part]}
    assert all(parts.rows.values())


def test_what_was_changed_lost_and_added_is_told_apart_and_put_back_exactly() -> None:
    log = busy_log()
    then = parts_of(log.database, GUILD)
    log.database.execute("UPDATE cases SET reason = 'spoilt' WHERE number = 1")
    log.database.execute("DELETE FROM cases WHERE number = 2")
    log.database.execute("DELETE FROM reports")
    log.put_settings({"mod_log_channel": MOD_LOG, "spam": {"timeout_s": 60}})
    log.post(SPAM, author=snowflake(T0 - 9_000), number=8)
    changes = difference(then, parts_of(log.database, GUILD))
    told = {(change.table, change.key, change.kind) for change in changes}
    assert ("cases", (1,), "changed") in told
    assert ("cases", (2,), "gone") in told
    assert ("cases", (3,), "new") in told
    assert ("settings", ("spam.timeout_s",), "changed") in told
    text = restore_text.difference(changes)
    assert "cases: 1 changed since, 1 gone since, 1 came since (they stay)" in text
    assert "case 1 reason" in text
    rows = rows_for(then, changes, ["settings", "cases"], OPERATOR)
    assert {row.table for row in rows} == {"settings", "cases"}
    put_back(log, rows, ["settings", "cases"])
    now = parts_of(log.database, GUILD)
    assert now.settings == then.settings
    left = difference(then, now)
    assert {(c.table, c.kind) for c in left if c.part == "cases"} == {("cases", "new")}
    assert [c for c in left if c.table == "reports" and c.kind == "gone"], "not asked for"
    put_back_reports = rows_for(then, left, ["reports"], OPERATOR)
    assert {row.table for row in put_back_reports} <= {"reports", "member_threads"}


def test_default_settings_are_put_back_where_there_were_none_then() -> None:
    log = Log()
    then = parts_of(log.database, GUILD)
    log.put_settings({"spam": {"timeout_s": 60}})
    changes = difference(then, parts_of(log.database, GUILD))
    put_back(log, rows_for(then, changes, ["settings"], OPERATOR), ["settings"])
    assert parts_of(log.database, GUILD).settings == then.settings


def test_a_thread_that_was_half_made_then_stays_as_it_is() -> None:
    starting = {"user_id": "5", "state": "starting"}
    change = Change(part="reports", table="member_threads", key=("5",), kind="gone", then=starting)
    assert change.stays


def test_pieces_fit_into_the_log_and_leave_nothing_out() -> None:
    rows = [
        RestoredRow(table="cases", values={"reason": "x" * 40_000, "number": n}) for n in range(20)
    ]
    pieces = list(pieces_of(rows))
    assert [row for piece in pieces for row in piece] == rows
    assert all(len(encode(piece)) <= PIECE_BYTES * 1.1 for piece in pieces)
    assert len(pieces) > 1
    assert list(pieces_of([])) == []
