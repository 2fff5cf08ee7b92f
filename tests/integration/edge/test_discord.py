"""The edge as the endpoint of a (simulated) Discord: probes, signatures, answers in time."""

import asyncio
from collections.abc import AsyncIterator

import aiohttp
import pytest
from nacl.signing import SigningKey

from components.simulator.bootstrap import Simulator, running_simulator
from components.simulator.client import GuildInfo, SimulatorControl
from components.simulator.settings import Settings
from contracts.ids import GuildId
from contracts.interactions import COMMANDS
from tests.integration.edge.owners import InteractionOwner
from tests.integration.edge.running import Edge, running_edge
from tests.support.nats import RunningNats

APPLICATION = Settings().application_id


@pytest.fixture
async def simulator() -> AsyncIterator[Simulator]:
    async with running_simulator(Settings()) as running:
        yield running


@pytest.fixture
async def control(simulator: Simulator) -> AsyncIterator[SimulatorControl]:
    async with SimulatorControl(simulator.url) as client:
        yield client


@pytest.fixture
async def guild(simulator: Simulator, control: SimulatorControl) -> GuildInfo:
    """A guild with a moderator, in which the commands are deployed."""
    url = f"{simulator.api_url}/applications/{APPLICATION}/commands"
    commands = [command.as_discord() for command in COMMANDS]
    token = {"Authorization": f"Bot {Settings().token}"}
    async with (
        aiohttp.ClientSession() as http,
        http.put(url, json=commands, headers=token) as response,
    ):
        assert response.status == 200
    roles = [{"name": "moderator", "permissions": 1 << 13}]
    members = [{"username": "mod", "roles": ["moderator"]}]
    return (await control.create_guilds(roles=roles, members=members))[0]


@pytest.fixture
async def endpoint(nats_server: RunningNats, control: SimulatorControl) -> AsyncIterator[Edge]:
    """An edge with the application's public key, set as its endpoint (which probes it)."""
    application = (await control.applications())[0]
    key = SigningKey.generate()
    async with running_edge(nats_server, key, application["public_key"]) as edge:
        await control.update_application(
            APPLICATION, interactions_endpoint_url=f"{edge.url}/interactions/discord"
        )
        yield edge


async def test_the_endpoint_passes_discords_probes(
    endpoint: Edge, control: SimulatorControl
) -> None:
    assert await control.probe(APPLICATION)
    probes = [entry.data for entry in await control.record_all(["probe"])]
    assert {probe["status"] for probe in probes} == {200, 401}
    assert all(probe["passed"] for probe in probes)


async def test_a_command_is_answered_by_its_owner_over_http(
    endpoint: Edge, control: SimulatorControl, guild: GuildInfo, nats_server: RunningNats
) -> None:
    owner = InteractionOwner(await nats_server.connect("gateway"), GuildId(str(guild.id)))
    await owner.open()
    telling = asyncio.create_task(owner.answer_next())
    asked = await control.command(
        guild.channels["general"], guild.members[0].id, "case view", {"number": 7}
    )
    state = await control.interaction(asked, wait_s=5)
    assert (state["answer"], state["failure"]) == (4, None)
    assert [message["content"] for message in state["messages"]] == ["Case 7"]
    assert await telling is True


async def test_a_command_without_an_owner_is_deferred_before_discord_gives_up(
    endpoint: Edge, control: SimulatorControl, guild: GuildInfo
) -> None:
    asked = await control.command(
        guild.channels["general"], guild.members[0].id, "case view", {"number": 7}
    )
    state = await control.interaction(asked, wait_s=5)
    assert (state["answer"], state["failure"]) == (5, None)
