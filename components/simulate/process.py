"""A process: its own clock, one thing at a time, and it may be stopped or killed between any two.

While it is stopped (SIGSTOP) messages queue and timers do not fire; when it goes on, the queued
messages are handled *before* the timers (facts.md). Its clock goes on all the time, at its own
rate. What a killed process had planned never happens.
"""

from collections.abc import Callable, Coroutine

from components.simulate.loop import Action, Loop
from components.simulate.tasks import Answer, advance

RATE_SPREAD = 0.045
"""Two clocks differ by less than margin / TTL, 10 % (0006, "What it depends on")."""


class Process:
    """One process on some machine."""

    def __init__(self, loop: Loop, name: str, *, rate_spread: float = RATE_SPREAD) -> None:
        self.loop = loop
        self.name = name
        self.alive = True
        self.stopped = False
        self._rate = 1.0 + loop.between(-rate_spread, rate_spread)
        self._zero_s = loop.between(0.0, 1e6)
        self._began_s = loop.now_s
        self._messages: list[Action] = []
        self._timers: list[Action] = []
        self.on_end: list[Callable[[], None]] = []

    def now_s(self) -> float:
        """The process's own steady clock."""
        return self._zero_s + (self.loop.now_s - self._began_s) * self._rate

    def true_s(self, own_s: float) -> float:
        """The true moment at which its own clock shows ``own_s``."""
        return self._began_s + (own_s - self._zero_s) / self._rate

    def receive(self, action: Action) -> None:
        """A message (or the answer to a request) has arrived."""
        if not self.alive:
            return
        if self.stopped:
            self._messages.append(action)
        else:
            action()

    def timer(self, delay_s: float, action: Action) -> None:
        """Let something happen after a while on the process's own clock."""

        def fire() -> None:
            if not self.alive:
                return
            if self.stopped:
                self._timers.append(action)
            else:
                action()

        self.loop.after(max(0.0, delay_s) / self._rate, fire)

    def stop(self) -> None:
        """SIGSTOP."""
        self.stopped = True

    def go_on(self) -> None:
        """SIGCONT: what queued is handled first, in order, then the timers."""
        if not self.alive:
            return
        self.stopped = False
        messages, self._messages = self._messages, []
        timers, self._timers = self._timers, []
        for action in messages + timers:
            if self.alive:
                action()

    def end(self) -> None:
        """kill -9, or its own exit."""
        if not self.alive:
            return
        self.alive = False
        self._messages.clear()
        self._timers.clear()
        for ended in self.on_end:
            ended()

    async def sleep(self, delay_s: float) -> None:
        """Wait on the process's own clock."""
        slept = Answer()
        self.timer(delay_s, slept.give)
        await slept

    def start(self, task: Coroutine[Answer, None, None]) -> None:
        """Run a coroutine that awaits `Answer`s. It ends with the process, wherever it waits;
        so it must not clean up in ``finally``."""
        advance(task)
