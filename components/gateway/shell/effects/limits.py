"""Two limits of the whole pod: its share of Discord's global rate, and the guard against invalid
requests.

Discord allows 50 requests a second to all pods together and bans an address after 10,000
responses of 401, 403 and 429 in 10 minutes (facts.md). All pods may share an address, so both
are split evenly between the live ones. Clocks are injected.
"""

import asyncio
from collections import deque
from typing import Final

from components.process.clock import SteadyClock, steady_s

POSTS_RESERVE: Final = 0.2
"""Share of the burst that posts leave to answers and removals."""
INVALID_WINDOW_S: Final = 600.0


class RateShare:
    """A token bucket of one second's requests, split evenly between the live pods."""

    def __init__(self, per_s: float, clock: SteadyClock = steady_s) -> None:
        self._all_per_s = per_s
        self._per_s = per_s
        self._clock = clock
        self._tokens = per_s
        self._filled_at = clock()
        self._paused_until = 0.0

    def split(self, pods: int) -> None:
        """This many pods share the rate from now on."""
        self._fill()
        self._per_s = self._all_per_s / max(1, pods)
        self._tokens = min(self._tokens, max(1.0, self._per_s))

    def pause(self, seconds: float) -> None:
        """Discord said that the global limit is hit."""
        self._paused_until = max(self._paused_until, self._clock() + seconds)

    async def take(self, *, urgent: bool) -> None:
        """Wait for a token. Posts leave a part of the burst to urgent effects."""
        while (wait_s := self._try(urgent)) > 0:  # noqa: ASYNC110 time refills the bucket
            await asyncio.sleep(wait_s)

    def _try(self, urgent: bool) -> float:
        self._fill()
        paused = self._paused_until - self._clock()
        if paused > 0:
            return paused
        needed = 1.0 if urgent else 1.0 + POSTS_RESERVE * self._per_s
        needed = min(needed, max(1.0, self._per_s))
        if self._tokens >= needed:
            self._tokens -= 1.0
            return 0.0
        return max(0.001, (needed - self._tokens) / self._per_s)

    def _fill(self) -> None:
        now = self._clock()
        burst = max(1.0, self._per_s)
        self._tokens = min(burst, self._tokens + (now - self._filled_at) * self._per_s)
        self._filled_at = now


class InvalidRequests:
    """Counts this pod's invalid responses over 10 minutes and says when posts must wait.

    A pod that was started again begins at 0: the limit leaves room for that below Discord's.
    """

    def __init__(self, limit: int, clock: SteadyClock = steady_s) -> None:
        self._all = limit
        self._limit = limit
        self._clock = clock
        self._at: deque[float] = deque()

    def split(self, pods: int) -> None:
        """This many pods share the limit from now on."""
        self._limit = max(1, self._all // max(1, pods))

    def note(self) -> None:
        """One more response of 401, 403 or 429 (not of shared scope)."""
        self._at.append(self._clock())

    @property
    def wait_s(self) -> float:
        """How long optional effects must wait; 0 while they may go."""
        now = self._clock()
        while self._at and self._at[0] <= now - INVALID_WINDOW_S:
            self._at.popleft()
        if len(self._at) < self._limit:
            return 0.0
        return self._at[len(self._at) - self._limit] + INVALID_WINDOW_S - now
