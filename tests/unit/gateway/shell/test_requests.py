"""What is left of a request when it is over."""

import asyncio
from collections.abc import Mapping
from typing import Any, cast

import msgspec
from nats.aio.msg import Msg

from components.bus.connection import Stored
from components.bus.errors import Unanswered
from components.gateway.engine.model import CommandReply
from components.gateway.ownership.commands import Permit
from components.gateway.shell.progress import Waiters
from components.gateway.shell.requests import RequestServer
from contracts import headers, subjects
from contracts.ids import Epoch, GuildId, PodId, RequestId, Sequence
from contracts.inputs import Actor
from contracts.message import encode
from contracts.requests import PutSettings

GUILD = GuildId("42")
REQUEST = RequestId("request-1")
WRITE = PutSettings(actor=Actor(kind="operator", id="ops"), settings=msgspec.Raw(b"{}"))


class Progress(Waiters):
    """A guild that is served."""

    parked_at = None
    refusal = ""


class Log:
    """Appends nothing, or what is on it already; hears the reply."""

    def __init__(self, error: Exception | None = None) -> None:
        self._error = error
        self.replies: list[bytes] = []

    async def append(self, subject: str, data: bytes, fields: Mapping[str, str]) -> Stored:
        if self._error is not None:
            raise self._error
        return Stored(7, duplicate=True)

    async def say(self, subject: str, data: bytes, fields: Mapping[str, str]) -> None:
        self.replies.append(data)


class Open:
    def check(self, permit: Permit) -> None: ...


class Kept:
    """The engine's side: the reply that it gave when the first one was applied."""

    async def read(self, _: object) -> CommandReply:
        return CommandReply(request_id=REQUEST, body=b"kept")


async def serve(log: Log, progress: Progress, deadline_ms: int = 5000) -> None:
    """Answer a write, to the end."""
    unused = cast("Any", None)
    server = RequestServer(
        cast("Any", log),
        cast("Any", Open()),
        cast("Any", Kept()),
        unused,
        Permit(guild=GUILD, epoch=Epoch(1)),
        PodId("gateway-0"),
        progress,
        unused,
        unused,
    )
    fields = {headers.REQUEST_ID: REQUEST, headers.DEADLINE_MS: str(deadline_ms)}
    subject = subjects.request(GUILD, WRITE.verb)
    await server._serve(
        Msg(cast("Any", None), subject=subject, reply="r", data=encode(WRITE), headers=fields)
    )
    await asyncio.sleep(0)  # what hears of the future's end has its turn


async def test_nobody_waits_for_the_reply_to_a_write_that_was_not_appended() -> None:
    progress = Progress()
    await serve(Log(Unanswered("modbot.in.42", 2.0)), progress)
    assert progress._replies == {}


async def test_nobody_waits_for_the_reply_to_a_write_that_was_applied_before() -> None:
    log, progress = Log(), Progress()
    progress.advance(Sequence(7))
    await serve(log, progress)
    assert log.replies == [b"kept"]
    assert progress._replies == {}


async def test_nobody_waits_for_the_reply_to_a_write_that_is_not_applied_in_time() -> None:
    progress = Progress()
    await serve(Log(), progress, deadline_ms=20)
    assert progress._replies == {}


async def test_who_waits_for_the_same_write_gets_its_reply_although_another_gave_up() -> None:
    progress = Progress()
    waiting = progress.expect_reply(REQUEST)
    await serve(Log(Unanswered("modbot.in.42", 2.0)), progress)
    reply = CommandReply(request_id=REQUEST, body=b"done")
    progress.replied(reply)
    async with asyncio.timeout(1):
        assert await waiting == reply
