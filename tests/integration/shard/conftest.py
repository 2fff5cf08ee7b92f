"""A Discord, a bus, and shard replicas as real processes."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from components.simulator.bootstrap import Simulator
from components.simulator.client import SimulatorControl
from components.simulator.settings import Settings
from tests.integration.shard.replicas import Replicas
from tests.support.discord import checked_simulator
from tests.support.nats import RunningNats


@pytest.fixture
async def discord() -> AsyncIterator[Simulator]:
    """A Discord that drops what a heartbeat confirmed, with fast heartbeats and no limits."""
    settings = Settings(
        strict_resume=True,
        heartbeat_interval_ms=200,
        heartbeat_grace=20,
        limits=False,
        max_concurrency=4,
    )
    async with checked_simulator(settings) as running:
        yield running


@pytest.fixture
async def control(discord: Simulator) -> AsyncIterator[SimulatorControl]:
    """The way into the simulator."""
    async with SimulatorControl(discord.url) as client:
        yield client


@pytest.fixture
async def replicas(
    discord: Simulator, nats_server: RunningNats, tmp_path: Path
) -> AsyncIterator[Replicas]:
    """Starts shard processes; ends them after the test."""
    started = Replicas(discord, nats_server, tmp_path)
    try:
        yield started
    finally:
        await started.close()
