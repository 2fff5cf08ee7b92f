"""What Discord and the bus may do to a shard, and what it does then."""

import msgspec
import pytest

from components.bus.buckets import Bucket
from components.bus.connection import Bus
from components.process import exits
from components.simulator.bootstrap import Simulator
from components.simulator.client import GuildInfo, SimulatorControl
from contracts import storage
from contracts.ids import GuildId
from contracts.message import decode, encode
from contracts.records import SessionResume
from tests.integration.shard.replicas import (
    Replicas,
    chain_breaks,
    dispatches_of,
    message_ids,
    until,
)
from tests.integration.shard.traffic import guilds_known, landed, post, sessions_of
from tests.support.nats import RunningNats, free_port


@pytest.fixture
async def bus(nats_server: RunningNats) -> Bus:
    return await nats_server.connect("operator")


@pytest.fixture
async def guilds(control: SimulatorControl) -> list[GuildInfo]:
    return await control.create_guilds(count=3, member_count=2)


def merged(*posted: dict[int, list[int]]) -> dict[int, list[int]]:
    return {guild: [i for each in posted for i in each[guild]] for guild in posted[0]}


@pytest.mark.parametrize("kind", ["reconnect", "drop", "close"])
async def test_a_broken_connection_is_resumed_without_a_loss(
    kind: str,
    bus: Bus,
    guilds: list[GuildInfo],
    control: SimulatorControl,
    replicas: Replicas,
) -> None:
    await replicas.start()
    await guilds_known(bus, guilds)
    before = await sessions_of(control)
    first = await post(control, guilds, 30, 0)

    assert await control.gateway_fault(kind) == 1
    second = await post(control, guilds, 30, 0)

    await landed(bus, merged(first, second))
    assert await sessions_of(control) == before


async def test_a_session_is_resumed_although_nobody_answers_at_the_url_for_resuming(
    bus: Bus,
    guilds: list[GuildInfo],
    nats_server: RunningNats,
    control: SimulatorControl,
    replicas: Replicas,
) -> None:
    replica = await replicas.start()
    await guilds_known(bus, guilds)
    before = await sessions_of(control)
    first = await post(control, guilds, 9, 0)
    await landed(bus, first)
    await replica.stop()
    sessions = Bucket(await nats_server.connect("shard", "the test's"), storage.SESSIONS)
    [(key, entry)] = (await sessions.snapshot()).items()
    saved = decode(entry.value or b"", SessionResume)
    gone = msgspec.structs.replace(saved, resume_url=f"ws://127.0.0.1:{free_port()}")
    await sessions.replace(key, encode(gone), entry.revision)

    await replicas.start()
    second = await post(control, guilds, 9, 0)

    await landed(bus, merged(first, second))
    assert await sessions_of(control) == before


async def test_a_refused_resume_begins_a_new_session_with_a_new_snapshot(
    bus: Bus, guilds: list[GuildInfo], control: SimulatorControl, replicas: Replicas
) -> None:
    replica = await replicas.start()
    await guilds_known(bus, guilds)
    await landed(bus, await post(control, guilds, 9, 0))
    guild = GuildId(str(guilds[0].id))

    await control.gateway_fault("invalid_session", resumable=False)

    async def snapshot_again() -> bool:
        found = [d.session for d in await dispatches_of(bus, guild) if d.event == "GUILD_CREATE"]
        return len(set(found)) == 2

    await until(snapshot_again)
    channel = next(iter(guilds[0].channels.values()))
    after = await control.post(channel, guilds[0].owner_id, "in the new session")

    async def there() -> bool:
        return after in message_ids(await dispatches_of(bus, guild))

    await until(there)
    dispatches = await dispatches_of(bus, guild)
    assert chain_breaks(dispatches) == []
    assert dispatches[-1].session != dispatches[0].session
    assert replica.process.returncode is None


