"""Ids of inputs that a guild has applied, beyond the server's window of duplicates.

Dispatches need none: their session's position is monotonic. The newest 10,000 are kept: with the
server's own window that covers any retry that still makes sense.
"""

import sqlite3
from typing import Final

from contracts.ids import GuildId, Sequence

KEPT_IDS: Final = 10_000


def is_applied(database: sqlite3.Connection, guild: GuildId, message_id: str) -> bool:
    """Whether an input with this id was applied."""
    row = database.execute(
        "SELECT 1 FROM applied_ids WHERE guild_id = ? AND id = ?", (guild, message_id)
    ).fetchone()
    return row is not None


def note_applied(
    database: sqlite3.Connection, guild: GuildId, message_id: str, sequence: Sequence
) -> None:
    """Remember the id and forget the oldest one beyond the limit."""
    (position,) = database.execute(
        "UPDATE guilds SET ids_applied = ids_applied + 1 WHERE guild_id = ? RETURNING ids_applied",
        (guild,),
    ).fetchone()
    database.execute(
        "INSERT INTO applied_ids VALUES (?, ?, ?, ?)", (guild, message_id, position, sequence)
    )
    database.execute(
        "DELETE FROM applied_ids WHERE guild_id = ? AND position <= ?", (guild, position - KEPT_IDS)
    )
