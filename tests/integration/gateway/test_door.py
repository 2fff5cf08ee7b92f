"""Requests that come before their owner serves wait for it; nobody is left without an answer."""

import asyncio

import pytest
from nats.aio.msg import Msg

from components.bus.connection import Bus
from components.bus.errors import NoOwner
from components.gateway.shell.door import MOST_WAITING, Door
from contracts import headers, subjects
from contracts.errors import ErrorCode
from contracts.ids import GuildId
from contracts.message import encode
from contracts.requests import GetSettings
from tests.support.nats import RunningNats

GUILD = GuildId("42")
MOVED = str(ErrorCode.MOVED)


async def _ask(caller: Bus, within_s: float = 5.0) -> Msg:
    fields = {headers.DEADLINE_MS: str(int(within_s * 1000))}
    subject = subjects.request(GUILD, GetSettings.verb)
    return await caller.ask(subject, encode(GetSettings()), fields, timeout_s=within_s)


async def _asking(caller: Bus, count: int) -> list[asyncio.Task[Msg]]:
    """Questions that are on their way, and at the door once the pod's barrier has returned."""
    tasks = [asyncio.create_task(_ask(caller)) for _ in range(count)]
    await asyncio.sleep(0)
    await caller.barrier()
    return tasks


def _code(message: Msg) -> str:
    return (message.headers or {}).get(headers.SERVICE_ERROR_CODE, "")


async def test_what_waits_is_handed_over_and_so_is_what_comes_later(
    nats_server: RunningNats,
) -> None:
    bus, caller = await nats_server.connect("gateway"), await nats_server.connect("operator")
    door = Door(bus, GUILD)
    await door.open()
    await bus.barrier()
    early = await _asking(caller, 3)
    await bus.barrier()
    assert not any(task.done() for task in early)

    async def answer(message: Msg) -> None:
        await bus.say(message.reply, b"answered")

    await door.lead_to(answer)
    assert [reply.data for reply in await asyncio.gather(*early)] == [b"answered"] * 3
    assert (await _ask(caller)).data == b"answered"


async def test_a_door_that_closes_turns_away_whoever_waits(nats_server: RunningNats) -> None:
    bus, caller = await nats_server.connect("gateway"), await nats_server.connect("operator")
    door = Door(bus, GUILD)
    await door.open()
    await bus.barrier()
    early = await _asking(caller, 3)
    await bus.barrier()
    await door.close()
    assert [_code(reply) for reply in await asyncio.gather(*early)] == [MOVED] * 3
    with pytest.raises(NoOwner):
        await _ask(caller)


async def test_one_more_than_may_wait_is_turned_away(nats_server: RunningNats) -> None:
    bus, caller = await nats_server.connect("gateway"), await nats_server.connect("operator")
    door = Door(bus, GUILD)
    await door.open()
    await bus.barrier()
    asked = await _asking(caller, MOST_WAITING + 1)
    done, waiting = await asyncio.wait(asked, return_when=asyncio.FIRST_COMPLETED)
    assert [_code(task.result()) for task in done] == [MOVED]
    assert len(waiting) == MOST_WAITING
    await door.close()
    await asyncio.gather(*waiting)


async def test_nobody_answers_a_caller_whose_deadline_is_over(nats_server: RunningNats) -> None:
    bus, caller = await nats_server.connect("gateway"), await nats_server.connect("operator")
    door = Door(bus, GUILD)
    await door.open()
    await bus.barrier()
    late = asyncio.create_task(_ask(caller, 0.05))
    await asyncio.wait([late])  # the caller has given up
    await bus.barrier()
    await asyncio.sleep(0.05)  # its deadline, as the door counts it: from when the request came
    in_time = await _asking(caller, 1)
    await bus.barrier()
    answered: list[str] = []

    async def answer(message: Msg) -> None:
        answered.append(message.reply)
        await bus.say(message.reply, b"answered")

    await door.lead_to(answer)
    await asyncio.gather(*in_time)
    assert late.exception() is not None
    assert len(answered) == 1


async def test_a_door_that_was_closed_while_it_opened_lets_nobody_in(
    nats_server: RunningNats,
) -> None:
    bus, caller = await nats_server.connect("gateway"), await nats_server.connect("operator")
    door = Door(bus, GUILD)
    opening = asyncio.create_task(door.open())
    await asyncio.gather(door.close(), opening)
    await bus.barrier()
    with pytest.raises(NoOwner):
        await _ask(caller)
