"""The history says of real takeovers, by real processes, what the log and the clock say of them."""

import asyncio
import os
import signal
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from components.stack.live import LiveStack, live_stack
from contracts import subjects
from contracts.ids import GuildId
from contracts.message import decode, encode
from contracts.operations import GuildPlacement, GuildQuery, OwnershipChange
from tests.integration.live.guild import new_guild

POSTED = 25


async def placement(
    stack: LiveStack, guild: GuildId, holds: Callable[[GuildPlacement], bool]
) -> GuildPlacement:
    """What config says of the guild, once it is so."""
    query = encode(GuildQuery(guild=guild))
    async with asyncio.timeout(60):
        while True:
            reply = await stack.bus.ask(subjects.config_endpoint("guild"), query, timeout_s=5)
            if not (reply.headers or {}).get("Nats-Service-Error"):
                said = decode(reply.data, GuildPlacement)
                if holds(said):
                    return said
            await asyncio.sleep(0.05)


def told(said: GuildPlacement, since: int) -> OwnershipChange | None:
    """The row of the first epoch from that one on that was opened, if it says how that went: an
    owner that is slow to open may have been succeeded before it did."""
    rows = [row for row in said.history if row.epoch >= since and row.took_ms is not None]
    first = min(rows, key=lambda row: row.epoch, default=None)
    return None if first is None or "does not have it yet" in first.by else first


@pytest.mark.timeout(240)
async def test_how_long_a_takeover_took_and_what_was_replayed_for_it_is_in_its_row(
    tmp_path: Path,
) -> None:
    async with live_stack(tmp_path / "home", "--guilds", "0", "--gateways", "2") as stack:
        made = await new_guild(stack, "history")
        guild = GuildId(str(made.id))
        first = await placement(stack, guild, lambda said: said.follower_ready)
        assert first.pod is not None

        # Its follower goes on: nothing was on the log since, but that it opened.
        began_s = time.monotonic()
        os.kill(stack.process(first.pod), signal.SIGKILL)
        said = await placement(stack, guild, lambda said: told(said, 2) is not None)
        took_ms = (time.monotonic() - began_s) * 1000
        row = told(said, 2)
        assert row is not None
        assert (row.cause, row.from_pod, row.pod) == ("promoted", first.pod, first.follower)
        assert row.by.startswith("config-")
        assert row.reason.startswith(f"{first.pod} is gone")
        assert row.took_ms is not None
        assert 0 < row.took_ms < took_ms
        assert row.replayed == 1
        assert row.source in ("log", "snapshot")

        # Nobody is left: what is posted meanwhile is replayed by whoever is back first.
        await placement(stack, guild, lambda said: said.follower_ready)
        began_s = time.monotonic()
        for name in ("gateway-0", "gateway-1"):
            os.kill(stack.process(name), signal.SIGKILL)
        for number in range(POSTED):
            await stack.control.post(made.channels["general"], made.members[2].id, f"{number}")
        said = await placement(stack, guild, lambda said: told(said, 3) is not None)
        took_ms = (time.monotonic() - began_s) * 1000
        row = told(said, 3)
        assert row is not None
        assert row.took_ms is not None
        assert 0 < row.took_ms < took_ms
        assert row.replayed is not None
        assert POSTED <= row.replayed < 2 * POSTED
