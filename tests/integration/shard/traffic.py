"""Members who post, and whether what they posted is on the logs."""

import asyncio

from components.bus.buckets import Bucket
from components.bus.connection import Bus
from components.simulator.client import GuildInfo, SimulatorControl
from contracts import storage
from contracts.ids import GuildId
from contracts.message import decode
from contracts.records import RegisteredGuild
from tests.integration.shard.replicas import chain_breaks, dispatches_of, message_ids, until


async def registered(bus: Bus) -> dict[str, RegisteredGuild]:
    entries = await Bucket(bus, storage.REGISTRY).snapshot()
    return {key: decode(entry.value or b"", RegisteredGuild) for key, entry in entries.items()}


async def guilds_known(bus: Bus, guilds: list[GuildInfo]) -> None:
    async def known() -> bool:
        return set(await registered(bus)) >= {str(guild.id) for guild in guilds}

    await until(known)


async def post(
    control: SimulatorControl, guilds: list[GuildInfo], count: int, pause_s: float
) -> dict[int, list[int]]:
    """Messages over all guilds; returns their ids by guild."""
    posted: dict[int, list[int]] = {guild.id: [] for guild in guilds}
    for number in range(count):
        guild = guilds[number % len(guilds)]
        channel = next(iter(guild.channels.values()))
        author = guild.members[number % len(guild.members)].id
        posted[guild.id].append(await control.post(channel, author, f"message {number}"))
        await asyncio.sleep(pause_s)
    return posted


async def landed(bus: Bus, posted: dict[int, list[int]], timeout_s: float = 30.0) -> None:
    """Every message is on its guild's log once, in order, with a whole chain."""

    async def complete() -> bool:
        for guild, ids in posted.items():
            found = message_ids(await dispatches_of(bus, GuildId(str(guild))))
            if not set(ids) <= set(found):
                return False
        return True

    await until(complete, timeout_s)
    for guild, ids in posted.items():
        dispatches = await dispatches_of(bus, GuildId(str(guild)))
        assert message_ids(dispatches) == ids
        assert chain_breaks(dispatches) == []


async def sessions_of(control: SimulatorControl) -> set[str]:
    return {session["id"] for session in await control.sessions()}
