"""Rows of numbered cases as `CaseView`."""

import sqlite3
from typing import Any, Final

import msgspec

from contracts.facts import SignalScore
from contracts.ids import CaseNumber, GuildId, UserId
from contracts.requests import CaseList, CaseView

_SELECT: Final = (
    "SELECT c.number, c.user_id, c.username, c.action, c.status, c.moderator_kind, c.moderator,"
    " c.reason, c.error, c.opened_ms, c.until_ms, c.channel_id, c.message_id, c.tier, c.score,"
    " c.signals, c.source_guild, nullif(t.thread_id, '') FROM cases c LEFT JOIN member_threads t"
    " ON t.guild_id = c.guild_id AND t.user_id = c.user_id WHERE c.guild_id = ?"
)


def find_case(database: sqlite3.Connection, guild: GuildId, number: CaseNumber) -> CaseView | None:
    """The case; None when the guild has no such number."""
    row = database.execute(f"{_SELECT} AND c.number = ?", (guild, number)).fetchone()
    return None if row is None else _view(guild, row)


def list_cases(
    database: sqlite3.Connection,
    guild: GuildId,
    *,
    user: UserId | None,
    before: CaseNumber | None,
    limit: int,
) -> CaseList:
    """Cases, newest first."""
    query, parameters = _SELECT, [guild, *([user] if user is not None else [])]
    if user is not None:
        query += " AND c.user_id = ?"
    rows = database.execute(
        f"{query} AND c.number < ? ORDER BY c.number DESC LIMIT ?",
        (*parameters, before if before is not None else 2**63 - 1, limit + 1),
    ).fetchall()
    cases = [_view(guild, row) for row in rows[:limit]]
    return CaseList(cases=cases, next_before=cases[-1].number if len(rows) > limit else None)


def _view(guild: GuildId, row: tuple[Any, ...]) -> CaseView:
    return CaseView(
        guild=guild,
        number=row[0],
        user=row[1],
        username=row[2],
        action=row[3],
        status=row[4],
        moderator_kind=row[5],
        moderator=row[6],
        reason=row[7],
        error=row[8],
        opened_ms=row[9],
        until_ms=row[10],
        channel=row[11],
        message=row[12],
        tier=row[13],
        score=row[14],
        signals=msgspec.json.decode(row[15], type=list[SignalScore]),
        source_guild=row[16],
        thread=row[17],
    )