async def test_a_refused_intent_ends_the_process_for_good_and_names_the_switch(
    control: SimulatorControl, replicas: Replicas
) -> None:
    [application] = await control.applications()
    await control.update_application(int(application["id"]), privileged_intents=0)
    replica = await replicas.start()

    assert await replica.process.wait() == exits.CONFIG
    assert "MESSAGE CONTENT INTENT" in replica.words()
    identifies = [
        entry for entry in await control.record_all(["gateway"]) if entry.data["what"] == "connect"
    ]
    assert len(identifies) == 1


async def test_a_refused_token_ends_the_process_for_good_and_says_where_to_find_another(
    replicas: Replicas,
) -> None:
    replica = await replicas.start(MODBOT_DISCORD_TOKEN="nobody's")
    assert await replica.process.wait() == exits.CONFIG
    assert "Reset Token" in replica.words()


async def test_invalid_intents_end_the_process_for_good_and_say_to_update(
    control: SimulatorControl, replicas: Replicas
) -> None:
    replica = await replicas.start()
    await replica.said("is connected")
    await control.gateway_fault("close", code=4013)

    assert await replica.process.wait() == exits.CONFIG
    assert "(close code 4013)" in replica.words()
    assert "Update modbot" in replica.words()
    connections = [
        entry for entry in await control.record_all(["gateway"]) if entry.data["what"] == "connect"
    ]
    assert len(connections) == 1


async def test_with_no_identify_left_today_none_is_sent(
    discord: Simulator, control: SimulatorControl, replicas: Replicas
) -> None:
    [application] = discord.world.applications.values()
    budget = discord.gateway.budget
    for _ in range(discord.world.settings.identify_budget):
        assert budget.take(application.id)
    await control.set_limits(enabled=True)
    replica = await replicas.start()

    await replica.said("daily limit of new sessions is used up")
    assert await control.record_all(["gateway"]) == []
    assert replica.process.returncode is None
    assert await replica.stop() == 0


async def test_a_full_queue_closes_the_socket_and_the_rest_comes_by_a_resume(
    bus: Bus,
    guilds: list[GuildInfo],
    control: SimulatorControl,
    nats_server: RunningNats,
    replicas: Replicas,
) -> None:
    replica = await replicas.start(queue_dispatches=50)
    await guilds_known(bus, guilds)
    before = await sessions_of(control)
    first = await post(control, guilds, 10, 0)
    await landed(bus, {guild: ids for guild, ids in first.items() if ids})

    nats_server.kill()
    second = await post(control, guilds, 200, 0)
    await replica.said("50 dispatches")
    await nats_server.start()

    await landed(bus, merged(first, second))
    assert await sessions_of(control) == before
    closes = [e.data for e in await control.record_all(["gateway"]) if e.data["what"] == "close"]
    assert {close["code"] for close in closes} == {4000}


async def test_a_stream_that_refuses_some_appends_keeps_every_guilds_order(
    bus: Bus,
    guilds: list[GuildInfo],
    control: SimulatorControl,
    nats_server: RunningNats,
    replicas: Replicas,
) -> None:
    replica = await replicas.start()
    await guilds_known(bus, guilds)
    provisioner = await nats_server.connect("provisioner")
    inputs = storage.inputs_stream()
    info = await provisioner.ask(f"$JS.API.STREAM.INFO.{storage.INPUTS}", b"")
    used = msgspec.json.decode(info.data)["state"]["bytes"]

    async def limit(max_bytes: int) -> None:
        body = msgspec.json.encode({**inputs, "max_bytes": max_bytes})
        answer = await provisioner.ask(f"$JS.API.STREAM.UPDATE.{storage.INPUTS}", body)
        assert "error" not in msgspec.json.decode(answer.data)

    await limit(used + 30_000)  # a long message does not fit where a short one still does
    posted: dict[int, list[int]] = {guild.id: [] for guild in guilds}
    for number in range(120):
        guild = guilds[number % 3]
        text = "x" * 1900 if number % 2 else "short"
        channel = next(iter(guild.channels.values()))
        posted[guild.id].append(await control.post(channel, guild.owner_id, text))
    await replica.said("appending stopped")
    await limit(inputs["max_bytes"])

    await landed(bus, posted)


