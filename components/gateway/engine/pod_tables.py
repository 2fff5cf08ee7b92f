"""What a pod knows for itself: never part of a guild's state, its dump or its replay."""

import sqlite3
from typing import Final

from contracts.ids import GuildId, Sequence

POD_TABLES: Final[dict[str, str]] = {
    "pod_meta": "key TEXT NOT NULL, value TEXT NOT NULL, PRIMARY KEY (key)",
    "parked": """
        guild_id TEXT NOT NULL, sequence INTEGER NOT NULL, reason TEXT NOT NULL,
        PRIMARY KEY (guild_id)""",
}

COMPLETE: Final = "complete"
"""Key of the stream sequence up to which all guilds here are complete; ``complete.<guild>``: of a
guild that has a mark of its own."""
BEAT: Final = "beat"
"""Key of a number that grows every few seconds: a copy of the database that holds it holds
everything committed before."""
IMPORTING: Final = "importing"
"""Key ``importing.<guild>``: the guild's rows are not all here yet (`transfer`)."""


def get_meta(database: sqlite3.Connection, key: str) -> str | None:
    """A value that this pod kept, e.g. which data directory this is."""
    row = database.execute("SELECT value FROM pod_meta WHERE key = ?", (key,)).fetchone()
    return row[0] if row else None


def put_meta(database: sqlite3.Connection, key: str, value: str) -> None:
    """Keep a value of the pod."""
    database.execute("INSERT OR REPLACE INTO pod_meta VALUES (?, ?)", (key, value))


def drop_meta(database: sqlite3.Connection, key: str) -> None:
    """Forget a value."""
    database.execute("DELETE FROM pod_meta WHERE key = ?", (key,))


def complete_mark(database: sqlite3.Connection, guild: GuildId) -> Sequence:
    """The stream sequence up to which the guild's rows are known to be complete."""
    own = get_meta(database, f"{COMPLETE}.{guild}")
    return Sequence(int(own or get_meta(database, COMPLETE) or 0))


def park(database: sqlite3.Connection, guild: GuildId, sequence: Sequence, reason: str) -> None:
    """The guild waits at ``sequence`` until an operator skips it."""
    database.execute("INSERT OR REPLACE INTO parked VALUES (?, ?, ?)", (guild, sequence, reason))


def unpark(database: sqlite3.Connection, guild: GuildId) -> None:
    """The guild goes on."""
    database.execute("DELETE FROM parked WHERE guild_id = ?", (guild,))


def forget_guild(database: sqlite3.Connection, guild: GuildId) -> None:
    """Drop everything that the pod noted about the guild."""
    unpark(database, guild)
    drop_meta(database, f"{COMPLETE}.{guild}")
    drop_meta(database, f"{IMPORTING}.{guild}")
