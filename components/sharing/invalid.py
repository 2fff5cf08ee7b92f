"""How many invalid requests one process had within the time that Discord looks at.

The clock is injected; who learns of the count, and what follows from it, is for others."""

from collections import deque
from collections.abc import Callable
from typing import Final

INVALID_WINDOW_S: Final = 600.0
"""docs: topics/rate-limits#invalid-request-limit-aka-cloudflare-bans"""


class InvalidCount:
    """Answers of 401, 403 and 429 (not of shared scope) within 10 minutes."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._at: deque[float] = deque()

    def note(self) -> None:
        """One more."""
        self._at.append(self._clock())

    @property
    def count(self) -> int:
        """Those of the last 10 minutes."""
        self._forget()
        return len(self._at)

    def since(self, at: float) -> int:
        """Those of them from that time on."""
        self._forget()
        found = 0
        for noted in reversed(self._at):
            if noted < at:
                break
            found += 1
        return found

    def _forget(self) -> None:
        now = self._clock()
        while self._at and self._at[0] <= now - INVALID_WINDOW_S:
            self._at.popleft()
