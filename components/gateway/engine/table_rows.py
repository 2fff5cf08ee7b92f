"""Rows from outside, checked against the table that they are for.

Rows go in and out by the thousand as one JSON document a statement: every step of a statement
gives other threads the interpreter, and a busy one among them makes each step a wait.

STRICT tables refuse a value of the wrong type with an error that would stop the pod, as a disk
error does; so it is refused here, in words.
"""

import sqlite3
from collections.abc import Iterable
from typing import Any, Final

import msgspec

from contracts.errors import ErrorCode, ServiceError
from contracts.ids import GuildId

Row = tuple[Any, ...]
"""Values in the order of the columns; a blob, which holds JSON, is text here."""
Key = tuple[Any, ...]

BIGGEST: Final = 2**63
ROWS: Final = "given (key, value) AS MATERIALIZED (SELECT key, value FROM json_each(?2))"
"""The rows of a document, each written out once and not for every column."""
NUL: Final = b"\\u0000"
"""The character 0 in a JSON document."""


class Column(msgspec.Struct, frozen=True):
    """A column of a table without its guild."""

    name: str
    type: str
    required: bool
    key: bool
    default: Any


class Table(msgspec.Struct, frozen=True):
    """A table of `schema.GUILD_TABLES`, without the column of the guild."""

    name: str
    columns: tuple[Column, ...]

    def checked(self, values: dict[str, Any]) -> Row:
        """The row with these values by column. Raises `ServiceError` (422)."""
        if unknown := sorted(set(values) - {column.name for column in self.columns}):
            raise _invalid(f"{self.name} has no column {unknown[0][:64]!r}")
        return tuple(
            self._value(column, values.get(column.name, column.default)) for column in self.columns
        )

    def named(self, row: Row) -> dict[str, str | int | None]:
        """The row's values by column, as `checked` takes them."""
        return {
            column.name: value.decode() if isinstance(value, bytes) else value
            for column, value in zip(self.columns, row, strict=True)
        }

    def key_of(self, row: Row) -> Key:
        """The row's primary key, without the guild."""
        return tuple(value for column, value in zip(self.columns, row, strict=True) if column.key)

    def find(
        self, database: sqlite3.Connection, guild: GuildId, keys: Iterable[Key]
    ) -> dict[Key, Row | None]:
        """The rows of these keys; None for one that is not there."""
        asked = list(keys)
        values = ", ".join(
            f"CAST(t.{column.name} AS TEXT)" if column.type == "BLOB" else f"t.{column.name}"
            for column in self.columns
        )
        same = "".join(
            f" AND t.{name} = k.value ->> {at}" for at, name in enumerate(self._key_names)
        )
        (found,) = database.execute(
            f"SELECT json_group_array(json_array({values}))"  # noqa: S608
            f" FROM json_each(?2) AS k CROSS JOIN {self.name} AS t ON t.guild_id = ?1{same}",
            (guild, msgspec.json.encode(asked).decode()),
        ).fetchone()
        rows = map(tuple, msgspec.json.decode(found))
        return {**dict.fromkeys(asked), **{self.key_of(row): row for row in rows}}

    def put(self, database: sqlite3.Connection, guild: GuildId, rows: Iterable[Row]) -> None:
        """Write the rows in place of those with their keys."""
        given = list(rows)
        document = msgspec.json.encode(given)
        if NUL in document:  # SQLite ends a text of a document there
            marks = ", ?" * len(self.columns)
            database.executemany(
                f"INSERT OR REPLACE INTO {self.name} VALUES (?{marks})",  # noqa: S608
                ((guild, *self._bound(row)) for row in given),
            )
            return
        values = ", ".join(
            f"CAST(value ->> {at} AS BLOB)" if column.type == "BLOB" else f"value ->> {at}"
            for at, column in enumerate(self.columns)
        )
        database.execute(
            f"WITH {ROWS} INSERT OR REPLACE INTO {self.name}"  # noqa: S608
            f" SELECT ?1, {values} FROM given",
            (guild, document.decode()),
        )

    def remove(self, database: sqlite3.Connection, guild: GuildId, keys: Iterable[Key]) -> None:
        """Delete the rows of these keys."""
        names = self._key_names
        values = ", ".join(f"value ->> {at}" for at in range(len(names)))
        database.execute(
            f"DELETE FROM {self.name} WHERE guild_id = ?1"  # noqa: S608
            f" AND ({', '.join(names)}) IN (SELECT {values} FROM json_each(?2))",
            (guild, msgspec.json.encode(list(keys)).decode()),
        )

    @property
    def _key_names(self) -> list[str]:
        return [column.name for column in self.columns if column.key]

    def _bound(self, row: Row) -> Row:
        return tuple(
            value.encode() if column.type == "BLOB" and isinstance(value, str) else value
            for column, value in zip(self.columns, row, strict=True)
        )

    def _value(self, column: Column, value: Any) -> Any:
        if value is None:
            if column.required:
                raise _invalid(f"{self.name}.{column.name} may not be null")
            return None
        if column.type == "INTEGER":
            if type(value) is not int or not -BIGGEST <= value < BIGGEST:
                raise _invalid(f"{self.name}.{column.name} must be a 64-bit integer")
            return value
        if not isinstance(value, str):
            raise _invalid(f"{self.name}.{column.name} must be text")
        if column.key and "\0" in value:
            raise _invalid(f"{self.name}.{column.name} may not hold the character 0")
        return value


def table_of(database: sqlite3.Connection, name: str) -> Table:
    """The table as the database has it; ``name`` is one of our own."""
    rows = database.execute(
        'SELECT name, type, "notnull", pk, dflt_value FROM pragma_table_info(?) ORDER BY cid',
        (name,),
    )
    columns = [
        Column(column, kind, bool(required), pk > 0, _default(kind, default))
        for column, kind, required, pk, default in rows
    ]
    return Table(name, tuple(column for column in columns if column.name != "guild_id"))


def _default(kind: str, expression: str | None) -> Any:
    """The value of a column's default, which is a literal in all our tables."""
    if expression is None:
        return None
    return int(expression) if kind == "INTEGER" else expression.strip("'")


def _invalid(words: str) -> ServiceError:
    return ServiceError(ErrorCode.INVALID, words)
