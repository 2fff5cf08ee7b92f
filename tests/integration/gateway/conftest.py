"""A Discord, a bus, a guild, and gateway pods as real processes."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from components.bus.connection import Bus
from components.discord_api import DiscordSettings, point_at
from components.gateway.shell.applier import Applier
from components.gateway.shell.effects.limits import InvalidRequests
from components.gateway.shell.effects.rest import Rest
from components.gateway.shell.gate import Gate
from components.sharing.slots import RateShare
from components.simulator.bootstrap import Simulator
from components.simulator.client import SimulatorControl
from components.simulator.settings import Settings
from tests.integration.gateway.desk import Desk
from tests.integration.gateway.town import Pods, Town
from tests.support.discord import checked_simulator
from tests.support.nats import RunningNats
from tests.support.ownership import acting


@pytest.fixture
async def shard(nats_server: RunningNats) -> Bus:
    """A connection with the shard's rights."""
    return await nats_server.connect("shard")


@pytest.fixture
async def bus(nats_server: RunningNats) -> Bus:
    """A connection with a pod's rights."""
    return await nats_server.connect("gateway")


@pytest.fixture
async def discord() -> AsyncIterator[Simulator]:
    """A Discord without rate limits."""
    async with checked_simulator(Settings(limits=False)) as running:
        yield running


@pytest.fixture
async def control(discord: Simulator) -> AsyncIterator[SimulatorControl]:
    """The way into the simulator."""
    async with SimulatorControl(discord.url) as client:
        yield client


@pytest.fixture
async def town(discord: Simulator, control: SimulatorControl, nats_server: RunningNats) -> Town:
    """A guild with a moderation log whose first input is on its log."""
    return (await make_towns(1, discord, control, nats_server))[0]


async def make_towns(
    count: int,
    discord: Simulator,
    control: SimulatorControl,
    nats_server: RunningNats,
    *,
    members: int = 3,
) -> list[Town]:
    """Guilds with a moderation log; each one's first input is on its log."""
    made = await control.create_guilds(
        count=count,
        name="town-{n}",
        roles=[{"name": "quiet"}],
        channels=[{"name": "general"}, {"name": "mod-log"}],
        members=[
            {
                "username": f"member-{n}",
                "created_at": "2015-06-01T00:00:00+00:00",
                "joined_at": "2020-01-01T00:00:00+00:00",
            }
            for n in range(members)
        ],
    )
    users = [await nats_server.connect(user) for user in ("shard", "operator", "config")]
    towns = [Town(info, control, *users) for info in made]
    for town in towns:
        await town.create(str(discord.world.settings.application_id))
    return towns


@pytest.fixture
async def pods(
    discord: Simulator, nats_server: RunningNats, town: Town, tmp_path: Path
) -> AsyncIterator[Pods]:
    """Starts pods; ends them after the test."""
    started = Pods(discord, nats_server, tmp_path, town.operator)
    try:
        yield started
    finally:
        await started.close()


@pytest.fixture
async def desk(
    town: Town, discord: Simulator, nats_server: RunningNats, tmp_path: Path
) -> AsyncIterator[Desk]:
    """The town's way out, without a pod around it."""
    point_at(DiscordSettings(token="unused", api_url=discord.api_url))
    bus = await nats_server.connect("gateway")
    machine = acting(town.guild, 1, bus.link)
    gate = Gate(bus, machine)
    applier = Applier(tmp_path / "desk.db")
    await applier.start()
    rest = Rest(gate, lambda: 5.0, RateShare(1000), InvalidRequests(1000))
    await rest.login(discord.world.settings.token)
    yield Desk(bus, rest, machine, gate, applier, town)
    await rest.close()
    await applier.stop()
