"""A guild's rows as a file, and into another database: for followers, moves and restores.

A snapshot is a pod's database that holds one guild; a restored replica is one that holds many.
Both are read by `RowSource`. What is taken in equals what was there: `dump.canonical_dump` is the
same before and after, at the checkpoint that lies in the rows themselves.

An import comes in batches of bounded size, so that the thread which applies inputs is never held
for long. The guild's row in ``guilds`` comes last: until then the database knows no such guild,
and an import that never ended is found by `unfinished_imports`, to be dropped.

Fails with `RowsRefused` when the rows are newer than this code or the file is not what it should
be, with `UnknownGuild` when the guild is not in it; `sqlite3.Error` means the disk.
"""

import sqlite3
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any, Final, Self

import msgspec
from sqlite_utils import Database

from components.gateway.engine.errors import RowsRefused, UnknownGuild
from components.gateway.engine.inputs import ENGINE_VERSION
from components.gateway.engine.pod_tables import (
    COMPLETE,
    IMPORTING,
    complete_mark,
    drop_meta,
    get_meta,
    park,
    put_meta,
)
from components.gateway.engine.schema import GUILD_TABLES, drop_guild, migrations
from contracts.ids import Epoch, Generation, GuildId, Sequence

BATCH_ROWS: Final = 1_000
"""Rows of one batch; 3 to 15 ms, measured with the widest tables."""
SMALL_PAGES: Final = 1024
"""Bytes. A guild has some 25 tables and indexes, most of them nearly empty."""

_TABLES: Final = (*(name for name in GUILD_TABLES if name != "guilds"), "guilds")

_GUILDS: Final = "SELECT guild_id, generation, sequence, epoch, engine_version FROM main.guilds"


class GuildRows(msgspec.Struct, frozen=True, kw_only=True):
    """What a file holds of a guild."""

    guild: GuildId
    generation: Generation
    sequence: Sequence
    epoch: Epoch
    engine_version: int
    schema_version: int
    complete: Sequence
    """Stream sequence up to which the rows are complete; at least ``sequence``."""


class Batch(msgspec.Struct, frozen=True, kw_only=True):
    """Some rows of a guild. Batches are written in order, each in the caller's transaction."""

    rows_of: GuildRows
    inserts: list[tuple[str, list[tuple[Any, ...]]]]
    parked: tuple[Sequence, str] | None
    first: bool
    last: bool

    def write(self, database: sqlite3.Connection) -> None:
        """The first batch drops what the database has of the guild, the last makes it known."""
        guild = self.rows_of.guild
        if self.first:
            drop_guild(database, guild)
            put_meta(database, f"{IMPORTING}.{guild}", str(self.rows_of.sequence))
        for insert, rows in self.inserts:
            database.executemany(insert, rows)
        if self.last:
            if self.parked is not None:
                park(database, guild, *self.parked)
            put_meta(database, f"{COMPLETE}.{guild}", str(self.rows_of.complete))
            drop_meta(database, f"{IMPORTING}.{guild}")


class RowSource:
    """A snapshot or a restored replica, opened for reading. Close it, or use ``with``.

    The file is ours alone: rows of an older schema are migrated in it. May be used by one thread
    at a time, whichever."""

    def __init__(self, path: Path) -> None:
        self._database = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
        try:
            self.schema_version = _migrate(self._database)
        except BaseException:
            self._database.close()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the file."""
        self._database.close()

    def guilds(self) -> dict[GuildId, GuildRows]:
        """Every guild that is wholly here."""
        return _guilds(self._database, self.schema_version)

    def note(self, key: str) -> str | None:
        """What the pod noted for itself."""
        return get_meta(self._database, key)

    def batches(self, guild: GuildId, batch_rows: int = BATCH_ROWS) -> Iterator[Batch]:
        """The guild's rows. Raises `UnknownGuild`, and `RowsRefused` when the guild's log has
        asked for a newer engine than this."""
        known = self.guilds_row(guild)
        if known.engine_version > ENGINE_VERSION:
            raise RowsRefused(
                f"guild {guild} needs engine version {known.engine_version}, this is version"
                f" {ENGINE_VERSION}: update this pod first"
            )
        parked = self._database.execute(
            "SELECT sequence, reason FROM parked WHERE guild_id = ?", (guild,)
        ).fetchone()
        inserts: list[tuple[str, list[tuple[Any, ...]]]] = []
        room = batch_rows
        first = True
        for insert, rows in self._reads(guild, batch_rows):
            if len(rows) > room:
                yield Batch(rows_of=known, inserts=inserts, parked=None, first=first, last=False)
                inserts, room, first = [], batch_rows, False
            inserts.append((insert, rows))
            room -= len(rows)
        yield Batch(rows_of=known, inserts=inserts, parked=parked, first=first, last=True)

    def guilds_row(self, guild: GuildId) -> GuildRows:
        """What is here of one guild. Raises `UnknownGuild`."""
        found = _guilds(self._database, self.schema_version, guild).get(guild)
        if found is None:
            raise UnknownGuild(guild)
        return found

    def _reads(self, guild: GuildId, at_most: int) -> Iterator[tuple[str, list[tuple[Any, ...]]]]:
        for table in _TABLES:
            columns = _columns(self._database, table)
            names = ", ".join(columns)
            marks = ", ".join("?" for _ in columns)
            insert = f"INSERT INTO {table} ({names}) VALUES ({marks})"  # noqa: S608 our own names
            read = self._database.execute(
                f"SELECT {names} FROM {table} WHERE guild_id = ?",  # noqa: S608 our own names
                (guild,),
            )
            while rows := read.fetchmany(at_most):
                yield insert, rows


def export_guild(database: Path, guild: GuildId, to: Path) -> GuildRows:
    """Copy the guild's rows, as they are committed at this moment, into a new file.

    It reads through a connection of its own and so holds up nobody; the checkpoint in the rows
    says which moment it was. Raises `UnknownGuild`; nothing is left at ``to`` then.
    """
    to.write_bytes(_empty())
    try:
        copy = sqlite3.connect(to, isolation_level=None, uri=True)
        try:
            return _copy(copy, database, guild)
        finally:
            copy.close()
    except BaseException:
        to.unlink()
        raise


def import_guild(database: sqlite3.Connection, source: RowSource, guild: GuildId) -> GuildRows:
    """Take the guild in, replacing what is here of it, all in the caller's transaction."""
    for batch in source.batches(guild):
        batch.write(database)
    return source.guilds_row(guild)


