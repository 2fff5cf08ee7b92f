"""A running simulator per test, its control client, and a bot's hands."""

from collections.abc import AsyncIterator

import aiohttp
import pytest

from components.simulator.bootstrap import Simulator, running_simulator
from components.simulator.client import GuildInfo, SimulatorControl
from components.simulator.settings import Settings
from tests.integration.simulator.raw import Caller


@pytest.fixture
def settings() -> Settings:
    """What the simulator of a test runs with; a module may override it."""
    return Settings(max_concurrency=16, limits=True)


@pytest.fixture
async def sim(settings: Settings) -> AsyncIterator[Simulator]:
    async with running_simulator(settings) as running:
        yield running


@pytest.fixture
async def control(sim: Simulator) -> AsyncIterator[SimulatorControl]:
    async with SimulatorControl(sim.url) as client:
        yield client


@pytest.fixture
async def guild(control: SimulatorControl) -> GuildInfo:
    """A guild with three members, a role below and one above the bot's hands."""
    roles = [{"name": "helper"}, {"name": "administrator", "permissions": 8}]
    people = [
        {"username": "alice"},
        {"username": "bob"},
        {"username": "root", "roles": ["administrator"]},
    ]
    return (await control.create_guilds(roles=roles, members=people))[0]


@pytest.fixture
async def caller(sim: Simulator) -> AsyncIterator[Caller]:
    async with aiohttp.ClientSession() as http:
        yield Caller(http, sim.api_url, sim.gateway_url)
