"""Virtual time: what happens next, and the only source of chance.

Promise: events happen in the order of their time, those of one time in the order in which they
were planned; every number drawn comes from the seed. So a seed is a run, and a run that failed is
repeated by its seed. Nothing may depend on the order of a set or on a hash.
"""

import heapq
from collections import Counter
from collections.abc import Callable
from random import Random

Action = Callable[[], None]


class Loop:
    """The events of one run. ``now_s`` is true time, which no process knows."""

    def __init__(self, seed: int, *, trace: bool = False) -> None:
        self.now_s = 0.0
        self.steps = 0
        self.chance = Random(seed)
        self.random = self.chance.random
        self.trace: list[str] | None = [] if trace else None
        self.seen: Counter[str] = Counter()
        """How often each transition and each rare pair was seen."""
        self._events: list[tuple[float, int, Action]] = []
        self._planned = 0

    def at(self, time_s: float, action: Action) -> None:
        """Let ``action`` happen at a moment of true time, now at the earliest."""
        self._planned += 1
        heapq.heappush(self._events, (max(time_s, self.now_s), self._planned, action))

    def after(self, delay_s: float, action: Action) -> None:
        """Let ``action`` happen after a while of true time."""
        self._planned += 1
        heapq.heappush(self._events, (self.now_s + delay_s, self._planned, action))

    def run_until(self, end_s: float, *, most_steps: int) -> bool:
        """Run to a moment of true time; False when that takes more than ``most_steps`` in all."""
        events = self._events
        while events and events[0][0] <= end_s:
            if self.steps >= most_steps:
                return False
            self.now_s, _, action = heapq.heappop(events)
            self.steps += 1
            action()
        self.now_s = end_s
        return True

    def happens(self, share: float) -> bool:
        """Chance: true in that share of the cases."""
        return self.random() < share

    def between(self, low: float, high: float) -> float:
        """Chance: a number of the range."""
        return low + (high - low) * self.random()

    def say(self, who: str, words: str) -> None:
        """Write a line of the trace, if one is kept. Costly words are built only if `tracing`."""
        if self.trace is not None:
            self.trace.append(f"{self.now_s:10.4f} {self.steps:6d} {who:<12} {words}")

    @property
    def tracing(self) -> bool:
        """Whether somebody will read what is said."""
        return self.trace is not None
