"""Sessions of the gateway: READY, compression, RESUME, strict mode, ends of sessions."""

import asyncio
import zlib

import aiohttp
import msgspec
import pytest

from components.simulator.bootstrap import running_simulator
from components.simulator.client import GuildInfo, SimulatorControl
from components.simulator.gateway.protocol import Op
from components.simulator.settings import Settings
from tests.integration.simulator.raw import Caller


@pytest.mark.parametrize("compress", [None, "zlib-stream", "zstd-stream"])
async def test_ready_guild_create_and_a_message_arrive_in_each_compression(
    compress: str | None, caller: Caller, control: SimulatorControl, guild: GuildInfo
) -> None:
    gateway = await caller.connect(compress)
    await gateway.identify()
    ready = await gateway.until("READY")
    assert [g["id"] for g in ready["guilds"]] == [str(guild.id)]
    created = await gateway.until("GUILD_CREATE")
    assert created["name"] == guild.name
    for i in range(3):
        sent = await control.post(guild.channels["general"], guild.members[0].id, f"text {i}")
        message = await gateway.until("MESSAGE_CREATE")
        assert (message["id"], message["content"]) == (str(sent), f"text {i}")
        assert message["member"]["roles"] == []


async def test_a_resume_replays_exactly_what_was_missed_in_order(
    caller: Caller, control: SimulatorControl, guild: GuildInfo
) -> None:
    gateway = await caller.identified("zlib-stream")
    await gateway.until("GUILD_CREATE")
    seen = gateway.seq
    assert seen is not None
    assert await control.gateway_fault("drop") == 1
    assert await gateway.closed() == 1006
    sent = [
        await control.post(guild.channels["general"], guild.members[0].id, f"missed {i}")
        for i in range(5)
    ]
    again = await caller.connect("zstd-stream")
    await again.resume(gateway.session_id, seen)
    got = [await again.receive() for _ in range(6)]
    assert [p["s"] for p in got] == list(range(seen + 1, seen + 7))
    assert [p["d"].get("id") for p in got[:5]] == [str(i) for i in sent]
    assert got[5]["t"] == "RESUMED"


@pytest.mark.parametrize("code", [1000, 1001])
async def test_a_normal_close_by_the_client_ends_the_session(
    code: int, caller: Caller, guild: GuildInfo
) -> None:
    gateway = await caller.identified()
    await gateway.socket.close(code=code)
    again = await caller.connect()
    await again.resume(gateway.session_id, 1)
    assert await again.receive() == {"op": Op.INVALID_SESSION, "d": False, "s": None, "t": None}


async def test_a_client_that_closes_and_does_not_wait_for_an_answer_has_ended_its_session(
    caller: Caller, control: SimulatorControl, guild: GuildInfo
) -> None:
    gateway = await caller.identified()
    await gateway.until("GUILD_CREATE")
    async with asyncio.TaskGroup() as group:
        for i in range(20):  # what is written to it meanwhile fails
            group.create_task(control.post(guild.channels["general"], guild.members[0].id, f"{i}"))
        closing = group.create_task(gateway.socket.close(code=1000))
        await asyncio.sleep(0)  # the frame is written, its answer not waited for
        closing.cancel()
    async with asyncio.timeout(5):
        while any(session["connected"] for session in await control.sessions()):
            await asyncio.sleep(0.01)
    assert await control.sessions() == []


async def test_a_close_with_4000_keeps_the_session(caller: Caller, guild: GuildInfo) -> None:
    gateway = await caller.identified()
    await gateway.until("GUILD_CREATE")
    await gateway.socket.close(code=4000)
    again = await caller.connect()
    await again.resume(gateway.session_id, 1)
    assert (await again.receive())["t"] == "GUILD_CREATE"
    assert (await again.receive())["t"] == "RESUMED"


async def test_a_seq_of_the_future_closes_with_4007(caller: Caller) -> None:
    gateway = await caller.identified()
    await gateway.socket.close(code=4000)
    again = await caller.connect()
    await again.resume(gateway.session_id, 99)
    assert await again.closed() == 4007


