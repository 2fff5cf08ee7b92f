"""Asks the owner of a guild, whoever that is, and makes a handoff look like a pause.

Promise: the reply comes from the highest epoch known of the guild and has applied at least what
the caller had seen; that is what makes callers read their own writes. Reads only, so asking
again is harmless. Raises `ServiceError`: the owner's own, or UNAVAILABLE in words when nobody
answered inside the deadline.
"""

import asyncio
import logging
from collections.abc import Callable
from typing import Final, Generic, TypeVar

import msgspec
from nats.aio.msg import Msg

from components.bus.errors import NoOwner, NotConnected, Unanswered
from components.edge.link import Link
from components.edge.replies import Replies
from components.process.clock import steady_s
from components.responder.epochs import Epochs
from components.telemetry.traces import carry, span
from contracts import headers, subjects
from contracts.errors import ErrorBody, ErrorCode, ServiceError
from contracts.ids import Epoch, GuildId, Sequence
from contracts.message import MalformedMessage, decode, encode
from contracts.requests import Request

log = logging.getLogger(__name__)

READ_WITHIN_S: Final = 2.0
TRY_S: Final = 1.0
"""One request waits so long: an owner that died with it is asked anew inside the deadline."""
SILENT_S: Final = 0.1
"""Who was asked for less than that was not silent: what was said before counts."""
FIRST_PAUSE_S: Final = 0.002
LONGEST_PAUSE_S: Final = 0.02
"""Between two requests that nobody heard; nothing tells the edge when a guild is opened."""

T = TypeVar("T")


class OwnerReply(msgspec.Struct, Generic[T], frozen=True, kw_only=True):
    """What the owner said, and how far it was when it said so."""

    value: T
    epoch: Epoch
    applied: Sequence

    @property
    def etag(self) -> str:
        """``"<epoch>-<applied>"``, as an entity tag."""
        return f'"{self.epoch}-{self.applied}"'


class Owners:
    """The way to the owners of all guilds."""

    def __init__(
        self, replies: Replies, link: Link, epochs: Epochs, clock: Callable[[], float] = steady_s
    ) -> None:
        self._replies = replies
        self._link = link
        self._epochs = epochs
        self._clock = clock

    async def ask(
        self,
        guild: GuildId,
        request: Request,
        expected: type[T],
        *,
        min_applied: Sequence | None = None,
        within_s: float = READ_WITHIN_S,
    ) -> OwnerReply[T]:
        """The owner's reply to a read."""
        with span(f"ask {request.verb}", guild=guild):
            return await self._ask(guild, request, expected, min_applied, within_s)

    async def _ask(
        self,
        guild: GuildId,
        request: Request,
        expected: type[T],
        min_applied: Sequence | None,
        within_s: float,
    ) -> OwnerReply[T]:
        subject = subjects.request(guild, request.verb)
        data = encode(request)
        loop = asyncio.get_running_loop()
        deadline = self._clock() + within_s
        pause = FIRST_PAUSE_S
        why = ""
        while (left := deadline - self._clock()) > 0:
            try_s = min(left, TRY_S)
            fields = carry({headers.DEADLINE_MS: str(int(try_s * 1000))})
            if min_applied is not None:
                fields[headers.MIN_APPLIED] = str(min_applied)
            again, pause_s = asyncio.timeout(None), min(pause, left)

            def accept(
                message: Msg, again: asyncio.Timeout = again, pause_s: float = pause_s
            ) -> OwnerReply[T] | None:
                nonlocal why
                try:
                    return self._read(guild, message, expected)
                except ServiceError as error:
                    if error.code not in (ErrorCode.MOVED, ErrorCode.UNAVAILABLE):
                        raise
                    why = error.description
                # Who let go of the guild says so at once; whoever takes it may have heard the
                # request as well, and answers when it may.
                again.reschedule(loop.time() + pause_s)
                return None

            try:
                async with again:
                    return await self._replies.ask(subject, data, fields, accept, timeout_s=try_s)
            except NotConnected:
                why = "modbot's message bus cannot be reached"
                await self._link.wait(left)
                continue
            except Unanswered:
                if not why or try_s >= SILENT_S:
                    why = "the guild's owner did not answer in time"
                continue
            except NoOwner:
                why = "no gateway pod owns this guild at the moment, or it is not one of modbot's"
                await asyncio.sleep(pause_s)
            except TimeoutError:
                pass  # asked anew
            pause = min(2 * pause, LONGEST_PAUSE_S)
        raise ServiceError(ErrorCode.UNAVAILABLE, f"{why}; try again in a moment")

    def _read(self, guild: GuildId, message: Msg, expected: type[T]) -> OwnerReply[T] | None:
        """The reply; None if its owner has been replaced. Raises `ServiceError`."""
        fields = message.headers or {}
        epoch = _number(fields.get(headers.EPOCH))
        if epoch is not None and not self._epochs.is_current(guild, Epoch(epoch)):
            log.warning("reply of a replaced owner of %s (epoch %d) ignored", guild, epoch)
            return None
        if headers.SERVICE_ERROR_CODE in fields or headers.SERVICE_ERROR in fields:
            raise _refusal(message)
        applied = _number(fields.get(headers.APPLIED))
        try:
            value = decode(message.data, expected)
        except MalformedMessage as error:
            raise _malformed(message.subject, str(error)) from error
        if epoch is None or applied is None:
            raise _malformed(message.subject, "no epoch or no applied sequence")
        return OwnerReply(value=value, epoch=Epoch(epoch), applied=Sequence(applied))


def _refusal(message: Msg) -> ServiceError:
    fields = message.headers or {}
    code = _number(fields.get(headers.SERVICE_ERROR_CODE)) or 0
    words = fields.get(headers.SERVICE_ERROR, "the owner gave no reason")
    try:
        body = decode(message.data, ErrorBody)
    except MalformedMessage:
        return ServiceError(code, words)
    return ServiceError(code, body.error or words, body.fields)


def _malformed(subject: str, reason: str) -> ServiceError:
    log.error("malformed reply on %s: %s", subject, reason)
    return ServiceError(0, "the guild's owner gave a reply that this edge cannot read")


def _number(text: str | None) -> int | None:
    return int(text) if text is not None and text.isascii() and text.isdigit() else None
