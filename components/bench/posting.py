"""Harmless messages at a rate, some at a time: what posts must not be what is measured.

The members of a guild speak in turn, and no message of a process is as another. If one member
posted everything, or the same again, that would be rapid fire or a duplicate to the spam pipeline,
and every message a case, a deletion and a report.
"""

import asyncio
import itertools
import random
from collections import Counter
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Any

from components.bench.result import Figure
from components.process.clock import steady_s
from components.simulator.client import GuildInfo, SimulatorControl

EVERY_S = 0.05
LEAST_SHARE = 0.9
"""Of the rate that was asked for: what is posted last is late by as long as one request takes."""


_NUMBERS = itertools.count(1)
"""Of all messages of this process."""


class Chatter:
    """Who says what next, in guilds at random; every guild needs members."""

    def __init__(self, guilds: Sequence[GuildInfo], dice: random.Random) -> None:
        self._guilds = guilds
        self._dice = dice
        self._said: Counter[int] = Counter()

    def messages(self, count: int) -> list[dict[str, Any]]:
        """So many messages that nobody minds."""
        return [self._message() for _ in range(count)]

    def _message(self) -> dict[str, Any]:
        guild = self._dice.choice(self._guilds)
        speaker = guild.members[self._said[guild.id] % len(guild.members)]
        self._said[guild.id] += 1
        return {
            "channel_id": guild.channels["general"],
            "author_id": speaker.id,
            "content": f"good morning {next(_NUMBERS)}",
        }


class Posting:
    """Messages in guilds at random at a steady rate: how many the simulated Discord has taken."""

    def __init__(self, control: SimulatorControl, chatter: Chatter, rate: float) -> None:
        self._control = control
        self._chatter = chatter
        self._rate = rate
        self._began_s = steady_s()
        self._posted = 0

    async def run(self) -> None:
        """Post until cancelled; what is late is made up for."""
        while True:
            due = int((steady_s() - self._began_s) * self._rate) - self._posted
            if due > 0:
                await self._control.post_many(self._chatter.messages(due))
                self._posted += due
            await asyncio.sleep(EVERY_S)

    def figure(self) -> Figure:
        """The rate that was reached until now: with less the measurement would have been another
        one."""
        return Figure(
            name="posted_per_s",
            value=round(self._posted / (steady_s() - self._began_s), 1),
            unit="messages/s",
            limit=LEAST_SHARE * self._rate,
            at_least=True,
        )


@asynccontextmanager
async def posting(
    control: SimulatorControl, guilds: Sequence[GuildInfo], rate: float, dice: random.Random
) -> AsyncIterator[Posting]:
    """Post at a rate inside the block. At its end whatever ended the posting early is raised."""
    made = Posting(control, Chatter(guilds, dice), rate)
    task = asyncio.create_task(made.run())
    try:
        yield made
        if task.done():
            task.result()
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
