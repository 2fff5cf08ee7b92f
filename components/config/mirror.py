"""Keeps bucket ``intent`` equal to what operators want by PostgreSQL, while this replica leads.

PostgreSQL decides about every key that it knows, also one taken back; what only the bus knows
(PostgreSQL was made anew) is written to PostgreSQL. Moves and rebalances are the bus's alone."""

import asyncio
import logging
from contextlib import suppress

from components.bus.buckets import Bucket
from components.bus.connection import Bus
from components.bus.errors import BusError, WrongLastSequence
from components.config.database import Database, DatabaseAway
from contracts import storage

log = logging.getLogger(__name__)

EVERY_S = 30.0
AGAIN_S = 1.0


class Mirror:
    """The leader's comparison of both."""

    def __init__(self, bus: Bus, database: Database) -> None:
        self._bucket = Bucket(bus, storage.INTENT)
        self._database = database

    async def lead(self) -> None:
        """Compare until cancelled."""
        while True:
            pause_s = EVERY_S
            try:
                await self.compare()
            except (BusError, DatabaseAway) as error:
                log.debug("what operators want is compared later: %s", error)
                pause_s = AGAIN_S
            await asyncio.sleep(pause_s)

    async def compare(self) -> None:
        """Compare once. Raises `BusError` and `DatabaseAway`."""
        # In this order: operators' wishes are written to PostgreSQL first, so it has what the bus
        # shows, or newer. What is written to the bus meanwhile is not overwritten.
        shown = {key: entry for key, entry in (await self._bucket.snapshot()).items() if _ours(key)}
        wanted = await self._database.intents()
        for key, value in wanted.items():
            entry = shown.get(key)
            present = entry.value.decode() if entry is not None and entry.value else None
            if present == value:
                continue
            log.info("bucket intent is brought up to date: %s", key)
            with suppress(WrongLastSequence):
                if value is not None and entry is not None:
                    await self._bucket.replace(key, value.encode(), entry.revision)
                elif value is not None:
                    await self._bucket.create(key, value.encode())
                elif entry is not None:
                    await self._bucket.delete(key, entry.revision)
        for key in shown.keys() - wanted.keys():
            entry = shown[key]
            if entry.value is not None:
                await self._database.intend(key, entry.value.decode(), "bucket intent")


def _ours(key: str) -> bool:
    return key == "balance" or key.startswith(("pod.", "guild."))
