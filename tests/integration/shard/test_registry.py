"""What config hears of the guilds that exist, and hears again when NATS has lost it."""

import asyncio
import shutil

from components.bus.buckets import Bucket
from components.shard.registry import Registry
from contracts import storage
from contracts.ids import GuildId
from contracts.message import decode
from contracts.records import RegisteredGuild
from tests.support.nats import RunningNats

GUILD = RegisteredGuild(
    guild=GuildId("123456789012345678"), name="g", shard=0, present=True, seen_ms=1
)


async def test_a_guild_is_registered_again_after_nats_lost_its_disks(
    nats_server: RunningNats,
) -> None:
    bus = await nats_server.connect("shard")
    registry = Registry(bus)
    back = asyncio.Event()

    async def on_back() -> None:
        back.set()

    bus.on_connected(on_back)
    running = asyncio.create_task(registry.run())

    async def noted() -> RegisteredGuild | None:
        done = asyncio.Event()
        registry.note(GUILD, done.set)
        async with asyncio.timeout(10):
            await done.wait()
        entry = await Bucket(bus, storage.REGISTRY).get(GUILD.guild)
        return decode(entry.value, RegisteredGuild) if entry and entry.value else None

    try:
        assert await noted() == GUILD
        nats_server.kill()
        shutil.rmtree(nats_server.store)
        await nats_server.start()
        await nats_server.provision()
        async with asyncio.timeout(10):
            await back.wait()
        assert await noted() == GUILD
    finally:
        running.cancel()
