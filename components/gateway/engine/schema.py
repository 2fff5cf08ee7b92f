"""The tables of a pod's database, and the one way to open it.

Every table in `GUILD_TABLES` carries ``guild_id`` first in its primary key, so a guild's rows lie
together and dropping, dumping or copying a guild is one statement a table. Pod-level tables are in
`pod_tables`. A table that grows with traffic says at its definition what bounds it.

Fails with `sqlite3.Error` when the file is not a database or cannot be written.
"""

import sqlite3
from pathlib import Path
from typing import Final

from sqlite_utils import Database, Migrations

from components.gateway.engine.pod_tables import POD_TABLES, forget_guild
from contracts.ids import GuildId

GUILD_TABLES: Final[dict[str, str]] = {
    "guilds": """
        guild_id TEXT NOT NULL, generation TEXT NOT NULL, sequence INTEGER NOT NULL DEFAULT 0,
        time_ms INTEGER NOT NULL DEFAULT 0, epoch INTEGER NOT NULL DEFAULT 0,
        engine_version INTEGER NOT NULL DEFAULT 1, chain_breaks INTEGER NOT NULL DEFAULT 0,
        ids_applied INTEGER NOT NULL DEFAULT 0, replies_kept INTEGER NOT NULL DEFAULT 0,
        cases INTEGER NOT NULL DEFAULT 0, quarantined INTEGER NOT NULL DEFAULT 0,
        facts_sequence INTEGER NOT NULL DEFAULT 0, facts_index INTEGER NOT NULL DEFAULT -1,
        name TEXT NOT NULL DEFAULT '', owner_id TEXT NOT NULL DEFAULT '',
        bot_user_id TEXT NOT NULL DEFAULT '', application_id TEXT NOT NULL DEFAULT '',
        PRIMARY KEY (guild_id)""",
    # the newest 16 (sessions.py)
    "sessions": """
        guild_id TEXT NOT NULL, session TEXT NOT NULL, state TEXT NOT NULL,
        last_sequence INTEGER NOT NULL, last_part INTEGER NOT NULL, first_seen INTEGER NOT NULL,
        PRIMARY KEY (guild_id, session)""",
    # the newest 10,000 (applied_ids.py)
    "applied_ids": """
        guild_id TEXT NOT NULL, id TEXT NOT NULL, position INTEGER NOT NULL,
        sequence INTEGER NOT NULL, PRIMARY KEY (guild_id, id)""",
    "outbox": """
        guild_id TEXT NOT NULL, sequence INTEGER NOT NULL, idx INTEGER NOT NULL,
        kind TEXT NOT NULL, lane TEXT NOT NULL, payload BLOB NOT NULL, asked_ms INTEGER NOT NULL,
        expires_ms INTEGER NOT NULL, traceparent TEXT NOT NULL, state TEXT NOT NULL,
        error TEXT NOT NULL DEFAULT '', policy TEXT NOT NULL, note BLOB NOT NULL,
        PRIMARY KEY (guild_id, sequence, idx)""",
    # until published
    "facts": """
        guild_id TEXT NOT NULL, sequence INTEGER NOT NULL, idx INTEGER NOT NULL,
        type TEXT NOT NULL, data BLOB NOT NULL, time_ms INTEGER NOT NULL, subject TEXT NOT NULL,
        traceparent TEXT NOT NULL, PRIMARY KEY (guild_id, sequence, idx)""",
    "timers": """
        guild_id TEXT NOT NULL, timer TEXT NOT NULL, armed_by INTEGER NOT NULL,
        due_ms INTEGER NOT NULL, PRIMARY KEY (guild_id, timer)""",
    # the newest 1,000
    "quarantine": """
        guild_id TEXT NOT NULL, sequence INTEGER NOT NULL, kind TEXT NOT NULL,
        reason TEXT NOT NULL, at_ms INTEGER NOT NULL, PRIMARY KEY (guild_id, sequence)""",
    # the newest 1,000
    "command_replies": """
        guild_id TEXT NOT NULL, request_id TEXT NOT NULL, position INTEGER NOT NULL,
        body BLOB NOT NULL, error BLOB NOT NULL, PRIMARY KEY (guild_id, request_id)""",
    # every version: who changed what
    "settings": """
        guild_id TEXT NOT NULL, version INTEGER NOT NULL, document BLOB NOT NULL,
        changed_ms INTEGER NOT NULL, changed_by BLOB NOT NULL, changed BLOB NOT NULL,
        PRIMARY KEY (guild_id, version)""",
    "roles": """
        guild_id TEXT NOT NULL, role_id TEXT NOT NULL, name TEXT NOT NULL,
        permissions TEXT NOT NULL, administrator INTEGER NOT NULL, position INTEGER NOT NULL,
        PRIMARY KEY (guild_id, role_id)""",
    "channels": """
        guild_id TEXT NOT NULL, channel_id TEXT NOT NULL, name TEXT NOT NULL,
        type INTEGER NOT NULL, parent_id TEXT NOT NULL, PRIMARY KEY (guild_id, channel_id)""",
    # the newest 1,000 (policies/cases.py)
    "audit_entries": """
        guild_id TEXT NOT NULL, entry_id TEXT NOT NULL, sequence INTEGER NOT NULL,
        PRIMARY KEY (guild_id, entry_id)""",
    # a day: effects in doubt are settled within minutes
    "own_messages": """
        guild_id TEXT NOT NULL, nonce TEXT NOT NULL, message_id TEXT NOT NULL,
        at_ms INTEGER NOT NULL, PRIMARY KEY (guild_id, nonce)""",
    # one row a member and kind
    "lifted": """
        guild_id TEXT NOT NULL, user_id TEXT NOT NULL, kind TEXT NOT NULL,
        sequence INTEGER NOT NULL, PRIMARY KEY (guild_id, user_id, kind)""",
    # 20 a member, for the retention that the settings name
    "spam_tracker": """
        guild_id TEXT NOT NULL, user_id TEXT NOT NULL, message_id TEXT NOT NULL,
        sequence INTEGER NOT NULL, noted_ms INTEGER NOT NULL, at_ms INTEGER NOT NULL,
        channel_id TEXT NOT NULL, key TEXT NOT NULL, content_hash TEXT NOT NULL,
        embeds_hash TEXT NOT NULL, username TEXT NOT NULL, joined_ms INTEGER,
        PRIMARY KEY (guild_id, user_id, message_id)""",
    "reports": """
        guild_id TEXT NOT NULL, message_id TEXT NOT NULL, reason TEXT NOT NULL,
        user_id TEXT NOT NULL, channel_id TEXT NOT NULL, sequence INTEGER NOT NULL,
        at_ms INTEGER NOT NULL, tier TEXT NOT NULL, score INTEGER NOT NULL,
        text_hash TEXT NOT NULL, log_channel_id TEXT NOT NULL DEFAULT '',
        log_message_id TEXT NOT NULL DEFAULT '', PRIMARY KEY (guild_id, message_id, reason)""",
    "member_threads": """
        guild_id TEXT NOT NULL, user_id TEXT NOT NULL, username TEXT NOT NULL,
        channel_id TEXT NOT NULL, state TEXT NOT NULL, starter_id TEXT NOT NULL,
        thread_id TEXT NOT NULL, PRIMARY KEY (guild_id, user_id)""",
    # while a thread is being made
    "thread_posts": """
        guild_id TEXT NOT NULL, user_id TEXT NOT NULL, sequence INTEGER NOT NULL,
        idx INTEGER NOT NULL, body BLOB NOT NULL, note BLOB NOT NULL,
        PRIMARY KEY (guild_id, user_id, sequence, idx)""",
    "cases": """
        guild_id TEXT NOT NULL, number INTEGER NOT NULL, user_id TEXT NOT NULL,
        username TEXT NOT NULL, action TEXT NOT NULL, status TEXT NOT NULL,
        moderator_kind TEXT NOT NULL, moderator TEXT, reason TEXT NOT NULL, error TEXT NOT NULL,
        opened_ms INTEGER NOT NULL, until_ms INTEGER, channel_id TEXT, message_id TEXT,
        tier TEXT, score INTEGER, signals BLOB NOT NULL, evidence BLOB NOT NULL,
        source_guild TEXT, sequence INTEGER NOT NULL, PRIMARY KEY (guild_id, number)""",
    # the newest 20 (policies/restore.py)
    "restores": """
        guild_id TEXT NOT NULL, restore_id TEXT NOT NULL, state TEXT NOT NULL,
        at_ms INTEGER NOT NULL, parts BLOB NOT NULL, pieces INTEGER NOT NULL,
        row_count INTEGER NOT NULL, actor BLOB NOT NULL, sequence INTEGER NOT NULL,
        PRIMARY KEY (guild_id, restore_id)""",
    # what one restore stages (``number`` is the piece), or the last one replaced (``number`` 0) and
    # the digest of what it left in its place
    "restore_rows": """
        guild_id TEXT NOT NULL, restore_id TEXT NOT NULL, number INTEGER NOT NULL,
        idx INTEGER NOT NULL, tab TEXT NOT NULL, key BLOB NOT NULL, row BLOB NOT NULL,
        put_sha256 TEXT NOT NULL DEFAULT '', PRIMARY KEY (guild_id, restore_id, number, idx)""",
}

