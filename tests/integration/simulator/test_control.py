"""The control API: people act, everything is recorded, wrong bodies are refused in words."""

import asyncio
import os
import signal
import sys
import time

import aiohttp
import pytest

from components.simulator.bootstrap import running_simulator
from components.simulator.client import ControlError, GuildInfo, SimulatorControl
from components.simulator.settings import Settings
from tests.integration.simulator.raw import Caller


async def test_guilds_are_created_alike_with_what_was_asked(control: SimulatorControl) -> None:
    made = await control.create_guilds(
        count=3,
        name="test {n}",
        roles=[{"name": "mods", "permissions": 8192}],
        channels=[{"name": "general"}, {"name": "log"}],
        members=[
            {
                "username": "young",
                "roles": ["mods"],
                "created_at": "2026-01-01T00:00:00+00:00",
                "joined_at": "2026-01-02T00:00:00+00:00",
            }
        ],
        member_count=2,
    )
    assert [g.name for g in made] == ["test 0", "test 1", "test 2"]
    assert await control.guilds() == made
    one = made[1]
    assert sorted(one.channels) == ["general", "log"]
    assert [m.username for m in one.members] == ["young", "member-0", "member-1"]
    state = await control.guild(one.id)
    young = next(m for m in state["member_list"] if m["user"]["username"] == "young")
    assert young["roles"] == [str(one.roles["mods"])]
    assert young["joined_at"].startswith("2026-01-02")
    created = (int(young["user"]["id"]) >> 22) + 1_420_070_400_000
    assert created == 1_767_225_600_000  # 2026-01-01


async def test_people_edit_delete_react_join_and_leave_and_bots_hear_it(
    caller: Caller, control: SimulatorControl, guild: GuildInfo
) -> None:
    gateway = await caller.identified()
    channel, alice = guild.channels["general"], guild.members[0].id
    message = await control.post(channel, alice, "first")
    await control.edit(channel, message, alice, "second")
    edited = await gateway.until("MESSAGE_UPDATE")
    assert (edited["content"], edited["edited_timestamp"] is not None) == ("second", True)
    await control.react(channel, message, alice, "👍")
    await control.react(channel, message, alice, "👍")  # once only
    await control.unreact(channel, message, alice, "👍")
    await control.react(channel, message, alice, "👍")
    names: list[str] = []
    while len(names) < 3:
        payload = await gateway.receive()
        names.append(payload["t"])
    assert names == ["MESSAGE_REACTION_ADD", "MESSAGE_REACTION_REMOVE", "MESSAGE_REACTION_ADD"]
    await control.delete(channel, message, alice)
    assert (await gateway.until("MESSAGE_DELETE"))["id"] == str(message)
    new = await control.join(guild.id, username="carol")
    assert (await gateway.until("GUILD_MEMBER_ADD"))["user"]["id"] == str(new)
    await control.leave(guild.id, new)
    assert (await gateway.until("GUILD_MEMBER_REMOVE"))["user"]["id"] == str(new)
    with pytest.raises(ControlError) as refused:
        await control.edit(channel, await control.post(channel, alice, "hers"), 1, "mine")
    assert refused.value.status == 403


async def test_a_bot_can_be_invited_removed_and_see_an_outage(
    caller: Caller, control: SimulatorControl, guild: GuildInfo
) -> None:
    second = await control.create_application("second.bot.token", name="second")
    caller.token = "second.bot.token"
    gateway = await caller.connect()
    await gateway.identify(token=caller.token)
    assert (await gateway.until("READY"))["guilds"] == []
    await control.invite_bot(guild.id, int(second["id"]))
    created = await gateway.until("GUILD_CREATE")
    assert created["id"] == str(guild.id)
    assert second["id"] in {m["user"]["id"] for m in created["members"]}
    await control.outage(guild.id, True)
    assert (await gateway.until("GUILD_DELETE"))["unavailable"] is True
    await control.outage(guild.id, False)
    await gateway.until("GUILD_CREATE")
    await control.remove_bot(guild.id, int(second["id"]))
    assert "unavailable" not in await gateway.until("GUILD_DELETE")


