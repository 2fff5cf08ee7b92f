"""The guard against invalid requests, kept by each pod for its part: Discord bans an address after
10,000 responses of 401, 403 and 429 in 10 minutes (facts.md); pods may share one. The clock is
injected."""

from typing import Final

from components.process.clock import SteadyClock, steady_s
from components.sharing.invalid import INVALID_WINDOW_S, InvalidCount

BLOCKED_S: Final = 10.0
"""What had to wait looks again after so long."""


class InvalidRequests:
    """Counts invalid responses over 10 minutes and says when posts must wait.

    ``limit`` is of the whole installation. Config publishes its count; what has come since is
    taken as if everybody had as many as this one, so that the limit holds while config is away.
    """

    def __init__(self, limit: int, clock: SteadyClock = steady_s) -> None:
        self._limit = limit
        self._clock = clock
        self._own = InvalidCount(clock)
        self._published = (0, 1, float("-inf"))

    def note(self) -> None:
        """One more response of 401, 403 or 429 (not of shared scope)."""
        self._own.note()

    def publish(self, count: int, pods: int) -> None:
        """So many had the installation; ``pods`` (and replicas of the shard) share it, this one
        included."""
        self._published = (count, max(1, pods), self._clock())

    @property
    def count(self) -> int:
        """This pod's own."""
        return self._own.count

    @property
    def wait_s(self) -> float:
        """How long optional effects must wait before they ask again; 0 while they may go."""
        published, pods, at = self._published
        if at <= self._clock() - INVALID_WINDOW_S:
            published = 0  # what it counted is over
        everybodys = published + pods * self._own.since(at)
        return BLOCKED_S if max(self.count, everybodys) >= self._limit else 0.0
