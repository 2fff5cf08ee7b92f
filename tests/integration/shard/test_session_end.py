"""What becomes of a Discord session when its socket is closed: kept if it can be resumed, else
ended."""

import asyncio
import logging
from collections.abc import AsyncIterator

import aiohttp
import msgspec
import pytest
from aiohttp import web

from components.discord_api import DiscordSettings, point_at
from components.shard.discord_rest import DiscordRest, logged_in
from components.shard.websocket import Connection, Ended
from components.simulator.bootstrap import Simulator
from components.simulator.client import SimulatorControl
from tests.integration.shard.replicas import until

log = logging.getLogger(__name__)


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


class Busy:
    """A Discord that still has dispatches to send, and has not read yet, when its client ends the
    session: what happens on a loaded machine."""

    def __init__(self) -> None:
        self.goes_on = asyncio.Event()
        self.heard: asyncio.Future[int | None] = asyncio.get_running_loop().create_future()

    async def handle(self, request: web.Request) -> web.WebSocketResponse:
        """One session until its client closes it."""
        socket = web.WebSocketResponse()
        await socket.prepare(request)
        assert request.transport is not None
        await socket.send_json({"op": 10, "d": {"heartbeat_interval": 41_250}})
        await socket.receive()  # IDENTIFY
        ready = {"session_id": "abc", "resume_gateway_url": "ws://127.0.0.1:9"}
        await socket.send_json({"op": 0, "s": 1, "t": "READY", "d": ready})
        request.transport.pause_reading()
        await self.goes_on.wait()
        dispatch = msgspec.json.encode({"op": 0, "s": 2, "t": "TYPING_START", "d": "x" * 1_000})
        for _ in range(20):
            await socket.send_str(dispatch.decode())
        request.transport.resume_reading()
        async for message in socket:
            log.debug("the client sent %s", message)  # a heartbeat
        self.heard.set_result(socket.close_code)
        return socket


@pytest.fixture
async def busy(discord: Simulator, rest: DiscordRest) -> AsyncIterator[Busy]:
    busy = Busy()
    application = web.Application()
    application.router.add_get("/gateway", busy.handle)
    runner = web.AppRunner(application)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    host, port = runner.addresses[0]
    point_at(
        DiscordSettings(
            token=discord.world.settings.token,
            api_url=discord.api_url,
            gateway_url=f"ws://{host}:{port}/gateway",
        )
    )
    yield busy
    await runner.cleanup()


async def test_a_session_is_ended_also_when_discord_is_still_sending(
    busy: Busy, connection: Connection, hearing: Hearing
) -> None:
    running = asyncio.create_task(connection.run())
    await hearing.started.wait()
    ending = asyncio.create_task(connection.end_session())
    await asyncio.wait({ending}, timeout=0.5)  # it must not be over before Discord has heard of it
    running.cancel()
    busy.goes_on.set()
    async with asyncio.timeout(10):
        assert await busy.heard == 1000
    await ending
    with pytest.raises((asyncio.CancelledError, Ended)):
        await running


async def has_session(control: SimulatorControl) -> bool:
    return len(await control.sessions()) == 1


async def has_none(control: SimulatorControl) -> bool:
    return await control.sessions() == []


async def is_waiting(control: SimulatorControl) -> bool:
    return [session["connected"] for session in await control.sessions()] == [False]
