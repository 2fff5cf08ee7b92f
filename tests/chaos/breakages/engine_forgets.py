"""The engine does not know what it has applied. What it notes of it stays as it is."""

import sqlite3
from typing import Any

from components.chaos.inside.control import IS_GATEWAY
from tests.chaos.breakages import is_on

NAME = "engine_forgets"


def install() -> None:
    """Let the engine forget."""
    if not IS_GATEWAY:
        return
    from components.gateway.engine import applied_ids

    is_applied, note = applied_ids.is_applied, applied_ids.note_applied

    def forgotten(database: sqlite3.Connection, guild: Any, message_id: str) -> bool:
        return not is_on(NAME) and is_applied(database, guild, message_id)

    def note_once(database: sqlite3.Connection, guild: Any, message_id: str, sequence: Any) -> None:
        if not is_applied(database, guild, message_id):
            note(database, guild, message_id, sequence)

    applied_ids.is_applied = forgotten
    applied_ids.note_applied = note_once
