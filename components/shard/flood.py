"""How fast one guild's inputs go to its log: a token bucket for each guild. Pure.

So a guild that floods costs the bus and its owner a bounded share, and the others nothing. What is
beyond the rate waits in the guild's own lane (`appender`)."""

from components.process.clock import SteadyClock, steady_s
from contracts.ids import GuildId

KEPT = 10_000
"""Buckets remembered before full ones are dropped: a guild that is quiet needs none."""


class FloodLimit:
    """The buckets of one shard id. ``per_s`` 0: no limit."""

    def __init__(self, per_s: float, burst: float, *, clock: SteadyClock = steady_s) -> None:
        self._per_s = per_s
        self._burst = burst
        self._clock = clock
        self._full_at: dict[GuildId, float] = {}
        """When the guild's bucket is full again."""

    def wait_s(self, guild: GuildId) -> float:
        """In how many seconds the guild may append; 0: now."""
        if not self._per_s or guild not in self._full_at:
            return 0.0
        missing = (self._full_at[guild] - self._clock()) * self._per_s
        return max(0.0, missing + 1 - self._burst) / self._per_s

    def take(self, guild: GuildId) -> None:
        """The guild appends."""
        if not self._per_s:
            return
        now_s = self._clock()
        if len(self._full_at) >= KEPT and guild not in self._full_at:
            self._full_at = {one: full for one, full in self._full_at.items() if full > now_s}
        self._full_at[guild] = max(self._full_at.get(guild, now_s), now_s) + 1 / self._per_s
