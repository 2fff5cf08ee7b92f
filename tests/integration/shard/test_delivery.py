"""Every dispatch of a guild lands on its log once and in order, whatever dies meanwhile."""

import asyncio

import msgspec

from components.bus.buckets import Bucket
from components.bus.connection import Bus
from components.simulator.client import GuildInfo, SimulatorControl
from contracts import storage
from contracts.ids import GuildId
from contracts.message import decode
from contracts.records import RegisteredGuild
from tests.integration.shard.replicas import (
    Replicas,
    chain_breaks,
    dispatches_of,
    message_ids,
    until,
)
from tests.support.nats import RunningNats


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


async def test_every_message_lands_once_in_order_and_its_guild_is_registered(
    control: SimulatorControl, nats_server: RunningNats, replicas: Replicas
) -> None:
    bus = await nats_server.connect("gateway")
    config = await nats_server.connect("config")
    guilds = await control.create_guilds(count=5, member_count=3)
    await replicas.start()
    await guilds_known(config, guilds)

    await landed(bus, await post(control, guilds, 200, 0))

    first = (await dispatches_of(bus, GuildId(str(guilds[0].id))))[0]
    assert first.event == "GUILD_CREATE"
    snapshot = msgspec.json.decode(first.data)
    kept = {"id", "name", "owner_id", "unavailable", "roles", "channels", "modbot"}
    assert set(snapshot) == kept
    assert snapshot["modbot"]["application_id"] == "1000000000000000001"


async def test_killing_a_shard_in_a_stream_of_messages_loses_and_doubles_nothing(
    control: SimulatorControl, nats_server: RunningNats, replicas: Replicas
) -> None:
    bus = await nats_server.connect("gateway")
    config = await nats_server.connect("config")
    guilds = await control.create_guilds(count=5, member_count=3)
    replica = await replicas.start()
    await guilds_known(config, guilds)
    before = await sessions_of(control)

    posting = asyncio.create_task(post(control, guilds, 1000, 0.01))
    for _ in range(3):
        await asyncio.sleep(0.5)
        await replica.kill()
        replica = await replicas.start()
        await replica.said("RESUMED")
    posted = await posting

    await landed(bus, posted)
    assert await sessions_of(control) == before  # RESUMEd, not identified again


async def test_a_stop_and_a_start_resume_the_session_without_waiting_for_the_lease(
    control: SimulatorControl, nats_server: RunningNats, replicas: Replicas
) -> None:
    bus = await nats_server.connect("gateway")
    config = await nats_server.connect("config")
    guilds = await control.create_guilds(count=2, member_count=2)
    replica = await replicas.start(lease_ttl_s=60)
    await guilds_known(config, guilds)
    posted = await post(control, guilds, 20, 0)

    assert await replica.stop() == 0
    before = await sessions_of(control)
    posted = {
        guild: posted[guild] + ids for guild, ids in (await post(control, guilds, 20, 0)).items()
    }
    await replicas.start(lease_ttl_s=60)

    await landed(bus, posted)
    assert await sessions_of(control) == before


async def test_killing_nats_in_a_stream_of_messages_loses_and_doubles_nothing(
    control: SimulatorControl, nats_server: RunningNats, replicas: Replicas
) -> None:
    bus = await nats_server.connect("gateway")
    config = await nats_server.connect("config")
    guilds = await control.create_guilds(count=5, member_count=3)
    await replicas.start()
    await guilds_known(config, guilds)
    before = await sessions_of(control)

    posting = asyncio.create_task(post(control, guilds, 600, 0.005))
    for outage_s in (0.2, 3.0):  # the second one outlives the lease
        await asyncio.sleep(0.5)
        nats_server.kill()
        await asyncio.sleep(outage_s)
        await nats_server.start()
    posted = await posting

    await landed(bus, posted)
    assert await sessions_of(control) == before
    resumes = await control.record_all(["gateway"])
    assert [entry for entry in resumes if entry.data["what"] == "resume"] == []
