"""What a shard id of a new number of shards keeps back until the old ones have ended.

A new session is connected while old ones still deliver. Per guild the order on its log has to be:
everything of the old session, then the new one's GUILD_CREATE, which makes it current, then all
that it delivered since. So a guild is kept back until the old session that had it has ended
(`SessionResume.ended`). What arrived before that may have come over the old session too.
"""

from collections.abc import Mapping

from components.process.clock import SteadyClock, steady_s
from contracts.ids import GuildId

LATE_S = 60.0
"""So long after its release a guild's dispatches still count as possibly double: one socket may
deliver later than the other."""


def shard_of(guild: GuildId, shard_count: int) -> int:
    """docs: events/gateway#sharding-sharding-formula"""
    return (int(guild) >> 22) % shard_count


class Overlap:
    """The overlap of one new shard id with the ``from_count`` old ones; 0: there is none."""

    def __init__(self, from_count: int, *, clock: SteadyClock = steady_s) -> None:
        self.from_count = from_count
        self._clock = clock
        self._released_s: dict[int, float] = {}
        """Old shard ids that have ended, and when that was heard."""

    @property
    def over(self) -> bool:
        """Whether nothing is kept back any more."""
        return len(self._released_s) >= self.from_count

    @property
    def can_be_taken_back(self) -> bool:
        """Whether every old session still serves, as far as is known."""
        return self.from_count > 0 and not self._released_s

    def keeps_back(self, guild: GuildId) -> bool:
        """Whether the guild's dispatches have to wait."""
        return self.from_count > 0 and self._released_at(guild) is None

    def may_be_double(self, guild: GuildId) -> bool:
        """Whether a dispatch that arrives now may have come over the old session too."""
        if not self.from_count:
            return False
        released_s = self._released_at(guild)
        return released_s is None or self._clock() < released_s + LATE_S

    def ended(self, sessions: Mapping[int, int]) -> dict[int, int]:
        """Old shard ids whose sessions have ended, each with the start of the gap that it leaves
        (0: none); returns the new ones among them."""
        new = {old: gap for old, gap in sessions.items() if old not in self._released_s}
        self._released_s.update(dict.fromkeys(new, self._clock()))
        return new

    def finish(self) -> None:
        """The change is done: every old session has ended."""
        self.ended(dict.fromkeys(range(self.from_count), 0))

    def _released_at(self, guild: GuildId) -> float | None:
        return self._released_s.get(shard_of(guild, self.from_count))
