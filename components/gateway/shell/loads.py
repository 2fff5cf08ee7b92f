"""What each guild costs this pod, for placement: bucket ``loads``, key: pod.

Inputs and time in the engine are counted by the applier; rows are counted now and then by a
connection of its own, which holds up nobody. Reports go out every few seconds and are told again
with the next one when the bus does not take them.
"""

import asyncio
import logging
import sqlite3
from collections.abc import Callable
from pathlib import Path
from typing import Final

from components.bus.buckets import Bucket
from components.bus.connection import Bus
from components.bus.errors import BusError
from components.gateway.engine.schema import GUILD_TABLES
from components.gateway.ownership.guild import Me
from components.gateway.shell.applier import Applier
from components.process.clock import steady_s, wall_ms
from contracts import storage
from contracts.ids import GuildId
from contracts.message import encode
from contracts.records import GuildLoad, PodLoads

log = logging.getLogger(__name__)

EVERY_S: Final = 10.0
COUNT_EVERY: Final = 6
"""Reports between two counts of rows."""
SMOOTHED: Final = 0.3
"""Weight of the last interval: the figures are those of about a minute (`GuildLoad`)."""


class Loads:
    """The reports of one pod; ``guilds`` gives those whose log is being applied."""

    def __init__(
        self,
        bus: Bus,
        me: Me,
        applier: Applier,
        database: Path,
        guilds: Callable[[], set[GuildId]],
        every_s: float = EVERY_S,
    ) -> None:
        self._bucket = Bucket(bus, storage.LOADS)
        self._me = me
        self._applier = applier
        self._database = database
        self._guilds = guilds
        self._every_s = every_s
        self._known: dict[GuildId, tuple[float, float]] = {}
        self._rows: dict[GuildId, int] = {}

    async def run(self) -> None:
        """Report until cancelled."""
        number, since_s = 0, steady_s()
        while True:
            await asyncio.sleep(self._every_s)
            if number % COUNT_EVERY == 0:
                await self._count_rows()
            number += 1
            since_s = await self._measure(since_s)
            report = PodLoads(
                pod=self._me.pod,
                incarnation=self._me.incarnation,
                at_ms=wall_ms(),
                guilds=self._loads(),
            )
            try:
                await self._bucket.put(self._me.pod, encode(report))
            except BusError as error:
                log.info("loads are told with the next report: %s", error)

    async def _measure(self, since_s: float) -> float:
        costs = await self._applier.costs()
        now_s = steady_s()
        took_s = max(0.001, now_s - since_s)
        for guild in self._guilds() | self._known.keys():
            inputs, spent_ns = costs.get(guild, (0, 0))
            rate, spent_ms = inputs / took_s, spent_ns / 1e6 / took_s
            known = self._known.get(guild)
            if known is not None:
                rate = known[0] + SMOOTHED * (rate - known[0])
                spent_ms = known[1] + SMOOTHED * (spent_ms - known[1])
            self._known[guild] = rate, spent_ms
        return now_s

    def _loads(self) -> list[GuildLoad]:
        here = self._guilds()
        self._known = {guild: cost for guild, cost in self._known.items() if guild in here}
        return [
            GuildLoad(
                guild=guild,
                events_per_s=round(rate, 3),
                rows=self._rows.get(guild, 0),
                engine_ms_per_s=round(spent_ms, 4),
            )
            for guild, (rate, spent_ms) in sorted(self._known.items())
        ]

    async def _count_rows(self) -> None:
        try:
            self._rows = await asyncio.to_thread(rows_of, self._database)
        except sqlite3.Error as error:
            log.warning("rows are counted later: %s", error)


def rows_of(path: Path) -> dict[GuildId, int]:
    """How many rows each guild has in a database, read through a connection of its own."""
    counts: dict[GuildId, int] = {}
    database = sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro", uri=True)
    try:
        for table in GUILD_TABLES:
            found = database.execute(
                f"SELECT guild_id, count(*) FROM {table} GROUP BY guild_id"  # noqa: S608 our own names
            )
            for guild, count in found:
                counts[guild] = counts.get(guild, 0) + count
    finally:
        database.close()
    return counts
