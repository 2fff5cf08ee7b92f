"""The highest epoch seen of each guild, so that an owner that was replaced is not believed.

Bounded: of more than `MAX_GUILDS` guilds the one not heard of for longest is forgotten, and then
believed again at whatever epoch it next speaks with.
"""

from collections import OrderedDict
from typing import Final

from contracts.ids import Epoch, GuildId

MAX_GUILDS: Final = 100_000


class Epochs:
    """What this process knows of the guilds' epochs."""

    def __init__(self, limit: int = MAX_GUILDS) -> None:
        self._highest: OrderedDict[GuildId, Epoch] = OrderedDict()
        self._limit = limit

    def is_current(self, guild: GuildId, epoch: Epoch) -> bool:
        """Whether no higher epoch of the guild is known; remembers a new highest one."""
        if epoch < self._highest.get(guild, 0):
            return False
        self._highest[guild] = epoch
        self._highest.move_to_end(guild)
        if len(self._highest) > self._limit:
            self._highest.popitem(last=False)
        return True
