"""The settings in force and their history."""

import sqlite3
from typing import Any

import msgspec

from contracts.ids import GuildId
from contracts.inputs import Actor
from contracts.message import decode
from contracts.requests import SettingsView
from contracts.settings import GuildSettings


def settings_view(database: sqlite3.Connection, guild: GuildId) -> SettingsView:
    """The settings in force, who made them and when; version 0 is the defaults."""
    row = database.execute(
        "SELECT version, document, changed_ms, changed_by FROM settings WHERE guild_id = ?"
        " ORDER BY version DESC LIMIT 1",
        (guild,),
    ).fetchone()
    if row is None:
        return SettingsView(version=0, settings=GuildSettings())
    version, document, changed_ms, changed_by = row
    return SettingsView(
        version=version,
        settings=msgspec.json.decode(document, type=GuildSettings),
        changed_ms=changed_ms,
        changed_by=decode(changed_by, Actor),
    )


def changed_paths(before: GuildSettings, after: GuildSettings) -> list[str]:
    """Paths of the fields that differ, in the order of the document, e.g. ``spam.timeout_s``."""
    found: list[str] = []
    _compare(msgspec.to_builtins(before), msgspec.to_builtins(after), "", found)
    return found


def _compare(before: Any, after: Any, path: str, found: list[str]) -> None:
    if isinstance(before, dict) and isinstance(after, dict):
        for name in before:
            _compare(before[name], after[name], f"{path}.{name}" if path else name, found)
    elif before != after:
        found.append(path)