async def test_a_session_expires_after_its_window() -> None:
    async with (
        running_simulator(Settings(resume_window_s=0.05)) as short,
        aiohttp.ClientSession() as http,
    ):
        caller = Caller(http, short.api_url, short.gateway_url)
        gateway = await caller.identified()
        await gateway.socket.close(code=4000)
        await asyncio.sleep(0.1)  # the window is what is tested
        again = await caller.connect()
        await again.resume(gateway.session_id, 1)
        assert (await again.receive())["op"] == Op.INVALID_SESSION


async def test_a_second_socket_takes_the_session_from_the_first(
    caller: Caller, control: SimulatorControl, guild: GuildInfo
) -> None:
    first = await caller.identified()
    await first.until("GUILD_CREATE")
    second = await caller.connect()
    await second.resume(first.session_id, 2)
    assert (await second.receive())["t"] == "RESUMED"
    assert await first.closed() == 4000
    await control.post(guild.channels["general"], guild.members[0].id, "for the second")
    assert (await second.until("MESSAGE_CREATE"))["content"] == "for the second"


async def test_a_replay_buffer_that_overflowed_refuses_the_resume() -> None:
    async with (
        running_simulator(Settings(replay_buffer=3)) as small,
        SimulatorControl(small.url) as control,
        aiohttp.ClientSession() as http,
    ):
        guild = (await control.create_guilds(member_count=1))[0]
        caller = Caller(http, small.api_url, small.gateway_url)
        gateway = await caller.identified()
        await gateway.until("GUILD_CREATE")
        await control.gateway_fault("drop")
        for i in range(4):
            await control.post(guild.channels["general"], guild.members[0].id, str(i))
        again = await caller.connect()
        await again.resume(gateway.session_id, 2)
        assert (await again.receive())["op"] == Op.INVALID_SESSION
        refusals = [
            e.data
            for e in await control.record_all(["gateway"])
            if e.data["what"] == "resume" and not e.data["accepted"]
        ]
        assert [r["why"] for r in refusals] == ["not in the buffer"]


@pytest.mark.parametrize("strict", [True, False])
async def test_strict_mode_refuses_a_resume_below_what_a_heartbeat_confirmed(strict: bool) -> None:
    async with (
        running_simulator(Settings(strict_resume=strict)) as sim,
        SimulatorControl(sim.url) as control,
        aiohttp.ClientSession() as http,
    ):
        await control.create_guilds(count=4)
        caller = Caller(http, sim.api_url, sim.gateway_url)
        gateway = await caller.identified()
        while gateway.seq != 5:
            await gateway.receive()
        await gateway.send(Op.HEARTBEAT, 3)
        await gateway.until_op(Op.HEARTBEAT_ACK)
        await control.gateway_fault("drop")
        again = await caller.connect()
        await again.resume(gateway.session_id, 2)
        first = await again.receive()
        if strict:
            assert first["op"] == Op.INVALID_SESSION
            assert first["d"] is False
        else:
            assert first["s"] == 3


async def test_strict_mode_replays_from_what_a_heartbeat_confirmed() -> None:
    async with (
        running_simulator(Settings(strict_resume=True)) as sim,
        SimulatorControl(sim.url) as control,
        aiohttp.ClientSession() as http,
    ):
        await control.create_guilds(count=4)
        caller = Caller(http, sim.api_url, sim.gateway_url)
        gateway = await caller.identified()
        while gateway.seq != 5:
            await gateway.receive()
        await gateway.send(Op.HEARTBEAT, 3)
        await gateway.until_op(Op.HEARTBEAT_ACK)
        await control.gateway_fault("drop")
        again = await caller.connect()
        await again.resume(gateway.session_id, 3)
        assert [(await again.receive())["s"] for _ in range(3)] == [4, 5, 6]


