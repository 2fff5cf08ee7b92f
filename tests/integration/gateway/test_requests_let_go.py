"""An owner that lets go of a guild leaves nobody without an answer."""

import asyncio
from collections.abc import Coroutine
from typing import Any, cast

from nats.aio.msg import Msg

from components.gateway.ownership.commands import Permit
from components.gateway.shell.door import Door
from components.gateway.shell.requests import RequestServer
from contracts import headers, subjects
from contracts.errors import ErrorCode
from contracts.ids import Epoch, GuildId, PodId
from contracts.message import encode
from contracts.requests import GetSettings
from tests.support.nats import RunningNats

GUILD = GuildId("42")


async def test_step_15_a_request_whose_answer_had_not_begun_is_told_that_the_guild_moved(
    nats_server: RunningNats,
) -> None:
    bus = await nats_server.connect("gateway")
    caller = await nats_server.connect("operator")
    tasks: set[asyncio.Task[None]] = set()

    def spawn(work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        task = asyncio.create_task(work)
        tasks.add(task)
        task.add_done_callback(tasks.discard)
        return task

    never_reached = cast("Any", None)
    server = RequestServer(
        bus,
        never_reached,
        never_reached,
        never_reached,
        Permit(guild=GUILD, epoch=Epoch(1)),
        PodId("gateway-0"),
        never_reached,
        Door(bus, GUILD),
        spawn,
    )

    async def received(message: Msg) -> None:
        await server._received(message)
        server.stop()  # in the same step of the loop: the answer has not begun

    subject = subjects.request(GUILD, GetSettings.verb)
    await bus.listen(subject, received)
    await bus.barrier()
    reply = await caller.ask(subject, encode(GetSettings()), timeout_s=10.0)
    assert (reply.headers or {})[headers.SERVICE_ERROR_CODE] == str(ErrorCode.MOVED)
