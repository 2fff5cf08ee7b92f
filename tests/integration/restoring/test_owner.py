"""Asking a guild's owner."""

import asyncio

import pytest
from nats.aio.msg import Msg

from components.restoring import owner
from components.restoring.errors import OwnerRefused
from contracts import headers, subjects
from contracts.errors import ErrorCode
from contracts.ids import GuildId
from contracts.inputs import Actor
from contracts.requests import CloseRestore, GetGuildStatus, Request
from tests.support.nats import RunningNats

GUILD = GuildId("42")
CLOSE = CloseRestore(actor=Actor(kind="operator", id="ops"), restore="r-1")
NOT_IN_TIME = {headers.SERVICE_ERROR: "late", headers.SERVICE_ERROR_CODE: str(ErrorCode.TIMEOUT)}


class Owner:
    """Says nothing to the first request, or that it was late; answers the next after a while."""

    def __init__(self, first: dict[str, str] | None, takes_s: float) -> None:
        self._first = first
        self._takes_s = takes_s
        self.asked: list[dict[str, str]] = []

    async def begin(self, nats: RunningNats) -> None:
        self._bus = await nats.connect("gateway")
        await self._bus.listen(subjects.requests(GUILD), self._answer)
        await self._bus.barrier()

    async def _answer(self, message: Msg) -> None:
        self.asked.append(dict(message.headers or {}))
        if len(self.asked) > 1:
            await asyncio.sleep(self._takes_s)
            await self._bus.say(message.reply, b"{}")
        elif self._first is not None:
            await self._bus.say(message.reply, b"{}", self._first)


@pytest.mark.parametrize("request_", [GetGuildStatus(), CLOSE])
async def test_a_request_that_was_lost_with_its_owner_is_sent_again(
    nats_server: RunningNats, request_: Request
) -> None:
    there = Owner(None, takes_s=2.5)  # a large guild
    await there.begin(nats_server)
    bus = await nats_server.connect("operator")
    assert await owner.ask(bus, GUILD, request_, dict) == {}
    assert len(there.asked) == 2
    first, second = (fields.get(headers.REQUEST_ID) for fields in there.asked)
    assert first == second
    assert bool(first) == request_.writes


async def test_a_write_that_was_not_applied_in_time_is_sent_again_under_its_id(
    nats_server: RunningNats,
) -> None:
    there = Owner(NOT_IN_TIME, takes_s=0)
    await there.begin(nats_server)
    bus = await nats_server.connect("operator")
    assert await owner.ask(bus, GUILD, CLOSE, dict) == {}
    assert len({fields[headers.REQUEST_ID] for fields in there.asked}) == 1


async def test_an_owner_that_is_never_in_time_is_not_asked_for_ever(
    nats_server: RunningNats, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(owner, "DEADLINE_S", 0.3)
    bus, there = await nats_server.connect("operator"), await nats_server.connect("gateway")

    async def late(message: Msg) -> None:
        await there.say(message.reply, b"{}", NOT_IN_TIME)

    await there.listen(subjects.requests(GUILD), late)
    await there.barrier()
    with pytest.raises(OwnerRefused, match="late"):
        await owner.ask(bus, GUILD, CLOSE, dict)
