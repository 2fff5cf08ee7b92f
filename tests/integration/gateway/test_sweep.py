"""The comparison of the ends of all logs with what was seen."""

import asyncio
from typing import cast

import pytest

from components.bus.connection import Bus
from components.bus.errors import NoOwner
from components.gateway.shell.gate import Gate
from components.gateway.shell.guild import Guild
from components.gateway.shell.logbook import Logbook
from components.gateway.shell.ownership import Ownership
from components.gateway.shell.sweep import AGAIN_S, Sweep
from contracts import subjects
from contracts.ids import GuildId, Sequence
from tests.support.nats import RunningNats

GUILD = GuildId("42")
NEXT_ROUND_S = 3600.0


class Open:
    is_open = True


class Held:
    """A guild that has seen nothing of its log."""

    def __init__(self, ticket: int) -> None:
        self.ticket = ticket
        self.compared: asyncio.Future[Sequence] = asyncio.get_running_loop().create_future()

    def is_complete(self, last: Sequence, up_to: Sequence, ticket: int) -> bool:
        return False

    async def compare(self, last: Sequence, up_to: Sequence, ticket: int) -> None:
        self.compared.set_result(last)


class Guilds:
    def __init__(self, held: Held) -> None:
        self.guilds = {GUILD: cast("Guild", held)}


@pytest.mark.parametrize("ticket", [0, 7])
async def test_what_was_to_be_compared_at_once_is_when_the_bus_answers_again(
    nats_server: RunningNats, monkeypatch: pytest.MonkeyPatch, ticket: int
) -> None:
    """Forgotten until the next round, a guild's effects waited for it, a few seconds."""
    bus = await nats_server.connect("gateway")
    stored = await bus.append(subjects.inputs(GUILD), b"{}")
    held = Held(ticket)
    sweep = Sweep(
        bus,
        cast("Gate", Open()),
        cast("Ownership", Guilds(held)),
        cast("Logbook", None),
        NEXT_ROUND_S,
    )
    unanswered = asyncio.Event()

    async def ask(self: Bus, subject: str, *rest: object, **named: object) -> object:
        unanswered.set()
        raise NoOwner(subject)

    with monkeypatch.context() as away:
        away.setattr(Bus, "ask", ask)
        sweeping = asyncio.create_task(sweep.run())
        if ticket:
            sweep.some_soon()
        else:
            sweep.soon()
        await unanswered.wait()
    try:
        async with asyncio.timeout(AGAIN_S + 5):
            assert await held.compared == stored.sequence
    finally:
        sweeping.cancel()
