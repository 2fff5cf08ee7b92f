"""Asks a guild's owner, patiently: a guild that changes its owner has one again soon.

Raises `OwnerRefused` with the owner's words, or because there is none, and `BusError`.
"""

import asyncio
from typing import TypeVar
from uuid import uuid4

from components.bus.connection import Bus
from components.bus.errors import NoOwner
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
RETRY_EVERY_S = 0.1


async def ask(bus: Bus, guild: GuildId, request: Request, answer: type[T]) -> T:
    """The answer. A write is sent under one request id, however often it is retried."""
    fields = {headers.DEADLINE_MS: str(int(DEADLINE_S * 1000))}
    if request.writes:
        fields[headers.REQUEST_ID] = uuid4().hex
    subject = subjects.request(guild, request.verb)
    until_s = steady_s() + DEADLINE_S
    while True:
        try:
            message = await bus.ask(
                subject, encode(request), {**carry(), **fields}, timeout_s=DEADLINE_S
            )
        except NoOwner as error:
            if steady_s() >= until_s:
                raise OwnerRefused(
                    guild,
                    f"nobody serves guild {guild}: `modbot status` says what waits and why",
                ) from error
            await asyncio.sleep(RETRY_EVERY_S)  # between two owners nobody listens
            continue
        found = message.headers or {}
        words = found.get(headers.SERVICE_ERROR)
        if not words:
            return decode(message.data, answer)
        if found.get(headers.SERVICE_ERROR_CODE) != str(ErrorCode.MOVED) or steady_s() >= until_s:
            raise OwnerRefused(guild, words)
        await asyncio.sleep(RETRY_EVERY_S)


async def digest(bus: Bus, guild: GuildId) -> GuildDigest:
    """All rows of the guild as its owner has them now."""
    return await ask(bus, guild, GetDigest(), GuildDigest)
