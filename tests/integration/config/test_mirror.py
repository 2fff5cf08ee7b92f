"""Bucket ``intent`` against PostgreSQL, while operators go on."""

import asyncio

from components.bus.buckets import Bucket
from components.bus.connection import Bus
from components.config.database import Database
from components.config.mirror import Mirror
from contracts import storage
from tests.support.nats import RunningNats
from tests.support.postgres import RunningPostgres

KEY = "pod.gateway-0"


class Meanwhile(Database):
    """PostgreSQL; between its answer and the next step an operator drains a pod."""

    bus: Bus

    async def intents(self) -> dict[str, str | None]:
        wanted = await super().intents()
        await self.intend(KEY, "drained", "an operator")
        await Bucket(self.bus, storage.INTENT).put(KEY, b"drained")
        return wanted


async def test_what_is_wanted_while_both_are_compared_is_not_undone(
    nats_server: RunningNats, postgres_server: RunningPostgres
) -> None:
    bus = await nats_server.connect("config")
    database = Meanwhile(await postgres_server.new_database())
    database.bus = bus
    running = asyncio.create_task(database.run())
    try:
        async with asyncio.timeout(10):
            while not database.up:
                await asyncio.sleep(0.02)
        await database.intend(KEY, None, "an operator")  # it was drained and undrained before
        await Mirror(bus, database).compare()
        entry = await Bucket(bus, storage.INTENT).get(KEY)
        assert entry is not None
        assert entry.value == b"drained"
    finally:
        running.cancel()
        await asyncio.wait([running])
