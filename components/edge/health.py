"""``/healthz`` and ``/readyz``: whether the process is up, and whether it can do its work."""

from litestar import Response, get
from litestar.handlers import HTTPRouteHandler

from components.bus.connection import Bus
from components.edge.problems import Problem, problem
from components.responder.responder import Responder


@get("/healthz", summary="Whether the process is up")
async def healthz() -> dict[str, str]:
    """Always yes: who answers is up."""
    return {"status": "up"}


def readyz_route(bus: Bus, responder: Responder) -> HTTPRouteHandler:
    """The readiness route; 503 says what is missing."""

    @get("/readyz", summary="Whether requests can be served")
    async def readyz() -> Response[dict[str, str]] | Response[Problem]:
        if not bus.connected:
            return problem(503, "not connected to NATS")
        if not responder.ready:
            return problem(503, "not yet listening for owners' answers")
        return Response({"status": "ready"})

    return readyz
