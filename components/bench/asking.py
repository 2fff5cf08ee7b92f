"""Clients of a measurement: they ask guilds' owners and note when they were answered.

`until_answered` asks as an edge does, and once more beside that, so that an attempt that went to a
dying pod holds up nobody; a write goes under one request id however often it is sent. `edge_like`
asks the way an edge does, and `put` the way a client of the bus writes: what they raise a user
would have seen.
"""

import asyncio
import time
import uuid
from typing import Any

import msgspec

from components.bench.stage import DELETES_ONLY
from components.bus.connection import Bus
from components.bus.errors import BusError
from components.chaos.arena import NotInTime
from components.edge.link import Link
from components.edge.owners import FIRST_PAUSE_S, LONGEST_PAUSE_S, Owners
from components.edge.replies import Replies
from components.responder.epochs import Epochs
from contracts import headers, subjects
from contracts.errors import ErrorCode, ServiceError
from contracts.ids import Epoch, GuildId
from contracts.inputs import Actor
from contracts.message import encode
from contracts.requests import GetSettings, PutSettings, Request

EVERY_S = 0.025
"""Between two attempts that nobody heard."""
BESIDE_S = 0.1
"""One that somebody may have heard is waited for so long before another is made beside it."""
TRY_S = 2.0
PUT_WITHIN_S = 5.0
"""A write is retried at least so long by whoever makes it (`components.cli.asking`)."""


async def until_answered(
    bus: Bus, guild: GuildId, request: Request, after: Epoch, within_s: float
) -> float:
    """When (wall clock, milliseconds) an owner of a later epoch first answered.

    Raises `NotInTime`.
    """
    loop = asyncio.get_running_loop()
    answered: asyncio.Future[float] = loop.create_future()
    subject, data = subjects.request(guild, request.verb), encode(request)
    fields = {headers.DEADLINE_MS: str(int(TRY_S * 1000))}
    if request.writes:
        fields[headers.REQUEST_ID] = uuid.uuid4().hex

    async def attempt() -> None:
        try:
            reply = await bus.ask(subject, data, fields, timeout_s=TRY_S)
        except BusError:
            return  # nobody answered: that is what is measured
        told = reply.headers or {}
        if headers.SERVICE_ERROR in told or int(told[headers.EPOCH]) <= after:
            return
        if not answered.done():
            answered.set_result(time.time() * 1000)

    attempts: set[asyncio.Task[None]] = set()
    until_s = loop.time() + within_s
    try:
        while not answered.done():
            if loop.time() > until_s:
                raise NotInTime(f"not within {within_s:g} s: guild {guild} answers {request.verb}")
            task = asyncio.create_task(attempt())
            attempts.add(task)
            task.add_done_callback(attempts.discard)
            # A plain wait for the first of them: the attempt is over at once where nobody hears it.
            first: set[asyncio.Future[Any]] = {answered, task}
            await asyncio.wait(first, timeout=BESIDE_S, return_when=asyncio.FIRST_COMPLETED)
            if task.done():
                await asyncio.wait({answered}, timeout=EVERY_S)
        return answered.result()
    finally:
        for task in attempts:
            task.cancel()


async def edge_like(bus: Bus) -> Owners:
    """The edge's own way to the owners, over this connection."""
    replies = Replies(bus)
    await replies.start()
    return Owners(replies, Link(bus), Epochs())


async def put(bus: Bus, guild: GuildId) -> Epoch:
    """Write as often as it takes, under one request id, and say at which epoch it was answered.

    Raises `ServiceError`: refused, or not answered within `PUT_WITHIN_S`.
    """
    request = a_write()
    subject, data, id_ = subjects.request(guild, request.verb), encode(request), uuid.uuid4().hex
    until_s, pause_s = time.monotonic() + PUT_WITHIN_S, FIRST_PAUSE_S
    while (left_s := until_s - time.monotonic()) > 0:
        try_s = min(left_s, TRY_S)
        fields = {headers.REQUEST_ID: id_, headers.DEADLINE_MS: str(int(try_s * 1000))}
        try:
            told = (await bus.ask(subject, data, fields, timeout_s=try_s)).headers or {}
        except BusError:
            told = {headers.SERVICE_ERROR_CODE: str(int(ErrorCode.MOVED))}
        if headers.SERVICE_ERROR_CODE not in told:
            return Epoch(int(told[headers.EPOCH]))
        code = int(told[headers.SERVICE_ERROR_CODE])
        if code not in (ErrorCode.MOVED, ErrorCode.UNAVAILABLE):
            raise ServiceError(code, told.get(headers.SERVICE_ERROR, ""))
        await asyncio.sleep(pause_s)
        pause_s = min(2 * pause_s, LONGEST_PAUSE_S)
    raise ServiceError(ErrorCode.UNAVAILABLE, f"a write to {guild} was not answered")


def a_read() -> GetSettings:
    """What is read."""
    return GetSettings()


def a_write() -> PutSettings:
    """What is written: the settings that are in force anyway."""
    return PutSettings(
        actor=Actor(kind="operator", id="bench"), settings=msgspec.Raw(encode(DELETES_ONLY))
    )
