"""``POST /interactions/discord``: the first response to an interaction that came over HTTP.

Promise: whatever is wrong with the signature is 401; a signed interaction is answered inside
Discord's 3 s, by the guild's owner if it is quick, else by a deferral, else, when the bus does
not take it, in words that only its caller sees. The interaction is on the guild's log before it
is deferred.

docs: interactions/receiving-and-responding; design.md "First responders"
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable
from typing import Any, Final

import msgspec
from litestar import Request, post
from litestar.exceptions import ClientException, NotAuthorizedException
from litestar.handlers import HTTPRouteHandler
from litestar.response.base import ASGIResponse
from litestar.types import ASGIApp, Receive, Scope, Send
from opentelemetry.trace import SpanKind

from components.bus.connection import Bus
from components.bus.errors import BusError, NotConnected, Unanswered
from components.edge.link import Link
from components.edge.signatures import Signatures
from components.process.clock import steady_s
from components.responder.responder import Pending, Responder
from components.telemetry.traces import carry, span
from contracts import headers, subjects
from contracts.errors import ErrorCode, ServiceError
from contracts.ids import GuildId, is_snowflake
from contracts.inputs import InteractionReceived, interaction_id
from contracts.interactions import (
    CHANNEL_MESSAGE,
    EPHEMERAL,
    OWNER_WAIT_S,
    PING,
    PONG,
    InteractionHead,
    deferral_of,
    guild_of_interaction,
    read_interaction,
)
from contracts.message import MalformedMessage, encode

log = logging.getLogger(__name__)

MAX_BODY: Final = 256 * 1024
"""Bytes; a press carries its whole message, of at most 6,000 characters of embeds."""
BODY_WITHIN_S: Final = 0.5
APPEND_WITHIN_S: Final = 2.0
"""From receipt; leaves Discord's 3 s a margin for the way there and back."""
APPEND_TRY_S: Final = 0.5
APPEND_PAUSE_S: Final = 0.05
"""After the server refused; what it lacks (a leader, room) announces itself to nobody."""

NO_GUILD: Final = "This works only inside a server, or on a message that belongs to one."
BUS_AWAY: Final = (
    "modbot could not take this just now: its message bus is not available. Nothing has been "
    "done; please try again in a minute."
)
BUS_SILENT: Final = (
    "modbot cannot say whether it took this: its message bus did not answer. It may still be done; "
    "please look in a minute, before you try again."
)

Response = dict[str, Any]


class Interactions:
    """Gives interactions their first response."""

    def __init__(
        self, bus: Bus, link: Link, responder: Responder, clock: Callable[[], float] = steady_s
    ) -> None:
        self._bus = bus
        self._link = link
        self._responder = responder
        self.clock = clock

    async def respond(
        self, data: bytes, received_s: float, give: Callable[[Response], Awaitable[None]]
    ) -> None:
        """Decide the first response and ``give`` it. ``received_s``: when the request came, on
        the clock. Raises `ServiceError` 400 for what is no interaction."""
        try:
            interaction = read_interaction(data)
        except MalformedMessage as error:
            raise ServiceError(ErrorCode.MALFORMED, str(error)) from error
        if interaction.type == PING:
            await give({"type": PONG})
            return
        if not is_snowflake(interaction.id):
            raise ServiceError(ErrorCode.MALFORMED, "the interaction's id is not a Discord id")
        guild = guild_of_interaction(interaction)
        if guild is None:
            await give(in_words(NO_GUILD))
            return
        with span("interaction", kind=SpanKind.SERVER, guild=guild, interaction=interaction.id):
            async with self._responder.expect(interaction.id, guild) as pending:
                # Inside the block: owners hear what became of their answer once this is given.
                await give(await self._first(interaction, guild, data, pending, received_s))

    async def _first(
        self,
        interaction: InteractionHead,
        guild: GuildId,
        data: bytes,
        pending: Pending,
        received_s: float,
    ) -> Response:
        problem = await self._append(interaction, guild, data, pending.answer_to, received_s)
        answer = await pending.wait(OWNER_WAIT_S - (self.clock() - received_s))
        if answer is not None:
            return {"type": answer.type, "data": answer.data}
        if problem:
            return in_words(problem)
        return deferral_of(interaction.type, interaction.name).as_discord()

    async def _append(
        self,
        interaction: InteractionHead,
        guild: GuildId,
        data: bytes,
        answer_to: str,
        received_s: float,
    ) -> str:
        """Make the interaction durable, once, however often it is tried. Returns what to tell its
        caller if that did not succeed, else nothing."""
        received = InteractionReceived(via="http", answer_to=answer_to, data=msgspec.Raw(data))
        body = encode(received)
        fields = carry({headers.MSG_ID: interaction_id(interaction.id)})
        deadline = received_s + APPEND_WITHIN_S
        problem = BUS_AWAY
        while (left := deadline - self.clock()) > 0:
            try:
                await self._bus.append(
                    subjects.inputs(guild), body, fields, timeout_s=min(left, APPEND_TRY_S)
                )
            except NotConnected:
                await self._link.wait(left)
            except BusError as error:
                if isinstance(error, Unanswered):
                    problem = BUS_SILENT  # whatever the next attempts come to: it may be stored
                log.warning("interaction %s not stored yet: %s", interaction.id, error)
                await asyncio.sleep(min(APPEND_PAUSE_S, left))
            else:
                return ""
        log.error("interaction %s of guild %s could not be stored", interaction.id, guild)
        return problem


def in_words(text: str) -> Response:
    """A message that only the caller sees and that mentions nobody."""
    data = {"content": text, "flags": EPHEMERAL, "allowed_mentions": {"parse": []}}
    return {"type": CHANNEL_MESSAGE, "data": data}


def interactions_route(interactions: Interactions, signatures: Signatures) -> HTTPRouteHandler:
    """The route. It answers as a bare ASGI app: the response is sent inside `Responder.expect`."""

    @post("/interactions/discord", include_in_schema=False)
    async def discord(request: Request[Any, Any, Any]) -> ASGIApp:
        received_s = interactions.clock()
        signature = request.headers.get("x-signature-ed25519")
        timestamp = request.headers.get("x-signature-timestamp")
        if not signatures.plausible(signature, timestamp):
            raise NotAuthorizedException("The request is not signed by Discord")
        body = await _body(request)
        if not signatures.right(signature, timestamp, body):
            raise NotAuthorizedException("The request is not signed by Discord")

        async def answer(scope: Scope, receive: Receive, send: Send) -> None:
            async def give(response: Response) -> None:
                content = msgspec.json.encode(response)
                http = ASGIResponse(body=content, media_type="application/json")
                await http(scope, receive, send)

            await interactions.respond(body, received_s, give)

        return answer

    return discord


async def _body(request: Request[Any, Any, Any]) -> bytes:
    """The raw body; 413 above `MAX_BODY`, 408 when it does not come in time."""
    if int(request.headers.get("content-length", "0")) > MAX_BODY:
        raise _too_large()
    body = bytearray()
    try:
        async with asyncio.timeout(BODY_WITHIN_S):
            while True:
                message = await request.receive()
                if message["type"] != "http.request":
                    raise ClientException("The body ended early")
                body += message["body"]
                if len(body) > MAX_BODY:
                    raise _too_large()
                if not message["more_body"]:
                    return bytes(body)
    except TimeoutError as error:
        raise ClientException("The body did not come in time", status_code=408) from error


def _too_large() -> ClientException:
    return ClientException(f"An interaction has at most {MAX_BODY} bytes", status_code=413)
