"""The routes, put together. The schema is served as plain JSON: no page here loads anything."""

import asyncio
from typing import Final

from litestar import Litestar
from litestar.openapi import OpenAPIConfig
from litestar.openapi.plugins import JsonRenderPlugin
from litestar.openapi.spec import Components, SecurityScheme
from litestar.types import ASGIApp

from components.bus.connection import Bus
from components.edge.events import Listeners, events_route
from components.edge.guilds import guild_routes
from components.edge.health import healthz, readyz_route
from components.edge.interactions import Interactions, interactions_route
from components.edge.link import Link
from components.edge.owners import Owners
from components.edge.problems import EXCEPTION_HANDLERS
from components.edge.replies import Replies
from components.edge.security import requires_operator, with_security_headers
from components.edge.settings import EdgeSettings
from components.edge.signatures import Signatures
from components.responder.responder import Responder

OPENAPI: Final = OpenAPIConfig(
    title="modbot",
    version="1",
    path="/schema",
    render_plugins=[JsonRenderPlugin(path="/openapi.json")],
    components=Components(
        security_schemes={"operator": SecurityScheme(type="http", scheme="bearer")}
    ),
    security=[{"operator": []}],
)


def create_app(
    settings: EdgeSettings,
    bus: Bus,
    responder: Responder,
    replies: Replies,
    stop: asyncio.Event,
) -> ASGIApp:
    """The application. ``stop`` ends the feeds, which would else keep the server open."""
    link = Link(bus)
    guard = requires_operator(settings.operator_token)
    app = Litestar(
        route_handlers=[
            healthz,
            readyz_route(bus, responder),
            interactions_route(
                Interactions(bus, link, responder), Signatures(settings.discord_public_key)
            ),
            guild_routes(Owners(replies, link, responder.epochs), guard),
            events_route(Listeners(bus, link, stop), guard),
        ],
        exception_handlers=EXCEPTION_HANDLERS,
        openapi_config=OPENAPI,
        logging_config=None,
    )
    return with_security_headers(app)
