"""What each guild costs this pod, for placement: bucket ``loads``, key: pod.

Inputs and time in the engine are counted by the applier; rows are counted now and then by a
connection of its own, which holds up nobody. Reports go out every few seconds and are told again
with the next one when the bus does not take them. Figures are smoothed here and nowhere else, and
say how long they were measured: whoever reads a single report knows what there is to know.
"""

import asyncio
import logging
import sqlite3
from collections.abc import Callable, Mapping, Sequence, Set
from pathlib import Path
from typing import Final

import msgspec

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
SMOOTHED: Final = 0.15
"""Weight of the last interval. Of intervals of 10 s, as certain as a mean over 123 s, and 80 % of
a change is seen after 100 s."""


class Rate(msgspec.Struct, kw_only=True, gc=False):
    """What one guild cost a second."""

    intervals: int = 0
    inputs: float = 0.0
    spent_ms: float = 0.0
    chance: float = 0.0
    """Variance of ``inputs`` when they come by chance, as a share of their rate."""

    @property
    def over_s(self) -> float:
        """A plain mean over that time would be as certain."""
        return 1 / self.chance if self.chance > 0 else 0.0


class Rates:
    """What each guild costs, smoothed: a pure machine fed with what was counted.

    All intervals count alike until there are enough for smoothing. The interval in which a guild
    came does not count: it was here for a part of it, and caught up with its log.
    """

    def __init__(self) -> None:
        self._rates: dict[GuildId, Rate | None] = {}

    def interval(
        self, took_s: float, costs: Mapping[GuildId, Sequence[int]], here: Set[GuildId]
    ) -> None:
        """An interval has passed: inputs and nanoseconds of each guild, and who is here now."""
        self._rates = {guild: rate for guild, rate in self._rates.items() if guild in here}
        for guild in here:
            if guild not in self._rates:
                self._rates[guild] = None
                continue
            rate = self._rates[guild] or Rate()
            self._rates[guild] = rate
            inputs, spent_ns = costs.get(guild, (0, 0))
            rate.intervals += 1
            news = max(SMOOTHED, 1 / rate.intervals)
            rate.inputs += news * (inputs / took_s - rate.inputs)
            rate.spent_ms += news * (spent_ns / 1e6 / took_s - rate.spent_ms)
            rate.chance = (1 - news) ** 2 * rate.chance + news**2 / took_s

    def known(self) -> list[tuple[GuildId, Rate]]:
        """What has been measured, in the order of the guilds' ids."""
        return [(guild, rate) for guild, rate in sorted(self._rates.items()) if rate is not None]


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
        self._rates = Rates()
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
            if number == 1:
                continue  # nothing is measured yet, which is not the same as nothing to do
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
        self._rates.interval(max(0.001, now_s - since_s), costs, self._guilds())
        return now_s

    def _loads(self) -> list[GuildLoad]:
        return [
            GuildLoad(
                guild=guild,
                events_per_s=round(rate.inputs, 3),
                rows=self._rows.get(guild, 0),
                engine_ms_per_s=round(rate.spent_ms, 4),
                over_s=round(rate.over_s, 1),
            )
            for guild, rate in self._rates.known()
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
