"""Looks at what guilds' logs begin with, read from the stream's leader, many at a time."""

import asyncio
from collections.abc import Sequence

from components.bus import stream
from components.bus.connection import Bus
from components.bus.errors import BusError
from components.config.world import LogFact
from components.process.clock import SteadyClock, steady_s
from contracts import storage, subjects
from contracts.ids import Generation, GuildId

AT_ONCE = 64
"""Reads in flight; one takes about 0.3 ms (facts.md), so more would only queue at the server."""


async def look(
    bus: Bus,
    guilds: Sequence[GuildId],
    known: dict[GuildId, LogFact],
    *,
    clock: SteadyClock = steady_s,
) -> None:
    """Put what each guild's log begins with into ``known``. Raises `BusError`s; what was read
    until then is kept."""
    # Read first: if the stream is made anew in between, its sequences meet an old generation,
    # fit no assignment, and are looked at again.
    generation = Generation((await stream.bounds(bus, storage.INPUTS)).generation)
    left = iter(guilds)
    failed: list[BusError] = []

    async def read() -> None:
        for guild in left:
            if failed:
                return
            now_s = clock()
            try:
                first = await stream.first_of_subject(bus, storage.INPUTS, subjects.inputs(guild))
            except BusError as error:
                failed.append(error)
                return
            before = known.get(guild)
            again = before is not None and before.first is None and first is None
            known[guild] = LogFact(
                first=first.sequence if first is not None else None,
                generation=generation,
                read_at_s=now_s,
                looks=before.looks + 1 if again and before is not None else 1,
            )

    async with asyncio.TaskGroup() as group:
        for _ in range(min(AT_ONCE, len(guilds))):
            group.create_task(read())
    if failed:
        raise failed[0]