async def test_several_sessions_of_one_shard_hear_the_same(
    caller: Caller, control: SimulatorControl, guild: GuildInfo
) -> None:
    await control.set_limits(enabled=False)  # else the second IDENTIFY is 5 s away
    sessions = [await caller.identified(shard=[0, 1]) for _ in range(2)]
    assert sessions[0].session_id != sessions[1].session_id
    await control.post(guild.channels["general"], guild.members[0].id, "to both")
    for session in sessions:
        assert (await session.until("MESSAGE_CREATE"))["content"] == "to both"


@pytest.mark.parametrize("ending", ["abort", "close"])
async def test_a_client_that_dies_without_a_word_can_be_resumed(
    ending: str, caller: Caller, control: SimulatorControl, guild: GuildInfo
) -> None:
    gateway = await caller.identified()
    await gateway.until("GUILD_CREATE")
    transport = gateway.socket._response.connection.transport  # type: ignore[union-attr]
    getattr(transport, ending)()  # RST, as of a killed machine, or FIN, as of a killed process
    while (await control.sessions())[0]["connected"]:
        await asyncio.sleep(0.01)  # the server sees it when the kernel says so
    sent = await control.post(guild.channels["general"], guild.members[0].id, "meanwhile")
    again = await caller.connect()
    await again.resume(gateway.session_id, 2)
    assert (await again.receive())["d"]["id"] == str(sent)
    assert (await again.receive())["t"] == "RESUMED"


async def test_each_guild_belongs_to_one_shard(caller: Caller, control: SimulatorControl) -> None:
    guilds = await control.create_guilds(count=8)
    for shard in (0, 1, 2):
        gateway = await caller.connect()
        await gateway.identify(shard=[shard, 3])
        ready = await gateway.until("READY")
        expected = {str(g.id) for g in guilds if (g.id >> 22) % 3 == shard}
        assert {g["id"] for g in ready["guilds"]} == expected
        assert 2 <= len(expected) <= 3
        assert ready["shard"] == [shard, 3]


async def test_op_7_and_op_9_reach_the_client(
    caller: Caller, control: SimulatorControl, guild: GuildInfo
) -> None:
    gateway = await caller.identified()
    await control.gateway_fault("reconnect")
    await gateway.until_op(Op.RECONNECT)
    await control.gateway_fault("invalid_session", resumable=True)
    assert (await gateway.until_op(Op.INVALID_SESSION))["d"] is True
    assert len(await control.sessions()) == 1
    await control.gateway_fault("invalid_session", resumable=False)
    assert (await gateway.until_op(Op.INVALID_SESSION))["d"] is False
    assert await control.sessions() == []


async def test_heartbeats_are_answered_unless_acks_are_withheld(
    caller: Caller, control: SimulatorControl
) -> None:
    gateway = await caller.identified()
    await gateway.send(Op.HEARTBEAT, 1)
    await gateway.until_op(Op.HEARTBEAT_ACK)
    await control.gateway_fault("withhold_acks")
    await gateway.send(Op.HEARTBEAT, 1)
    with pytest.raises(TimeoutError):
        await gateway.receive(0.1)
    await control.gateway_fault("request_heartbeat")
    assert (await gateway.receive())["op"] == Op.HEARTBEAT


async def test_a_client_without_heartbeats_is_closed_and_can_resume() -> None:
    async with (
        running_simulator(Settings(heartbeat_interval_ms=60)) as sim,
        aiohttp.ClientSession() as http,
    ):
        caller = Caller(http, sim.api_url, sim.gateway_url)
        gateway = await caller.identified()
        assert await gateway.closed() == 4000
        again = await caller.connect()
        await again.resume(gateway.session_id, 1)
        assert (await again.receive())["t"] == "RESUMED"


async def test_payload_compression_is_honoured_without_a_transport(
    caller: Caller, control: SimulatorControl
) -> None:
    await control.create_guilds(member_count=60)
    gateway = await caller.connect()
    await gateway.identify(compress=True, large_threshold=250)
    await gateway.receive()
    message = await gateway.socket.receive(timeout=5)
    payload = msgspec.json.decode(zlib.decompress(message.data))
    assert payload["t"] == "GUILD_CREATE"
    assert len(payload["d"]["members"]) == 62
