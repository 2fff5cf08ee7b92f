"""A Discord, a bus, a guild, and gateway pods as real processes."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from components.simulator.bootstrap import Simulator, running_simulator
from components.simulator.client import SimulatorControl
from components.simulator.settings import Settings
from tests.integration.gateway.town import Pods, Town
from tests.support.nats import RunningNats


@pytest.fixture
async def discord() -> AsyncIterator[Simulator]:
    """A Discord without rate limits."""
    async with running_simulator(Settings(limits=False)) as running:
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