def unfinished_imports(database: sqlite3.Connection) -> list[GuildId]:
    """Guilds whose import has begun and not ended: `Engine.drop` them before anything else."""
    return [
        GuildId(key.partition(".")[2])
        for (key,) in database.execute(
            "SELECT key FROM pod_meta WHERE key LIKE ?", (f"{IMPORTING}.%",)
        )
    ]


@cache
def _empty() -> bytes:
    """A database without rows: applying migrations takes longer than copying a small guild."""
    database = sqlite3.connect(":memory:", isolation_level=None)
    database.execute(f"PRAGMA page_size = {SMALL_PAGES}")
    migrations.apply(Database(database))
    content = database.serialize()
    database.close()
    return content


def _copy(copy: sqlite3.Connection, database: Path, guild: GuildId) -> GuildRows:
    copy.execute("PRAGMA synchronous = OFF")  # it is read at once, or not at all
    copy.execute("PRAGMA journal_mode = OFF")
    copy.execute("ATTACH ? AS pod", (f"{database.absolute().as_uri()}?mode=ro",))
    copy.execute("BEGIN")
    try:
        for table in _TABLES:
            names = ", ".join(_columns(copy, table))
            copy.execute(
                f"INSERT INTO main.{table} ({names})"  # noqa: S608 our own names
                f" SELECT {names} FROM pod.{table} WHERE guild_id = ?",
                (guild,),
            )
        copy.execute(
            "INSERT INTO main.parked SELECT * FROM pod.parked WHERE guild_id = ?", (guild,)
        )
        copy.execute(
            "INSERT INTO main.pod_meta SELECT ?1, coalesce("
            " (SELECT value FROM pod.pod_meta WHERE key = ?1 || '.' || ?2),"
            " (SELECT value FROM pod.pod_meta WHERE key = ?1), '0')",
            (COMPLETE, guild),
        )
    finally:
        copy.execute("COMMIT")
    found = _guilds(copy, _schema_version(copy)).get(guild)
    if found is None:
        raise UnknownGuild(guild)
    return found


def _guilds(
    database: sqlite3.Connection, schema_version: int, only: GuildId | None = None
) -> dict[GuildId, GuildRows]:
    rows = (
        database.execute(f"{_GUILDS} ORDER BY guild_id")
        if only is None
        else database.execute(f"{_GUILDS} WHERE guild_id = ?", (only,))
    )
    return {
        guild: GuildRows(
            guild=guild,
            generation=generation,
            sequence=sequence,
            epoch=epoch,
            engine_version=engine_version,
            schema_version=schema_version,
            complete=max(sequence, complete_mark(database, guild)),
        )
        for guild, generation, sequence, epoch, engine_version in rows.fetchall()
    }


def _migrate(database: sqlite3.Connection) -> int:
    """Bring a file that is ours alone up to date; the schema version it had."""
    try:
        version = _schema_version(database)
        known = {migration.name for migration in migrations._migrations}
        newer = [
            name
            for (name,) in database.execute(
                "SELECT name FROM _sqlite_migrations WHERE migration_set = ?", (migrations.name,)
            )
            if name not in known
        ]
        if newer:
            raise RowsRefused(
                f"the rows have schema {version} ({', '.join(newer)}), which this code does not"
                " know: update this pod first"
            )
        migrations.apply(Database(database))
    except sqlite3.DatabaseError as error:
        raise RowsRefused(f"this is no database of a pod: {error}") from error
    return version


def _schema_version(database: sqlite3.Connection) -> int:
    row = database.execute(
        "SELECT count(*) FROM main._sqlite_migrations WHERE migration_set = ?", (migrations.name,)
    ).fetchone()
    return int(row[0])


def _columns(database: sqlite3.Connection, table: str) -> list[str]:
    return [
        name
        for (name,) in database.execute(
            "SELECT name FROM pragma_table_info(?, 'main') ORDER BY cid", (table,)
        )
    ]
