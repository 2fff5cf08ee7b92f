"""Every dispatch of a guild lands on its log once and in order, whatever dies meanwhile."""

import asyncio

import msgspec

from components.simulator.client import SimulatorControl
from contracts.ids import GuildId
from tests.integration.shard.replicas import Replicas, dispatches_of, log_of, until
from tests.integration.shard.traffic import guilds_known, landed, post, sessions_of
from tests.support.nats import RunningNats


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
    # Heartbeats come every 0.2 s, saves at most every 0.25 s: at some of these moments the last
    # heartbeat is younger than the last save, which costs events if it confirmed more than that.
    for alive_s in (0.40, 0.45, 0.65):
        await asyncio.sleep(alive_s)
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


async def test_nothing_is_confirmed_to_discord_while_nats_is_away(
    control: SimulatorControl, nats_server: RunningNats, replicas: Replicas
) -> None:
    bus = await nats_server.connect("gateway")
    config = await nats_server.connect("config")
    guilds = await control.create_guilds(count=2, member_count=2)
    await replicas.start()
    await guilds_known(config, guilds)
    first = await post(control, guilds, 10, 0)
    await landed(bus, first)

    nats_server.kill()
    [before] = await control.sessions()
    second = await post(control, guilds, 10, 0)
    since = (await control.record_all(["gateway"]))[-1].n
    beats: list[int] = []

    async def five_heartbeats() -> bool:
        found = await control.record_all(["gateway"], since)
        beats[:] = [entry.data["seq"] for entry in found if entry.data["what"] == "heartbeat"]
        return len(beats) >= 5

    await until(five_heartbeats)
    assert max(beats) <= before["seq"]
    await nats_server.start()
    await landed(bus, {guild: first[guild] + second[guild] for guild in first})

    async def all_confirmed() -> bool:
        [session] = await control.sessions()
        return bool(session["confirmed"] == session["seq"])

    await until(all_confirmed)


async def test_every_input_carries_a_trace_of_its_own(
    control: SimulatorControl, nats_server: RunningNats, replicas: Replicas
) -> None:
    bus = await nats_server.connect("gateway")
    config = await nats_server.connect("config")
    guilds = await control.create_guilds(count=1, member_count=1)
    await replicas.start()
    await guilds_known(config, guilds)
    await landed(bus, await post(control, guilds, 3, 0))

    stored = await log_of(bus, GuildId(str(guilds[0].id)))
    traces = {message.headers["traceparent"].split("-")[1] for message in stored}
    assert len(traces) == len(stored)
