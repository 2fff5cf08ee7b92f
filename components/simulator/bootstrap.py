"""Puts the simulator together and serves it. The only place that wires things."""

import asyncio
import logging
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from aiohttp import web

from components.process.exits import CannotStart
from components.process.service import start_service
from components.simulator.actions.guilds import GuildPlan, create
from components.simulator.clock import Clock, Snowflake
from components.simulator.control.actions import Actions, new_application
from components.simulator.control.server import Control
from components.simulator.faults import Faults
from components.simulator.gateway.fanout import Fanout
from components.simulator.gateway.protocol import PRIVILEGED
from components.simulator.gateway.server import Gateway
from components.simulator.interactions.endpoint import Endpoint, probe_regularly
from components.simulator.interactions.service import Interactions
from components.simulator.ratelimits import RateLimits
from components.simulator.record import Record
from components.simulator.rest.server import Rest
from components.simulator.settings import Settings, SettingsError, from_environment
from components.simulator.spec import Specification
from components.simulator.world.store import World

# Undocumented: the largest body Discord takes. A message with files may have 25 MiB.
BODY_MAX = 26 * 1024 * 1024
# How long open sockets may take to close when the simulator stops.
SHUTDOWN_S = 1.0

log = logging.getLogger(__name__)


class Simulator:
    """A simulator that listens."""

    def __init__(self, world: World, gateway: Gateway, url: str) -> None:
        self.world = world
        self.gateway = gateway
        self.url = url
        self.gateway_url = gateway.url

    @property
    def api_url(self) -> str:
        """What discord.py's `Route.BASE` and hikari's `rest_url` are set to."""
        return f"{self.url}/api/v10"


@asynccontextmanager
async def running_simulator(settings: Settings | None = None) -> AsyncIterator[Simulator]:
    """Serve until the block ends. Raises OSError when the port is taken."""
    settings = settings or Settings()
    listener = socket.create_server((settings.host, settings.port), backlog=512)
    port = listener.getsockname()[1]
    url = settings.public_url or f"http://{settings.host}:{port}"
    clock = Clock()
    record = Record(clock, settings.record_limit)
    world = World(settings, clock, record)
    specification = None
    if settings.spec_folder is not None:
        specification = Specification(settings.spec_folder, record)
    fanout = Fanout(record, _unchecked if specification is None else specification.check_dispatch)
    world.sink = fanout.publish
    limits, faults = RateLimits(settings, clock), Faults()
    gateway = Gateway(world, fanout, limits, f"ws{url.removeprefix('http')}/gateway")
    endpoint = Endpoint(record, settings.ack_s)
    interactions = Interactions(world, endpoint)
    application = new_application(
        world,
        Snowflake(settings.application_id),
        settings.application_name,
        settings.token,
        int(PRIVILEGED),
    )
    application.interactions_endpoint_url = settings.interactions_endpoint_url
    for i in range(settings.guilds):
        create(world, GuildPlan(name=f"guild-{i}"))
    app = web.Application(client_max_size=BODY_MAX)
    Control(Actions(world, gateway, limits, faults, interactions), record).register(app.router)
    app.router.add_get("/gateway", gateway.handle)
    app.router.add_get("/gateway/", gateway.handle)
    Rest(world, gateway, interactions, limits, faults, specification, url).register(app.router)
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=SHUTDOWN_S)
    await runner.setup()
    probes: list[asyncio.Task[None]] = []
    if settings.probe_interval_s > 0:
        probing = probe_regularly(endpoint, world.applications, settings.probe_interval_s)
        probes.append(asyncio.create_task(probing))
    try:
        await web.SockSite(runner, listener).start()
        log.info("simulator ready: %s gateway %s", url, gateway.url)
        yield Simulator(world, gateway, url)
    finally:
        for task in probes:
            task.cancel()
        await asyncio.gather(*probes, return_exceptions=True)
        await interactions.close()
        gateway.close()
        record.close()
        await runner.cleanup()


async def main(stop: asyncio.Event) -> None:
    """What `modbot run simulator` does: serve until the event is set."""
    start_service("simulator")
    try:
        settings = from_environment()
    except SettingsError as error:
        raise CannotStart(str(error)) from error
    async with running_simulator(settings):
        await stop.wait()


def _unchecked(name: str, data: dict[str, Any]) -> None:
    """Without a specification no dispatch is checked."""
