"""What PostgreSQL does for a statement, by its own account."""

import json
from typing import Any

import asyncpg

from components.config import schema
from components.config.statements import LAST_EPOCHS
from tests.support.postgres import RunningPostgres

GUILDS = 100
FILL = """
INSERT INTO ownership_history (guild, epoch, pod, incarnation, cause, changed_by, at, took_ms)
SELECT guild, epoch, 'gateway-0', 'created-1', 'moved', 'config-0', now(), nullif(guild % 3, 0)
FROM generate_series(1, $1::int) guild, generate_series(1, 100 + guild % 3) epoch
"""


def rows_read(plan: dict[str, Any]) -> float:
    """Rows of tables that the plan has looked at."""
    read = sum(rows_read(part) for part in plan.get("Plans", ()))
    if "Relation Name" in plan:
        left_out = plan.get("Rows Removed by Filter", 0)
        read += (plan["Actual Rows"] + left_out) * plan["Actual Loops"]
    return read


async def test_the_last_epochs_are_read_without_the_history_before_them(
    postgres_server: RunningPostgres,
) -> None:
    """It has a deadline, so a long history would make it fail for ever. The plan is made once a
    connection, so also from what is known of an empty table."""
    connection = await asyncpg.connect(await postgres_server.new_database())
    try:
        await schema.migrate(connection)
        await connection.execute(f"PREPARE last_epochs AS {LAST_EPOCHS}")
        assert await connection.fetch("EXECUTE last_epochs") == []
        await connection.execute(FILL, GUILDS)
        rows = await connection.fetch("EXECUTE last_epochs")
        assert sorted(map(tuple, rows)) == [
            (guild, 100 + guild % 3, guild % 3 == 0) for guild in range(1, GUILDS + 1)
        ]
        words = await connection.fetchval("EXPLAIN (ANALYZE, FORMAT JSON) EXECUTE last_epochs")
        # One look finds no more guilds, and the mean of all of them is rounded.
        assert rows_read(json.loads(words)[0]["Plan"]) <= GUILDS + 1
    finally:
        await connection.close()
