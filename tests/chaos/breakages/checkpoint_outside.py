"""The checkpoint is committed before the state it speaks of, in a transaction of its own."""

import sqlite3
import time
from typing import Any

from components.chaos.inside.control import IS_GATEWAY

BETWEEN_S = 0.05


def install() -> None:
    """Commit the checkpoints of a batch, then, a little later, its state."""
    if not IS_GATEWAY:
        return
    from components.gateway.engine.engine import Engine
    from components.gateway.engine.guild_row import Standing, find_standing
    from components.gateway.shell.applier import Applier

    run_batch = Applier._run_batch

    def checkpoint_first(
        self: Applier, database: sqlite3.Connection, engine: Engine, jobs: list[Any]
    ) -> None:
        ends = {job.item.guild: job.item.sequence for job in jobs if job.item is not None}
        for guild, sequence in ends.items():
            database.execute("UPDATE guilds SET sequence = ? WHERE guild_id = ?", (sequence, guild))
        if ends:
            time.sleep(BETWEEN_S)
        run_batch(self, database, engine, jobs)

    def whatever_is_next(self: Engine, item: Any) -> Standing:
        row = find_standing(self._database, item.guild)
        assert row is not None
        return row

    Applier._run_batch = checkpoint_first  # type: ignore[method-assign]
    Engine._next = whatever_is_next  # type: ignore[method-assign]
