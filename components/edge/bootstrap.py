"""Wires an edge: settings, bus, responder, HTTP server; stops them in reverse order."""

import asyncio
import logging
import socket

from components.bus.connection import connect
from components.bus.settings import BusSettings
from components.edge.app import create_app
from components.edge.replies import Replies
from components.edge.server import listen, serve
from components.edge.settings import PREFIX, EdgeSettings, check
from components.process.service import service
from components.process.settings import load
from components.process.stopping import unless_stopped
from components.responder.responder import Responder
from components.telemetry.metrics import gauge

log = logging.getLogger(__name__)

COMPONENT = "edge"


async def main(stop: asyncio.Event) -> None:
    """Run one edge, configured by the environment, until ``stop`` is set."""
    async with service(COMPONENT) as replica:
        settings = check(load(EdgeSettings, PREFIX))
        bus = load(BusSettings, "NATS")
        await run_edge(settings, bus, replica, listen(settings.host, settings.port), stop)


async def run_edge(
    settings: EdgeSettings,
    bus_settings: BusSettings,
    replica: str,
    listening: socket.socket,
    stop: asyncio.Event,
) -> None:
    """Serve on the socket until ``stop`` is set. Raises `NotConnected` without a bus."""
    if not settings.operator_token:
        log.warning("no operator token is set: everything under /api is refused")
    if not settings.discord_public_key:
        log.warning("no public key is set: every interaction is refused")
    with listening:
        connecting = connect(bus_settings, user=COMPONENT, name=replica)
        bus = await unless_stopped(stop, connecting)
        try:
            gauge("modbot.nats.connected", lambda: int(bus.connected), "1 while the bus is reached")
            responder = Responder(bus, component=COMPONENT, replica=replica)
            replies = Replies(bus)
            await responder.start()
            await replies.start()
            host, port = listening.getsockname()[:2]
            log.info("edge listens on http://%s:%d", host, port)
            app = create_app(settings, bus, responder, replies, stop)
            await serve(app, listening, stop)
        finally:
            await bus.close()
