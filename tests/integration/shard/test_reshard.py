"""The number of shards changes while members post: nothing is lost, nothing is told twice."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

import msgspec
import pytest

from components.bus.buckets import Bucket
from components.bus.connection import Bus
from components.config.resharding import Resharding
from components.config.view import View
from components.process.clock import steady_s
from components.simulator.bootstrap import Simulator
from components.simulator.client import SimulatorControl
from contracts import storage
from contracts.errors import ServiceError
from contracts.ids import GuildId
from contracts.inputs import DiscordDispatch
from contracts.message import decode
from contracts.records import ShardLease, ShardPlan
from tests.integration.shard.replicas import Replicas, chain_breaks, dispatches_of, until
from tests.integration.shard.traffic import (
    guilds_known,
    landed,
    post,
    registered,
    sessions_of,
)
from tests.support.nats import RunningNats


@asynccontextmanager
async def leading(nats: RunningNats) -> AsyncIterator[Resharding]:
    """A config replica, as far as shards are concerned, that leads."""
    bus = await nats.connect("config")
    view = View(steady_s, pod_ttl_s=5)
    view.registry.update(
        {GuildId(key): guild for key, guild in (await registered(bus)).items() if guild.present}
    )
    resharding = Resharding(bus, view, shard_ttl_s=3)
    task = asyncio.create_task(resharding.lead())
    try:
        yield resharding
    finally:
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task
        await bus.close()


async def plan_of(bus: Bus) -> ShardPlan:
    entry = await Bucket(bus, storage.SHARDS).get(storage.SHARD_PLAN)
    assert entry is not None
    return decode(entry.value or b"", ShardPlan)


async def reached(bus: Bus, phase: str, timeout_s: float = 40.0) -> None:
    async def so() -> bool:
        return (await plan_of(bus)).phase == phase

    await until(so, timeout_s)


async def connected(bus: Bus, count: int) -> None:
    """So many shard ids of that number are connected."""

    async def so() -> bool:
        entries = await Bucket(bus, storage.SHARDS).snapshot()
        leases = [
            decode(entry.value or b"", ShardLease)
            for key, entry in entries.items()
            if storage.shard_of_key(key) is not None
        ]
        mine = [one for one in leases if one.shard_count == count and one.state == "connected"]
        return len(mine) == count

    await until(so, 40)


def acted_on(dispatches: list[DiscordDispatch]) -> list[int]:
    """The messages that an owner acts on: of the session that is current, and when another may
    have told of it, only once."""
    current, retired = "", set[str]()
    acted: list[int] = []
    for dispatch in dispatches:
        if dispatch.event == "GUILD_CREATE" and dispatch.session not in retired:
            if current and current != dispatch.session:
                retired.add(current)
            current = dispatch.session
        if dispatch.event != "MESSAGE_CREATE" or dispatch.session != current:
            continue
        message = int(msgspec.json.decode(dispatch.data)["id"])
        if not (dispatch.overlap and message in acted):
            acted.append(message)
    return acted


async def acted_on_once(bus: Bus, posted: dict[int, list[int]]) -> None:
    """Every message is acted on once; in the order in which it was posted."""

    async def complete() -> bool:
        for guild, ids in posted.items():
            if not set(ids) <= set(acted_on(await dispatches_of(bus, GuildId(str(guild))))):
                return False
        return True

    with suppress(TimeoutError):
        await until(complete, 20)
    for guild, ids in posted.items():
        dispatches = await dispatches_of(bus, GuildId(str(guild)))
        assert acted_on(dispatches) == ids
        assert chain_breaks(dispatches) == []


async def test_no_message_is_lost_or_acted_on_twice_while_one_shard_becomes_two_and_three(
    control: SimulatorControl, nats_server: RunningNats, replicas: Replicas
) -> None:
    bus = await nats_server.connect("operator")
    guilds = await control.create_guilds(count=8, member_count=2)
    await replicas.start("shard-a", count=1)
    await replicas.start("shard-b", count=1)
    await connected(bus, 1)
    await guilds_known(bus, guilds)
    posting = asyncio.create_task(post(control, guilds, 1_500, 0.01))
    async with leading(nats_server) as config:
        for count in (2, 3):
            await config.begin(count, f"to-{count}", "alice")
            await reached(bus, "done")
            await connected(bus, count)
    posted = await posting
    await acted_on_once(bus, posted)
    sessions = await control.sessions()
    assert sorted(session["shard"] for session in sessions) == [[0, 3], [1, 3], [2, 3]]

    async def tidy() -> bool:
        keys = await Bucket(bus, storage.SESSIONS).snapshot()
        return {storage.shard_of_key(key) for key in keys} == {(2, 0), (2, 1), (2, 2)}

    await until(tidy)


async def test_replicas_and_leaders_that_are_killed_in_between_cost_no_message(
    control: SimulatorControl, nats_server: RunningNats, replicas: Replicas
) -> None:
    bus = await nats_server.connect("operator")
    guilds = await control.create_guilds(count=6, member_count=2)
    first = await replicas.start("shard-a", count=1)
    await connected(bus, 1)
    await guilds_known(bus, guilds)
    second = await replicas.start("shard-b", count=1)
    posting = asyncio.create_task(post(control, guilds, 1_500, 0.01))
    async with leading(nats_server) as config:
        await config.begin(2, "to-2", "alice")
        await second.said("is connected")
    await second.kill()  # while it keeps back; and nobody leads
    await replicas.start("shard-c", count=1)
    async with leading(nats_server):
        await reached(bus, "cut")
    await first.kill()  # while it ends its session
    await replicas.start("shard-d", count=1)
    async with leading(nats_server):
        await reached(bus, "done")
    await connected(bus, 2)
    await acted_on_once(bus, await posting)


async def test_a_change_that_is_taken_back_leaves_the_old_sessions_as_they_were(
    control: SimulatorControl, nats_server: RunningNats, replicas: Replicas
) -> None:
    bus = await nats_server.connect("operator")
    guilds = await control.create_guilds(count=4, member_count=2)
    replica = await replicas.start("shard-a", count=1)
    await connected(bus, 1)
    await guilds_known(bus, guilds)
    before = await sessions_of(control)
    async with leading(nats_server) as config:
        await config.begin(3, "to-3", "alice")
        await replica.said("shard 1 is connected (READY)")
        await config.abort("alice")
        with pytest.raises(ServiceError, match="not being changed"):
            await config.abort("alice")
    posted = await post(control, guilds, 40, 0.0)

    async def alone() -> bool:
        return await sessions_of(control) == before

    await until(alone)
    await landed(bus, posted)


async def test_a_number_of_shards_that_discord_refuses_is_taken_back_and_old_sessions_go_on(
    control: SimulatorControl, discord: Simulator, nats_server: RunningNats, replicas: Replicas
) -> None:
    bus = await nats_server.connect("operator")
    guilds = await control.create_guilds(count=4, member_count=2)
    replica = await replicas.start("shard-a", count=1)
    await connected(bus, 1)
    await guilds_known(bus, guilds)
    before = await sessions_of(control)
    discord.gateway.settings = msgspec.structs.replace(discord.gateway.settings, guilds_per_shard=0)
    async with leading(nats_server) as config:
        await config.begin(2, "to-2", "alice")
        await reached(bus, "aborted")
    assert "of 2 (close code 4011)" in (await plan_of(bus)).text
    assert replica.process.returncode is None
    posted = await post(control, guilds, 40, 0.0)
    await landed(bus, posted)
    assert await sessions_of(control) == before


async def test_without_budget_for_new_sessions_nothing_is_begun(
    control: SimulatorControl,
    nats_server: RunningNats,
    replicas: Replicas,
) -> None:
    bus = await nats_server.connect("operator")
    await control.create_guilds(count=1, member_count=1)
    await replicas.start("shard-a", count=1)
    await connected(bus, 1)
    async with leading(nats_server) as config:
        with pytest.raises(ServiceError, match="grants 999 more new sessions"):
            await config.begin(1_000, "to-1000", "alice")
    assert await Bucket(bus, storage.SHARDS).get(storage.SHARD_PLAN) is None


async def test_interactions_are_answered_in_time_all_along(
    control: SimulatorControl, nats_server: RunningNats, replicas: Replicas
) -> None:
    bus = await nats_server.connect("operator")
    [guild] = await control.create_guilds(count=1, member_count=1)
    channel = next(iter(guild.channels.values()))
    await replicas.start("shard-a", count=1)
    await replicas.start("shard-b", count=1)
    await connected(bus, 1)
    await guilds_known(bus, [guild])
    asked: list[int] = []
    async with leading(nats_server) as config:
        await config.begin(2, "to-2", "alice")
        while (await plan_of(bus)).phase != "done":
            asked.append(await control.command(channel, guild.owner_id, "case view", {"number": 1}))
            await asyncio.sleep(0.05)
    states = [await control.interaction(interaction, wait_s=3) for interaction in asked]
    assert [state["failure"] for state in states] == [None] * len(asked)


async def test_nats_is_killed_right_after_the_cut_and_no_message_is_lost(
    control: SimulatorControl, nats_server: RunningNats, replicas: Replicas
) -> None:
    bus = await nats_server.connect("operator")
    guilds = await control.create_guilds(count=4, member_count=2)
    await replicas.start("shard-a", count=1)
    await connected(bus, 1)
    await guilds_known(bus, guilds)
    posting = asyncio.create_task(post(control, guilds, 800, 0.01))
    async with leading(nats_server) as config:
        await config.begin(2, "to-2", "alice")
        await reached(bus, "cut")
        nats_server.kill()
        await asyncio.sleep(1.0)
        await nats_server.start()
        await reached(bus, "done")
    await connected(bus, 2)
    await acted_on_once(bus, await posting)
