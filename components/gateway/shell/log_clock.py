"""What time it is by the log: the server's time stamps, carried on by our own steady clock.

A pod's wall clock may jump; an input's time may not be before its log's last one, and what is due
or has expired is decided against inputs' times. So effects and timers ask this clock. A message
that waited on its way shows an earlier time than it is: the latest of the last minute or two
counts. Before the first message it is the wall clock's time; nothing acts then, for a guild opens
with a message of its own.
"""

from typing import Final

from components.process.clock import SteadyClock, WallClock, steady_s, wall_ms

WINDOW_S: Final = 60.0
"""A steady clock that runs fast is corrected after two of these."""


class LogClock:
    """Milliseconds since 1970, as the server of the log counts them."""

    def __init__(self, steady: SteadyClock = steady_s, wall: WallClock = wall_ms) -> None:
        self._steady = steady
        self._wall = wall
        self._before: float | None = None
        """The latest that was seen in the window before this one: server's ms less our own."""
        self._latest: float | None = None
        self._window_ends_s = float("-inf")

    def saw(self, stored_ms: int) -> None:
        """A message has come live that was stored at this time."""
        now_s = self._steady()
        ahead_ms = stored_ms - now_s * 1000
        if now_s >= self._window_ends_s:
            self._before, self._latest = self._latest, ahead_ms
            self._window_ends_s = now_s + WINDOW_S
        self._latest = ahead_ms if self._latest is None else max(self._latest, ahead_ms)

    def __call__(self) -> int:
        known = [ahead_ms for ahead_ms in (self._before, self._latest) if ahead_ms is not None]
        return int(self._steady() * 1000 + max(known)) if known else self._wall()
