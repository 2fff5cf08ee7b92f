"""What this pod knows of the stream: its bounds, and up to where each guild's rows are complete.

The mark "complete up to G" is kept in the database after every comparison of all logs' ends in
which every guild of the database was complete. It lets a guild that was quiet for longer than the
stream holds be opened, and an older restore be refused (design.md, "Holes are seen"). A guild
whose rows are here without being ours keeps the mark it had, in a row of its own; so does one
whose rows have just come, until it is as complete as the others, and one that is parked, until it
goes on: what it waits for is missing in its own rows alone.

Every mark is a *beat*: a number that grows. What was committed before a beat is in every copy of
the database that holds the beat, so a copy can be judged by it (`PodLease.backed_up_beat`).
"""

import sqlite3
from collections.abc import Callable

from components.bus import stream
from components.bus.connection import Bus
from components.gateway.engine.engine import Engine
from components.gateway.engine.pod_tables import BEAT, COMPLETE, complete_mark, get_meta, put_meta
from components.gateway.shell.applier import Applier
from components.gateway.shell.holes import LogState
from components.gateway.shell.shared import Shared
from contracts import storage, subjects
from contracts.ids import GuildId, Sequence


class Logbook:
    """Bounds of INPUTS and the pod's marks. Raises `BusError`."""

    def __init__(self, bus: Bus, applier: Applier) -> None:
        self._bus = bus
        self._applier = applier
        self._bounds = Shared(lambda: stream.bounds(bus, storage.INPUTS))
        self._begun = 0
        self.beat = 0
        """The last beat: a number that is committed with every mark."""
        self.mark = Sequence(0)
        """Up to where all guilds were complete at that beat."""
        self.on_beat: Callable[[int, Sequence], None] = lambda beat, mark: None
        """Hears of a beat after its commit, with the mark."""

    @property
    def next_beat(self) -> int:
        """The first beat that is committed after everything that is committed now."""
        return self._begun + 1

    async def load(self) -> None:
        """Read what an earlier process has committed."""
        kept = await self._applier.on_database(lambda database: get_meta(database, BEAT))
        self._begun = self.beat = int(kept or 0)
        mark = await self._applier.on_database(lambda database: get_meta(database, COMPLETE))
        self.mark = Sequence(int(mark or 0))

    async def state(self, guild: GuildId, *, with_first: bool) -> LogState:
        """The stream now and, if asked for, the guild's first message on it."""
        bounds = await self._bounds.read()
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

    async def last(self, guild: GuildId) -> Sequence:
        """The end of the guild's log, from the stream's leader; 0 when it is empty."""
        message = await stream.last_of_subject(self._bus, storage.INPUTS, subjects.inputs(guild))
        return message.sequence if message is not None else Sequence(0)

    async def begin(self, guild: GuildId, generation: str) -> None:
        """The guild's first row. Nothing of it is complete, whatever the pod's mark says."""

        def first(engine: Engine) -> None:
            engine.create(guild, generation)

        await self._applier.write(first)
        await self._applier.on_database(
            lambda database: put_meta(database, f"{COMPLETE}.{guild}", "0"), writes=True
        )

    async def note(self, complete: dict[GuildId, Sequence], ours: set[GuildId]) -> None:
        """After a comparison: guilds that are complete, up to where; ``ours``: all whose log is
        being applied."""
        self._begun += 1
        beat = self._begun

        def write(database: sqlite3.Connection) -> Sequence:
            put_meta(database, BEAT, str(beat))
            return _note(database, complete, ours)

        mark = await self._applier.on_database(write, writes=True)
        self.beat, self.mark = max(self.beat, beat), mark
        self.on_beat(beat, mark)


def _note(
    database: sqlite3.Connection, complete: dict[GuildId, Sequence], ours: set[GuildId]
) -> Sequence:
    mark = int(get_meta(database, COMPLETE) or 0)
    here = [guild for (guild,) in database.execute("SELECT guild_id FROM guilds")]
    apart = {
        key.partition(".")[2]
        for (key,) in database.execute(
            "SELECT key FROM pod_meta WHERE key LIKE ?", (f"{COMPLETE}.%",)
        )
    }
    parked = {guild for (guild,) in database.execute("SELECT guild_id FROM parked")}
    reached: list[int] = []
    whole = True
    for guild in here:
        if guild in parked:
            if guild not in apart:
                put_meta(database, f"{COMPLETE}.{guild}", str(mark))
        elif guild in complete and (guild not in apart or complete[guild] >= mark):
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
        mark = min(reached)
        put_meta(database, COMPLETE, str(mark))
    return Sequence(mark)
