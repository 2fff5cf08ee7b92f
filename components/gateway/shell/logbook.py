"""What this pod knows of the stream: its bounds, and up to where each guild's rows are complete.

The mark "complete up to G" is kept in the database after every comparison of all logs' ends in
which every guild of the database was complete. It lets a guild that was quiet for longer than the
stream holds be opened, and an older restore be refused (design.md, "Holes are seen"). A guild
whose rows are here without being ours keeps the mark it had, in a row of its own.
"""

import sqlite3

from components.bus import stream
from components.bus.connection import Bus
from components.gateway.engine.pod_tables import COMPLETE, complete_mark, get_meta, put_meta
from components.gateway.shell.applier import Applier
from components.gateway.shell.holes import LogState
from contracts import storage, subjects
from contracts.ids import GuildId, Sequence


class Logbook:
    """Bounds of INPUTS and the pod's marks. Raises `BusError`."""

    def __init__(self, bus: Bus, applier: Applier) -> None:
        self._bus = bus
        self._applier = applier

    async def state(self, guild: GuildId, *, with_first: bool) -> LogState:
        """The stream now and, if asked for, the guild's first message on it."""
        bounds = await stream.bounds(self._bus, storage.INPUTS)
        first: Sequence | None = None
        if with_first:
            message = await stream.first_of_subject(
                self._bus, storage.INPUTS, subjects.inputs(guild)
            )
            first = message.sequence if message is not None else None
        return LogState(bounds=bounds, first=first)

    async def complete_up_to(self, guild: GuildId) -> Sequence:
        """The stream sequence up to which the guild's rows are known to be complete."""
        return await self._applier.on_database(lambda database: complete_mark(database, guild))

    async def note(self, complete: dict[GuildId, Sequence], ours: set[GuildId]) -> None:
        """After a comparison: guilds that are complete, up to where; ``ours``: all assigned."""
        await self._applier.on_database(
            lambda database: _note(database, complete, ours), writes=True
        )


def _note(
    database: sqlite3.Connection, complete: dict[GuildId, Sequence], ours: set[GuildId]
) -> None:
    mark = int(get_meta(database, COMPLETE) or 0)
    here = [guild for (guild,) in database.execute("SELECT guild_id FROM guilds")]
    apart = {
        key.partition(".")[2]
        for (key,) in database.execute(
            "SELECT key FROM pod_meta WHERE key LIKE ?", (f"{COMPLETE}.%",)
        )
    }
    reached: list[int] = []
    whole = True
    for guild in here:
        if guild in complete:
            reached.append(complete[guild])
            if guild in apart:
                database.execute("DELETE FROM pod_meta WHERE key = ?", (f"{COMPLETE}.{guild}",))
        elif guild in apart:
            continue
        elif guild in ours:
            whole = False  # being opened: the mark waits for it
        else:
            put_meta(database, f"{COMPLETE}.{guild}", str(mark))
    if whole and reached and min(reached) > mark:
        put_meta(database, COMPLETE, str(min(reached)))
