"""Harmless messages at a rate, some at a time: what posts must not be what is measured.

The members of a guild speak in turn. If one of them posted everything, that would be rapid fire to
the spam pipeline, and every message a case, a deletion and a report.
"""

import asyncio
import random
import time
from collections import Counter
from collections.abc import Sequence
from typing import Any

from components.simulator.client import GuildInfo, SimulatorControl

EVERY_S = 0.05


class Chatter:
    """Who says what next, in guilds at random; every guild needs members."""

    def __init__(self, guilds: Sequence[GuildInfo], dice: random.Random) -> None:
        self._guilds = guilds
        self._dice = dice
        self._said: Counter[int] = Counter()
        self._number = 0

    def messages(self, count: int) -> list[dict[str, Any]]:
        """So many messages that nobody minds."""
        return [self._message() for _ in range(count)]

    def _message(self) -> dict[str, Any]:
        guild = self._dice.choice(self._guilds)
        speaker = guild.members[self._said[guild.id] % len(guild.members)]
        self._said[guild.id] += 1
        self._number += 1
        return {
            "channel_id": guild.channels["general"],
            "author_id": speaker.id,
            "content": f"good morning {self._number}",
        }


async def post_steadily(
    control: SimulatorControl, guilds: Sequence[GuildInfo], rate: float, dice: random.Random
) -> None:
    """Post in guilds at random until cancelled."""
    chatter = Chatter(guilds, dice)
    began = time.monotonic()
    posted = 0
    while True:
        due = int((time.monotonic() - began) * rate) - posted
        if due > 0:
            await control.post_many(chatter.messages(due))
            posted += due
        await asyncio.sleep(EVERY_S)