async def test_a_wrong_body_is_refused_in_words(
    control: SimulatorControl, guild: GuildInfo
) -> None:
    with pytest.raises(ControlError, match="unknown field `colour`"):
        await control.create_guilds(colour="red")
    with pytest.raises(ControlError, match="nobody"):
        await control.create_guilds(members=[{"roles": ["nobody"]}])
    with pytest.raises(ControlError, match="10003"):
        await control.post(1, guild.members[0].id, "nowhere")
    with pytest.raises(ControlError) as missing:
        await control.guild(1)
    assert missing.value.status == 404


async def test_the_record_tells_the_whole_way_of_a_message(
    caller: Caller, control: SimulatorControl, guild: GuildInfo
) -> None:
    gateway = await caller.identified()
    channel = guild.channels["general"]
    message = await control.post(channel, guild.members[0].id, "spam")
    await gateway.until("MESSAGE_CREATE")
    path = f"/channels/{channel}/messages/{message}"
    await caller.call("DELETE", path, **{"X-Modbot-Pod": "gateway-1", "User-Agent": "test"})
    entries = [e for e in await control.record_all() if str(message) in str(e.data)]
    kinds = ["message_create", "dispatch", "message_delete", "dispatch", "rest"]
    assert [e.kind for e in entries] == kinds
    assert [e.n for e in entries] == sorted(e.n for e in entries)
    created, sent, _, _, rest = entries
    assert (created.data["content"], sent.data["session"]) == ("spam", gateway.session_id)
    assert sent.data["seq"] == 3
    assert (rest.data["pod"], rest.data["caller"], rest.data["status"]) == (
        "gateway-1",
        "test",
        204,
    )
    assert created.at_ms <= sent.at_ms <= rest.at_ms


async def test_the_record_can_be_followed(control: SimulatorControl, guild: GuildInfo) -> None:
    seen: list[int] = []

    async def read() -> None:
        async for entry in control.follow(["message_create"]):
            seen.append(int(entry.data["id"]))
            if len(seen) == 5:
                return

    reader = asyncio.create_task(read())
    channel, alice = guild.channels["general"], guild.members[0].id
    posted = [await control.post(channel, alice, "y" * (1 + i * 400)) for i in range(5)]
    await asyncio.wait_for(reader, 5)
    assert seen == posted


async def test_a_thousand_guilds_and_many_messages_arrive_in_order_and_fast() -> None:
    async with (
        running_simulator(Settings(limits=False)) as sim,
        SimulatorControl(sim.url) as control,
        aiohttp.ClientSession() as http,
    ):
        guilds = await control.create_guilds(count=1000, member_count=1)
        gateway = await Caller(http, sim.api_url, sim.gateway_url).identified("zstd-stream")
        while gateway.seq != 1001:
            await gateway.receive()
        bodies = [
            {
                "channel_id": guilds[i % 1000].channels["general"],
                "author_id": guilds[i % 1000].members[0].id,
                "content": f"message {i}",
            }
            for i in range(1500)
        ]
        before = time.monotonic()
        sent: list[int] = []
        for i in range(0, len(bodies), 100):
            sent += await control.post_many(bodies[i : i + 100])
        got = [(await gateway.until("MESSAGE_CREATE"))["id"] for _ in bodies]
        elapsed = time.monotonic() - before
    assert got == [str(i) for i in sent]
    assert gateway.seq == 1001 + len(bodies)
    # 300/s are asked for; 3,900/s were measured with both ends on one core.
    assert len(bodies) / elapsed > 300


async def test_the_process_says_when_it_is_ready_and_ends_on_sigterm() -> None:
    environment = {**os.environ, "MODBOT_SIM_GUILDS": "2"}
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "components.simulator",
        env=environment,
        stdout=asyncio.subprocess.PIPE,
    )
    try:
        assert process.stdout is not None
        line = (await asyncio.wait_for(process.stdout.readline(), 20)).decode()
        assert line.startswith("simulator ready http://")
        async with SimulatorControl(line.split()[-1]) as control:
            health = await control.health()
            assert (health["ok"], health["guilds"]) == (True, 2)
        process.send_signal(signal.SIGTERM)
        assert await asyncio.wait_for(process.wait(), 10) == 0
    finally:
        if process.returncode is None:
            process.kill()


async def test_invalid_settings_end_the_process_with_words() -> None:
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "components.simulator",
        env={**os.environ, "MODBOT_SIM_PORT": "a lot"},
        stderr=asyncio.subprocess.PIPE,
    )
    _, errors = await asyncio.wait_for(process.communicate(), 20)
    assert process.returncode == 2
    assert b"MODBOT_SIM_PORT" in errors
