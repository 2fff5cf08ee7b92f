"""Which gateway session speaks for a guild, and whether its chain of dispatches is whole.

A session becomes current by its GUILD_CREATE on the log; the one before it is retired and never
comes back, so a shard that wakes late with an old session harms nothing. Sessions that are not
current are remembered for their chain alone; the newest 16 are kept.
"""

import sqlite3
from typing import Final

import msgspec

from contracts.ids import GuildId, Sequence, SessionId

KEPT_SESSIONS: Final = 16


class SessionPosition(msgspec.Struct, frozen=True, kw_only=True):
    """What the session's dispatch is to this guild."""

    current: bool
    repeated: bool
    """The dispatch, or a later one of its session, was seen already."""
    broken: bool
    """A dispatch between the last one seen and this one is missing."""
    expected: int | None


def advance(
    database: sqlite3.Connection,
    guild: GuildId,
    session: SessionId,
    *,
    sequence: int,
    part: int,
    previous: int | None,
    opens: bool,
    at: Sequence,
) -> SessionPosition:
    """Note the dispatch; ``opens``: it is the session's GUILD_CREATE."""
    if previous is not None and 0 <= previous < sequence:
        # nearly all of them: the current session's next one, in one statement
        continued = database.execute(
            "UPDATE sessions SET last_sequence = ?, last_part = ?"
            " WHERE guild_id = ? AND session = ? AND state = 'current' AND last_sequence = ?",
            (sequence, part, guild, session, previous),
        )
        if continued.rowcount:
            return SessionPosition(current=True, repeated=False, broken=False, expected=previous)
    row = database.execute(
        "SELECT state, last_sequence, last_part FROM sessions WHERE guild_id = ? AND session = ?",
        (guild, session),
    ).fetchone()
    state, last, last_part = row if row is not None else ("seen", None, 0)
    if last is not None and (sequence, part) <= (last, last_part):
        return SessionPosition(
            current=state == "current", repeated=True, broken=False, expected=last
        )
    continues = part > 1 and last == sequence
    broken = previous is not None and previous != last and not continues
    if opens and state == "seen":
        database.execute(
            "UPDATE sessions SET state = 'retired' WHERE guild_id = ? AND state = 'current'",
            (guild,),
        )
        state = "current"
    if row is None:
        database.execute(
            "INSERT INTO sessions VALUES (?, ?, ?, ?, ?, ?)",
            (guild, session, state, sequence, part, at),
        )
        _forget_old(database, guild)
    else:
        database.execute(
            "UPDATE sessions SET state = ?, last_sequence = ?, last_part = ?"
            " WHERE guild_id = ? AND session = ?",
            (state, sequence, part, guild, session),
        )
    return SessionPosition(current=state == "current", repeated=False, broken=broken, expected=last)


def is_current(database: sqlite3.Connection, guild: GuildId, session: SessionId) -> bool:
    """Whether the session speaks for the guild now. Asked for what was read afterwards, which
    is no link of its chain."""
    row = database.execute(
        "SELECT 1 FROM sessions WHERE guild_id = ? AND session = ? AND state = 'current'",
        (guild, session),
    ).fetchone()
    return row is not None


def _forget_old(database: sqlite3.Connection, guild: GuildId) -> None:
    database.execute(
        "DELETE FROM sessions WHERE guild_id = ?1 AND state != 'current' AND session NOT IN ("
        " SELECT session FROM sessions WHERE guild_id = ?1 ORDER BY first_seen DESC, session"
        " LIMIT ?2)",
        (guild, KEPT_SESSIONS),
    )
