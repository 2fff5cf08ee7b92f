"""A guild's state as bytes that can be compared: the same log always gives the same dump."""

import hashlib
import sqlite3
from collections.abc import Iterator

import msgspec

from components.gateway.engine.schema import GUILD_TABLES
from contracts.ids import GuildId


def canonical_dump(database: sqlite3.Connection, guild: GuildId) -> bytes:
    """Every row of the guild as a JSON line ``[table, column…]``, in the order of the primary
    keys, which hold no two equal rows. Blobs (our own JSON) are written as text."""
    return b"".join(_lines(database, guild))


def dump_digest(database: sqlite3.Connection, guild: GuildId) -> str:
    """The SHA-256 of the canonical dump, which is never in memory as a whole."""
    digest = hashlib.sha256()
    for line in _lines(database, guild):
        digest.update(line)
    return digest.hexdigest()


def row_counts(database: sqlite3.Connection, guild: GuildId) -> dict[str, int]:
    """How many rows the guild has in each table that has some."""
    counts = {
        # our own names
        table: database.execute(
            f"SELECT count(*) FROM {table} WHERE guild_id = ?",  # noqa: S608
            (guild,),
        ).fetchone()[0]
        for table in sorted(GUILD_TABLES)
    }
    return {table: count for table, count in counts.items() if count}


def _lines(database: sqlite3.Connection, guild: GuildId) -> Iterator[bytes]:
    for table in sorted(GUILD_TABLES):
        keys = [
            name
            for (name,) in database.execute(
                "SELECT name FROM pragma_table_info(?) WHERE pk > 0 ORDER BY pk", (table,)
            )
        ]
        # table and columns come from the schema, not from input
        query = f"SELECT * FROM {table} WHERE guild_id = ? ORDER BY {', '.join(keys)}"  # noqa: S608
        for row in database.execute(query, (guild,)):
            values = [value.decode() if isinstance(value, bytes) else value for value in row]
            yield msgspec.json.encode([table, *values]) + b"\n"
