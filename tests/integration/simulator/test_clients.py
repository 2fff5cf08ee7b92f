"""Unmodified discord.py and hikari connect, moderate and resume."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from datetime import timedelta

import discord
import hikari
import pytest
import yarl

from components.simulator.bootstrap import Simulator
from components.simulator.client import GuildInfo, SimulatorControl
from tests.integration.simulator.raw import TOKEN

DEADLINE_S = 10.0


class Bot(discord.Client):
    """Deletes what a member posts, opens a thread of it and times the member out."""

    def __init__(self) -> None:
        super().__init__(intents=discord.Intents.all())
        self.available: asyncio.Queue[discord.Guild] = asyncio.Queue()
        self.handled: asyncio.Queue[discord.Message] = asyncio.Queue()
        self.resumed: asyncio.Queue[None] = asyncio.Queue()

    async def on_guild_available(self, guild: discord.Guild) -> None:
        self.available.put_nowait(guild)

    async def on_guild_join(self, guild: discord.Guild) -> None:
        self.available.put_nowait(guild)

    async def on_resumed(self) -> None:
        self.resumed.put_nowait(None)

    async def on_message(self, message: discord.Message) -> None:
        if message.author.bot or not isinstance(message.author, discord.Member):
            return
        thread = await message.create_thread(name="report")
        await thread.send("seen", embed=discord.Embed(title="report"))
        await message.delete()
        await message.author.timeout(timedelta(hours=1), reason="spam")
        self.handled.put_nowait(message)


@pytest.fixture
async def bot(sim: Simulator, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Bot]:
    monkeypatch.setattr(discord.http.Route, "BASE", sim.api_url)
    monkeypatch.setattr(
        discord.gateway.DiscordWebSocket, "DEFAULT_GATEWAY", yarl.URL(sim.gateway_url)
    )
    client = Bot()
    async with client:
        running = asyncio.create_task(client.start(TOKEN))
        yield client
        await client.close()
        with contextlib.suppress(asyncio.CancelledError):
            await running


async def test_discord_py_sees_a_guild_and_moderates_a_message(
    guild: GuildInfo, bot: Bot, control: SimulatorControl
) -> None:
    seen = await asyncio.wait_for(bot.available.get(), DEADLINE_S)
    assert (seen.id, seen.member_count, len(seen.members)) == (guild.id, 5, 5)
    channel, author = guild.channels["general"], guild.members[0]
    message_id = await control.post(channel, author.id, "free nitro")
    handled = await asyncio.wait_for(bot.handled.get(), DEADLINE_S)
    assert (handled.id, handled.content) == (message_id, "free nitro")
    state = await control.guild(guild.id)
    assert state["channel_list"][0]["messages"] == []
    assert [t["id"] for t in state["threads"]] == [str(message_id)]
    assert [m["content"] for m in state["threads"][0]["messages"]] == ["seen"]
    alice = next(m for m in state["member_list"] if m["user"]["id"] == str(author.id))
    assert alice["communication_disabled_until"] is not None
    assert state["audit_log"][-1]["reason"] == "spam"


async def test_discord_py_resumes_after_a_dropped_socket_and_loses_nothing(
    guild: GuildInfo, bot: Bot, control: SimulatorControl
) -> None:
    await asyncio.wait_for(bot.available.get(), DEADLINE_S)
    await control.gateway_fault("drop")
    sent = await control.post(guild.channels["general"], guild.members[1].id, "while away")
    handled = await asyncio.wait_for(bot.handled.get(), DEADLINE_S)
    assert handled.id == sent
    await asyncio.wait_for(bot.resumed.get(), DEADLINE_S)
    what = [e.data["what"] for e in await control.record_all(["gateway"])]
    assert what.count("identify") == 1
    assert what.count("resume") == 1


async def test_hikari_connects_deletes_and_resumes(
    sim: Simulator, guild: GuildInfo, control: SimulatorControl
) -> None:
    bot = hikari.GatewayBot(
        TOKEN,
        banner=None,
        intents=hikari.Intents.ALL,
        rest_url=sim.api_url,
        logs=None,
    )
    guilds: asyncio.Queue[int] = asyncio.Queue()
    deleted: asyncio.Queue[int] = asyncio.Queue()

    @bot.listen()
    async def on_guild(event: hikari.GuildAvailableEvent) -> None:
        guilds.put_nowait(event.guild_id)

    @bot.listen()
    async def on_message(event: hikari.GuildMessageCreateEvent) -> None:
        await event.message.delete()
        deleted.put_nowait(event.message_id)

    channel, author = guild.channels["general"], guild.members[0].id
    await bot.start(check_for_updates=False)
    try:
        assert await asyncio.wait_for(guilds.get(), DEADLINE_S) == guild.id
        first = await control.post(channel, author, "one")
        assert await asyncio.wait_for(deleted.get(), DEADLINE_S) == first
        await control.gateway_fault("reconnect")
        second = await control.post(channel, author, "two")
        assert await asyncio.wait_for(deleted.get(), DEADLINE_S) == second
    finally:
        await bot.close()
    assert await control.messages(channel) == []
    gateway = [e.data for e in await control.record_all(["gateway"])]
    assert [e["accepted"] for e in gateway if e["what"] == "resume"] == [True]
    assert len([e for e in gateway if e["what"] == "identify"]) == 1
