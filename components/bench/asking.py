"""Clients of a measurement: they ask guilds' owners and note when they were answered.

`until_answered` makes attempts at a fixed pace, so that one that went to a dying pod holds up
nobody; a write goes under one request id however often it is sent. `as_edge` asks the way an edge
does: what it raises a user would have seen.
"""

import asyncio
import time
import uuid

import msgspec

from components.bench.stage import DELETES_ONLY
from components.bus.connection import Bus
from components.bus.errors import BusError
from components.chaos.arena import NotInTime
from components.edge.link import Link
from components.edge.owners import Owners
from components.edge.replies import Replies
from components.responder.epochs import Epochs
from contracts import headers, subjects
from contracts.ids import Epoch, GuildId
from contracts.inputs import Actor
from contracts.message import encode
from contracts.requests import GetSettings, PutSettings, Request

EVERY_S = 0.025
TRY_S = 2.0


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


def a_read() -> GetSettings:
    """What is read."""
    return GetSettings()


def a_write() -> PutSettings:
    """What is written: the settings that are in force anyway."""
    return PutSettings(
        actor=Actor(kind="operator", id="bench"), settings=msgspec.Raw(encode(DELETES_ONLY))
    )
