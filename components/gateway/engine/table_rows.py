"""Rows from outside, checked against the table that they are for.

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
Key = tuple[Any, ...]

BIGGEST: Final = 2**63


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
        """The row with these values by column, as SQLite takes them. Raises `ServiceError`
        (422)."""
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

    def row_of(self, values: list[str | int | None]) -> Row:
        """The row with these values in the order of the columns, which were checked before."""
        return tuple(
            value.encode() if column.type == "BLOB" and isinstance(value, str) else value
            for column, value in zip(self.columns, values, strict=True)
        )

    def key_of(self, row: Row) -> Key:
        """The row's primary key, without the guild."""
        return tuple(value for column, value in zip(self.columns, row, strict=True) if column.key)

    def find(
        self, database: sqlite3.Connection, guild: GuildId, keys: Iterable[Key]
    ) -> dict[Key, Row | None]:
        """The rows of these keys; None for one that is not there."""
        names = ", ".join(column.name for column in self.columns)
        query = f"SELECT {names} FROM {self.name} WHERE guild_id = ?{self._where}"  # noqa: S608
        return {key: database.execute(query, (guild, *key)).fetchone() for key in keys}

    def put(self, database: sqlite3.Connection, guild: GuildId, rows: Iterable[Row]) -> None:
        """Write the rows in place of those with their keys."""
        marks = ", ?" * len(self.columns)
        database.executemany(
            f"INSERT OR REPLACE INTO {self.name} VALUES (?{marks})",  # noqa: S608
            ((guild, *row) for row in rows),
        )

    def remove(self, database: sqlite3.Connection, guild: GuildId, keys: Iterable[Key]) -> None:
        """Delete the rows of these keys."""
        database.executemany(
            f"DELETE FROM {self.name} WHERE guild_id = ?{self._where}",  # noqa: S608
            ((guild, *key) for key in keys),
        )

    @property
    def _where(self) -> str:
        return "".join(f" AND {column.name} = ?" for column in self.columns if column.key)

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
        return value.encode() if column.type == "BLOB" else value


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