INDEXES: Final = (
    "CREATE UNIQUE INDEX applied_ids_position ON applied_ids (guild_id, position)",
    "CREATE UNIQUE INDEX command_replies_position ON command_replies (guild_id, position)",
    "CREATE INDEX own_messages_age ON own_messages (guild_id, at_ms)",
    "CREATE INDEX reports_member ON reports (guild_id, user_id, reason)",
    "CREATE INDEX cases_member ON cases (guild_id, user_id, number)",
)

migrations = Migrations("engine")


@migrations()
def m001_first_tables(database: Database) -> None:
    """The first schema. WITHOUT ROWID: rows lie in the order of their key, a guild together."""
    for name, columns in GUILD_TABLES.items():
        database.execute(f"CREATE TABLE {name} ({columns}) STRICT, WITHOUT ROWID")
    for name, columns in POD_TABLES.items():
        database.execute(f"CREATE TABLE {name} ({columns}) STRICT, WITHOUT ROWID")
    for index in INDEXES:
        database.execute(index)


@migrations()
def m002_audit_entries(database: Database) -> None:
    """Entries of the audit log by their id. A new database has the table from the first step."""
    database.execute(
        f"CREATE TABLE IF NOT EXISTS audit_entries ({GUILD_TABLES['audit_entries']})"
        " STRICT, WITHOUT ROWID"
    )
    database.execute(
        "CREATE INDEX IF NOT EXISTS audit_entries_age ON audit_entries (guild_id, sequence)"
    )


