"""Asks a guild's owner, patiently: a guild that changes its owner has one again soon, and a request
that was lost with its owner is sent again.

Raises `OwnerRefused` with the owner's words, or because there is none, and `BusError`.
"""

import asyncio
from typing import TypeVar
from uuid import uuid4

from components.bus.connection import Bus
from components.bus.errors import NoOwner, Unanswered
from components.process.clock import steady_s
from components.restoring.errors import OwnerRefused
from components.telemetry.traces import carry
from contracts import headers, subjects
from contracts.errors import ErrorCode
from contracts.ids import GuildId
from contracts.message import decode, encode
from contracts.requests import GetDigest, GuildDigest, Request

T = TypeVar("T")

DEADLINE_S = 10.0
"""A digest of 100,000 rows takes its owner a second."""
FIRST_TRY_S = 2.0
"""Not answered by then, it is asked again, and has what is left: the guild may be a large one."""
RETRY_EVERY_S = 0.1

_AGAIN = {str(code) for code in (ErrorCode.MOVED, ErrorCode.TIMEOUT)}


async def ask(bus: Bus, guild: GuildId, request: Request, answer: type[T]) -> T:
    """The answer. A write is sent under one request id, however often it is retried."""
    fields: dict[str, str] = {}
    if request.writes:
        fields[headers.REQUEST_ID] = uuid4().hex
    subject = subjects.request(guild, request.verb)
    until_s = steady_s() + DEADLINE_S
    try_s = FIRST_TRY_S
    while True:
        within_s = min(try_s, max(RETRY_EVERY_S, until_s - steady_s()))
        fields[headers.DEADLINE_MS] = str(int(within_s * 1000))
        try:
            message = await bus.ask(
                subject, encode(request), {**carry(), **fields}, timeout_s=within_s
            )
        except NoOwner as error:
            if steady_s() >= until_s:
                raise OwnerRefused(
                    guild,
                    f"nobody serves guild {guild}: `modbot status` says what waits and why",
                ) from error
            await asyncio.sleep(RETRY_EVERY_S)  # between two owners nobody listens
            continue
        except Unanswered:
            if steady_s() >= until_s:
                raise
            try_s = DEADLINE_S
            continue
        found = message.headers or {}
        words = found.get(headers.SERVICE_ERROR)
        if not words:
            return decode(message.data, answer)
        code = found.get(headers.SERVICE_ERROR_CODE)
        if code not in _AGAIN or steady_s() >= until_s:
            raise OwnerRefused(guild, words)
        if code == str(ErrorCode.TIMEOUT):
            try_s = DEADLINE_S
        await asyncio.sleep(RETRY_EVERY_S)


async def digest(bus: Bus, guild: GuildId) -> GuildDigest:
    """All rows of the guild as its owner has them now."""
    return await ask(bus, guild, GetDigest(), GuildDigest)
