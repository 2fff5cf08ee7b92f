"""Nothing is recognised when it comes again: not by the stream (whose window is next to nothing),
not by the engine."""

import sqlite3
from typing import Any

from components.chaos.inside.control import IS_GATEWAY, REPLICA

SHORTEST_NS = 100_000_000
"""The server's least window for duplicates."""


def install() -> None:
    """Shrink the stream's window where it is made, and let the engine forget."""
    if REPLICA == "streams":
        from contracts import storage

        inputs_stream = storage.inputs_stream

        def forgetful() -> dict[str, Any]:
            return {**inputs_stream(), "duplicate_window": SHORTEST_NS}

        storage.inputs_stream = forgetful
    if IS_GATEWAY:
        from components.gateway.engine import applied_ids

        note = applied_ids.note_applied

        def note_again(database: sqlite3.Connection, guild: str, name: str, sequence: int) -> None:
            key = (guild, name)
            database.execute("DELETE FROM applied_ids WHERE guild_id = ? AND id = ?", key)
            note(database, guild, name, sequence)  # type: ignore[arg-type]

        applied_ids.is_applied = lambda *_: False
        applied_ids.note_applied = note_again  # type: ignore[assignment]
