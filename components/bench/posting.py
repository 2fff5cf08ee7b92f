"""Harmless messages at a rate, some at a time: what posts must not be what is measured."""

import asyncio
import random
import time
from collections.abc import Sequence
from typing import Any

from components.simulator.client import GuildInfo, SimulatorControl

EVERY_S = 0.05


async def post_steadily(
    control: SimulatorControl, guilds: Sequence[GuildInfo], rate: float, dice: random.Random
) -> None:
    """Post in guilds at random until cancelled."""
    began = time.monotonic()
    number = 0
    while True:
        due = int((time.monotonic() - began) * rate) - number
        if due > 0:
            await control.post_many([message(dice.choice(guilds), number + n) for n in range(due)])
            number += due
        await asyncio.sleep(EVERY_S)


def message(guild: GuildInfo, number: int) -> dict[str, Any]:
    """A message that nobody minds."""
    return {
        "channel_id": guild.channels["general"],
        "author_id": guild.members[0].id if guild.members else guild.owner_id,
        "content": f"good morning {number}",
    }
