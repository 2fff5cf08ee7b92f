"""What becomes of a Discord session when its socket is closed: kept if it can be resumed, else
ended."""

import asyncio
from collections.abc import AsyncIterator

import aiohttp
import pytest

from components.discord_api import DiscordSettings, point_at
from components.shard.discord_rest import DiscordRest, logged_in
from components.shard.websocket import Connection, Ended
from components.simulator.bootstrap import Simulator
from components.simulator.client import SimulatorControl
from tests.integration.shard.replicas import until


class Hearing:
    """A receiver that notes when the session has begun."""

    def __init__(self) -> None:
        self.started = asyncio.Event()

    def confirmed(self) -> int | None:
        return None

    def session_started(self, session: str, resume_url: str) -> None:
        self.started.set()

    def dispatched(self, sequence: int, event: str, data: bytes) -> None:
        """Not what this is about."""


@pytest.fixture
async def rest(discord: Simulator) -> AsyncIterator[DiscordRest]:
    token = discord.world.settings.token
    point_at(DiscordSettings(token=token, api_url=discord.api_url, gateway_url=discord.gateway_url))
    async with logged_in(token, aiohttp.TraceConfig()) as rest:
        yield rest


@pytest.fixture
async def hearing() -> Hearing:
    return Hearing()


@pytest.fixture
async def connection(rest: DiscordRest, hearing: Hearing) -> Connection:
    return await Connection.open(
        rest.http, hearing, shard=0, shard_count=1, session=None, resume_url=None
    )


async def test_a_session_whose_ready_has_not_come_is_ended(
    connection: Connection, control: SimulatorControl
) -> None:
    await until(lambda: has_session(control))
    await connection.close()
    await until(lambda: has_none(control))


async def test_a_session_that_is_known_is_kept(
    connection: Connection, hearing: Hearing, control: SimulatorControl
) -> None:
    running = asyncio.create_task(connection.run())
    await hearing.started.wait()
    await connection.close()
    with pytest.raises(Ended):
        await running
    await until(lambda: is_waiting(control))


async def test_a_session_that_is_to_end_ends_whoever_closes_its_socket(
    connection: Connection, hearing: Hearing, control: SimulatorControl
) -> None:
    running = asyncio.create_task(connection.run())
    await hearing.started.wait()
    ending = asyncio.create_task(connection.end_session())
    await asyncio.sleep(0)  # it has begun, and is overtaken
    ending.cancel()
    with pytest.raises(Ended):
        await running
    await until(lambda: has_none(control))


async def has_session(control: SimulatorControl) -> bool:
    return len(await control.sessions()) == 1


async def has_none(control: SimulatorControl) -> bool:
    return await control.sessions() == []


async def is_waiting(control: SimulatorControl) -> bool:
    return [session["connected"] for session in await control.sessions()] == [False]
