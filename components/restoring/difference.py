"""What differs between a guild then and now, and the rows that would put *then* back.

The settings in force are compared field by field; of the other parts every row by its key. A row
that came into being since is shown, and stays whatever is put back. Pure, but for reading.
"""

import sqlite3
from collections.abc import Iterator
from typing import Any, Final, Literal

import msgspec

from components.gateway.engine.policies.restore import TABLES_OF, THREAD_OPEN
from components.gateway.engine.settings_store import settings_view
from components.gateway.engine.table_rows import table_of
from contracts.ids import GuildId
from contracts.inputs import Actor
from contracts.message import encode
from contracts.requests import RestoredRow, RestorePart
from contracts.settings import GuildSettings

Row = dict[str, str | int | None]

PARTS: Final[tuple[RestorePart, ...]] = ("settings", "cases", "reports")
HIDDEN: Final = frozenset({"sequence", "evidence", "signals", "text_hash"})
"""Columns that say little to a person."""


class Parts(msgspec.Struct, frozen=True, kw_only=True):
    """The parts of a guild's state that can be put back."""

    settings: GuildSettings
    rows: dict[str, dict[tuple[str | int, ...], Row]]
    """By table, by key."""


class Change(msgspec.Struct, frozen=True, kw_only=True):
    """A row that differs, or a field of the settings."""

    part: RestorePart
    table: str
    key: tuple[str | int, ...]
    """Of settings: the path of the field."""
    kind: Literal["changed", "gone", "new"]
    """``gone``: it was there then and is not now; ``new``: the other way round."""
    then: Any = None
    now: Any = None

    @property
    def stays(self) -> bool:
        """Putting the part back does not touch it: it is new, or was half made then."""
        if self.kind == "new":
            return True
        return self.table == "member_threads" and self.then["state"] != THREAD_OPEN


def parts_of(database: sqlite3.Connection, guild: GuildId) -> Parts:
    """The parts as the database has them."""
    rows: dict[str, dict[tuple[str | int, ...], Row]] = {}
    for part in PARTS[1:]:
        for name in TABLES_OF[part]:
            table = table_of(database, name)
            names = ", ".join(column.name for column in table.columns)
            found = database.execute(
                f"SELECT {names} FROM {name} WHERE guild_id = ?",  # noqa: S608 our own names
                (guild,),
            )
            rows[name] = {table.key_of(row): table.named(row) for row in found}
    return Parts(settings=settings_view(database, guild).settings, rows=rows)


def difference(then: Parts, now: Parts) -> list[Change]:
    """What differs, part by part."""
    found = list(_fields(msgspec.to_builtins(then.settings), msgspec.to_builtins(now.settings), ()))
    for part in PARTS[1:]:
        for name in TABLES_OF[part]:
            before, after = then.rows[name], now.rows[name]
            for key in sorted({**before, **after}):
                was, is_ = before.get(key), after.get(key)
                if was == is_:
                    continue
                kind: Literal["changed", "gone", "new"] = "changed"
                if was is None or is_ is None:
                    kind = "new" if was is None else "gone"
                found.append(Change(part=part, table=name, key=key, kind=kind, then=was, now=is_))
    return found


def rows_for(
    then: Parts, changes: list[Change], parts: list[RestorePart], actor: Actor
) -> list[RestoredRow]:
    """The rows that put these parts back as they were: those that the difference shows, no more."""
    found = []
    chosen = [change for change in changes if change.part in parts and not change.stays]
    if any(change.part == "settings" for change in chosen):
        document: Row = {
            "version": 0,  # it gets the next one
            "document": encode(then.settings).decode(),
            "changed_ms": 0,
            "changed_by": encode(actor).decode(),
            "changed": "[]",
        }
        found.append(RestoredRow(table="settings", values=document))
    found += [
        RestoredRow(table=change.table, values=change.then)
        for change in chosen
        if change.part != "settings"
    ]
    return found


def columns_that_differ(change: Change) -> list[tuple[str, Any, Any]]:
    """(column, then, now) of a row that changed, as far as they say something to a person."""
    if change.kind != "changed" or change.part == "settings":
        return []
    return [
        (name, value, change.now[name])
        for name, value in change.then.items()
        if value != change.now[name] and name not in HIDDEN
    ]


def _fields(then: Any, now: Any, path: tuple[str, ...]) -> Iterator[Change]:
    if isinstance(then, dict) and isinstance(now, dict):
        for name in then:
            yield from _fields(then[name], now[name], (*path, name))
    elif then != now:
        yield Change(
            part="settings",
            table="settings",
            key=(".".join(path),),
            kind="changed",
            then=then,
            now=now,
        )