async def test_a_dispatch_too_large_for_the_bus_leaves_a_note_and_a_whole_chain(
    bus: Bus,
    guilds: list[GuildInfo],
    discord: Simulator,
    control: SimulatorControl,
    replicas: Replicas,
) -> None:
    await replicas.start()
    await guilds_known(bus, guilds)
    guild = guilds[0]
    [session] = discord.gateway.sessions.values()
    huge = {"id": "7", "guild_id": str(guild.id), "content": "x" * 1_500_000}
    session.dispatch("MESSAGE_CREATE", msgspec.json.encode(huge))
    after = await control.post(next(iter(guild.channels.values())), guild.owner_id, "after")

    async def there() -> bool:
        dispatches = await dispatches_of(bus, GuildId(str(guild.id)))
        return str(after).encode() in bytes(dispatches[-1].data)

    await until(there)
    dispatches = await dispatches_of(bus, GuildId(str(guild.id)))
    assert "modbot_dropped" in msgspec.json.decode(dispatches[-2].data)
    assert dispatches[-1].previous == dispatches[-2].sequence
    assert chain_breaks(dispatches) == []


async def test_malformed_payloads_are_skipped_and_the_next_dispatch_lands(
    bus: Bus,
    guilds: list[GuildInfo],
    discord: Simulator,
    control: SimulatorControl,
    replicas: Replicas,
) -> None:
    replica = await replicas.start()
    await guilds_known(bus, guilds)
    before = await sessions_of(control)
    [session] = discord.gateway.sessions.values()
    assert session.send is not None
    for payload in (
        b"not json",
        b'"a string"',
        b'{"op":"zero"}',
        b'{"op":0,"s":1}',
        b'{"op":10,"d":null}',
        b'{"op":99,"d":{}}',
        b'{"op":0,"s":null,"t":"MESSAGE_CREATE","d":{}}',
        b'{"op":0,"t":"X","s":2,"d":' + b"[" * 5000,
    ):
        session.send(payload)
    session.dispatch("MESSAGE_CREATE", b"[]")
    session.dispatch("MESSAGE_CREATE", b'{"guild_id":"1.>","id":"2"}')
    session.dispatch("INTERACTION_CREATE", b'{"id":"x"}')
    session.dispatch("GUILD_CREATE", b'{"id":"123456789012345678","roles":7}')

    await landed(bus, await post(control, guilds, 9, 0))
    [odd] = await dispatches_of(bus, GuildId("123456789012345678"))
    assert bytes(odd.data) == b'{"id":"123456789012345678","roles":7}'  # its owner quarantines it
    assert await sessions_of(control) == before
    assert "malformed gateway payload" in replica.words()


async def test_a_large_guild_comes_in_parts_that_hold_everything(
    bus: Bus, control: SimulatorControl, replicas: Replicas
) -> None:
    [guild] = await control.create_guilds(count=1, member_count=1)
    channels = {await control.create_channel(guild.id, f"channel-{n}") for n in range(60)}
    await replicas.start(part_kib=1)
    await guilds_known(bus, [guild])

    async def complete() -> bool:
        found = await dispatches_of(bus, GuildId(str(guild.id)))
        return bool(found) and len(found) == found[0].parts

    await until(complete)
    parts = await dispatches_of(bus, GuildId(str(guild.id)))
    assert [part.part for part in parts] == list(range(1, len(parts) + 1))
    assert max(len(part.data) for part in parts) <= 1024
    found = [c["id"] for part in parts for c in msgspec.json.decode(part.data).get("channels", [])]
    assert channels <= {int(channel) for channel in found}
    assert len(found) == len(set(found))


async def test_a_guild_that_removes_the_bot_is_registered_as_left(
    bus: Bus, guilds: list[GuildInfo], control: SimulatorControl, replicas: Replicas
) -> None:
    from tests.integration.shard.traffic import registered

    await replicas.start()
    await guilds_known(bus, guilds)
    await control.outage(guilds[0].id, True)
    await control.remove_bot(guilds[1].id, guilds[1].applications[0])

    async def left() -> bool:
        return not (await registered(bus))[str(guilds[1].id)].present

    await until(left)
    assert (await registered(bus))[str(guilds[0].id)].present  # an outage is no removal
