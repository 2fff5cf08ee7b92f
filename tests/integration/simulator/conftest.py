"""A running simulator per test, its control client, and a bot's hands."""

import os
from collections.abc import AsyncIterator
from pathlib import Path

import aiohttp
import msgspec
import pytest

from components.simulator.bootstrap import Simulator, running_simulator
from components.simulator.client import GuildInfo, SimulatorControl
from components.simulator.settings import Settings
from tests.integration.simulator.raw import Caller


@pytest.fixture
def settings() -> Settings:
    """What the simulator of a test runs with; a module may override it."""
    return Settings(max_concurrency=16)


@pytest.fixture
async def sim(settings: Settings) -> AsyncIterator[Simulator]:
    """With a specification at hand, every body and dispatch of the test must fit it."""
    folder = os.environ.get("MODBOT_DISCORD_SPEC")
    if folder:
        settings = msgspec.structs.replace(settings, spec_folder=Path(folder))
    async with running_simulator(settings) as running:
        yield running
        entries, _ = running.world.record.since(0, frozenset({"violation"}))
        assert [e.data for e in entries if e.data["of"] != "request"] == []


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
