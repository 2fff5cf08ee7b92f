"""``GET /api/guilds/{guild}/events``: a guild's facts as server-sent events.

``id`` is the fact's sequence in EVENTS, ``event`` its type, ``data`` the CloudEvent as
``{"attributes": {…}, "data": {…}}``. ``Last-Event-ID`` resumes after that fact (0: from the
oldest one held); without it the feed begins now. A listener that does not read for `STALLED_S`
is cut off and may resume. Fails with 503 before the first byte when the bus is away or too many
listen.

docs: html.spec.whatwg.org, "Server-sent events"
"""

import asyncio
import logging
from collections.abc import Coroutine
from contextlib import aclosing
from typing import Annotated, Any, Final

import msgspec
from litestar import get
from litestar.handlers import HTTPRouteHandler
from litestar.openapi import ResponseSpec
from litestar.params import FromPath, HeaderParameter
from litestar.types import ASGIApp, Guard, Receive, Scope, Send

from components.bus.connection import Bus
from components.bus.errors import BusError
from components.edge.feed import Feed, StoredFact, open_feed
from components.edge.guilds import guild_id
from components.edge.link import Link
from contracts.errors import ErrorCode, ServiceError
from contracts.ids import GuildId, Sequence

log = logging.getLogger(__name__)

MAX_LISTENERS: Final = 500
STALLED_S: Final = 30.0
RETRY_MS: Final = 1000
"""How long a browser waits before it comes back."""

_ATTRIBUTE: Final = "ce-"

LastEventId = Annotated[
    str | None,
    HeaderParameter(name="Last-Event-ID", description="The feed goes on after this event; 0: all"),
]


class Listeners:
    """Those who listen to feeds; they are let go when the edge stops."""

    limit = MAX_LISTENERS

    def __init__(self, bus: Bus, link: Link, stop: asyncio.Event) -> None:
        self._bus = bus
        self._link = link
        self._stop = stop
        self._count = 0

    async def serve(
        self, guild: GuildId, after: Sequence | None, receive: Receive, send: Send
    ) -> None:
        """Send the feed until the listener leaves or stalls or the edge stops. Raises
        `ServiceError` before anything was sent."""
        if self._count >= self.limit:
            raise ServiceError(ErrorCode.UNAVAILABLE, "too many feeds are open on this edge")
        self._count += 1
        try:
            feed = await self._open(guild, after)
            await self._until_over(_send_feed(feed, send), receive)
        finally:
            self._count -= 1

    async def _open(self, guild: GuildId, after: Sequence | None) -> Feed:
        try:
            return await open_feed(self._bus, self._link, guild, after)
        except BusError as error:
            log.warning("no feed of guild %s: %s", guild, error)
            raise ServiceError(
                ErrorCode.UNAVAILABLE, "modbot's message bus cannot be reached; try again"
            ) from error

    async def _until_over(self, sending: Coroutine[Any, Any, None], receive: Receive) -> None:
        tasks = [
            asyncio.create_task(sending),
            asyncio.create_task(_left(receive)),
            asyncio.create_task(self._stop.wait()),
        ]
        try:
            await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in tasks:
                task.cancel()
            results = await asyncio.gather(*tasks, return_exceptions=True)
        if isinstance(results[0], TimeoutError):
            log.info("a listener stalled for %g s and was cut off", STALLED_S)
        elif isinstance(results[0], Exception):
            raise results[0]


def events_route(listeners: Listeners, guard: Guard) -> HTTPRouteHandler:
    """The route. It answers as a bare ASGI app: a listener's end is seen at once, and its consumer
    is removed."""

    @get(
        "/api/guilds/{guild:str}/events",
        guards=[guard],
        summary="Facts as server-sent events",
        responses={200: ResponseSpec(bytes, description="Events", media_type="text/event-stream")},
    )
    async def events(guild: FromPath[str], last_event_id: LastEventId = None) -> ASGIApp:
        following, after = guild_id(guild), event_id(last_event_id)

        async def feed(_: Scope, receive: Receive, send: Send) -> None:
            await listeners.serve(following, after, receive, send)

        return feed

    return events


def event_id(text: str | None) -> Sequence | None:
    """The sequence that a ``Last-Event-ID`` names; 400 when it is none of this feed's."""
    if not text:
        return None
    if not text.isascii() or not text.isdigit() or len(text) > 18:
        raise ServiceError(ErrorCode.MALFORMED, "Last-Event-ID: give the id of an event or 0")
    return Sequence(int(text))


def as_event(fact: StoredFact) -> bytes:
    """A fact as a server-sent event."""
    attributes = {
        name[len(_ATTRIBUTE) :]: value
        for name, value in fact.headers.items()
        if name.startswith(_ATTRIBUTE)
    }
    # A line break ends an event's field; in JSON it is only ever white space.
    data = msgspec.Raw(fact.data.replace(b"\r", b" ").replace(b"\n", b" "))
    content = msgspec.json.encode({"attributes": attributes, "data": data})
    return f"id: {fact.sequence}\nevent: {fact.type}\ndata: ".encode() + content + b"\n\n"


async def _send_feed(feed: Feed, send: Send) -> None:
    headers = [(b"content-type", b"text/event-stream; charset=utf-8")]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await _send(send, f"retry: {RETRY_MS}\n\n".encode())
    async with aclosing(feed.facts()) as facts:
        async for fact in facts:
            await _send(send, b": still here\n\n" if fact is None else as_event(fact))


async def _send(send: Send, chunk: bytes) -> None:
    async with asyncio.timeout(STALLED_S):
        await send({"type": "http.response.body", "body": chunk, "more_body": True})


async def _left(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass
