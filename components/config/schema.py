"""Applies the SQL files of ``migrations/`` that a database does not have yet, in order.

Everything happens in one transaction under an advisory lock: two replicas that start together
apply each file once, and a file that fails leaves nothing behind. Names that the table has and
the folder has not (a newer replica's) are left alone.
"""

import logging
from pathlib import Path

from asyncpg import Connection

log = logging.getLogger(__name__)

FOLDER = Path(__file__).with_name("migrations")
LOCK = 0x6D6F64626F74
"""The advisory lock's number: "modbot"."""


async def migrate(connection: Connection, folder: Path = FOLDER) -> list[str]:
    """Bring the database up to date; returns the names of the files that were applied. Raises
    `asyncpg.PostgresError` with the database's words when a file fails."""
    applied = []
    async with connection.transaction():
        await connection.execute("SELECT pg_advisory_xact_lock($1)", LOCK)
        await connection.execute(
            "CREATE TABLE IF NOT EXISTS schema_migrations "
            "(name text PRIMARY KEY, applied_at timestamptz NOT NULL DEFAULT now())"
        )
        rows = await connection.fetch("SELECT name FROM schema_migrations")
        present = {row["name"] for row in rows}
        for name, statements in _files(folder):
            if name in present:
                continue
            await connection.execute(statements)
            await connection.execute("INSERT INTO schema_migrations (name) VALUES ($1)", name)
            applied.append(name)
    if applied:
        log.info("applied migrations: %s", ", ".join(applied))
    return applied


def _files(folder: Path) -> list[tuple[str, str]]:
    return [(file.name, file.read_text("utf-8")) for file in sorted(folder.glob("*.sql"))]