@migrations()
def m003_restores(database: Database) -> None:
    """What is put back of an earlier state. A new database has the tables from the first step."""
    for name in ("restores", "restore_rows"):
        database.execute(
            f"CREATE TABLE IF NOT EXISTS {name} ({GUILD_TABLES[name]}) STRICT, WITHOUT ROWID"
        )


@migrations()
def m004_what_a_restore_put(database: Database) -> None:
    """An undo leaves what has changed since. What was put back before this step is not known: an
    undo leaves all of it. A new database has the column from the first step."""
    if "put_sha256" not in database["restore_rows"].columns_dict:
        database.execute("ALTER TABLE restore_rows ADD COLUMN put_sha256 TEXT NOT NULL DEFAULT ''")


def open_database(path: Path | str) -> sqlite3.Connection:
    """A migrated connection in autocommit mode: the caller begins and commits.

    WAL because Litestream reads beside us, and ``busy_timeout`` 10 s because it stops writers for
    its checkpoints; NORMAL because the log gives back what a power failure takes.
    """
    connection = sqlite3.connect(path, isolation_level=None, cached_statements=256)
    connection.execute("PRAGMA busy_timeout = 10000")
    connection.execute("PRAGMA journal_mode = WAL")
    connection.execute("PRAGMA synchronous = NORMAL")
    connection.execute("PRAGMA foreign_keys = OFF")
    migrations.apply(Database(connection))
    return connection


def drop_guild(database: sqlite3.Connection, guild: GuildId) -> None:
    """Remove every row of the guild, and what the pod noted about it."""
    for table in GUILD_TABLES:
        database.execute(f"DELETE FROM {table} WHERE guild_id = ?", (guild,))  # noqa: S608 our own
    forget_guild(database, guild)
