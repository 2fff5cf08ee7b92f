"""A part of Discord's global rate, kept by one process: slots that a request takes and gives back.

A process that has a share of n has n slots. A request takes one, and the slot is free again one
second after the answer. So Discord counts at most n requests of the process in any second, however
long requests and answers travel, and processes whose shares sum up to the limit never exceed it.
Where bytes may have left and no answer came, the slot is free one second after giving up. The
clock is injected.
"""

import asyncio
from collections import deque
from collections.abc import Callable
from typing import Final

from components.process.clock import SteadyClock, steady_s

WINDOW_S: Final = 1.0
"""Discord counts requests by the second (docs: topics/rate-limits#global-rate-limit)."""
KEPT: Final = 0.1
"""Part of the slots that posts leave to answers and removals."""
BACKLOG_S: Final = 1.1
"""Who waits longer than a slot takes to be free again waits behind a backlog."""
BACKLOG: Final = 50.0
"""Asked for beyond what is in use while there is one: as much as can be had."""
FADES_S: Final = 1.0
"""Demand that has passed is stated by half less after each such time."""
TOLD_EVERY_S: Final = 0.2
"""At most so often is unmet demand told at once instead of with the next renewal."""

Turns = deque[asyncio.Future[None]]


class RateShare:
    """The slots of one process. ``on_news`` is called when `report` should be published at once."""

    def __init__(self, share: int = 0, clock: SteadyClock = steady_s) -> None:
        self.on_news: Callable[[], None] = lambda: None
        self._clock = clock
        self._share = share
        self._revision = 0
        self._kept = (share, 0)
        self._busy = 0
        self._free_at: deque[float] = deque()
        self._paused_until = float("-inf")
        self._waiting: dict[bool, Turns] = {True: deque(), False: deque()}
        self._starved = False
        self._waiting_since: float | None = None
        self._wanted = (0.0, clock())
        self._told_at = float("-inf")
        self._timer: asyncio.TimerHandle | None = None

    def divide(self, share: int, revision: int) -> None:
        """A later division gives so much."""
        self._share, self._revision = share, revision
        self._serve()

    def pause(self, seconds: float) -> None:
        """Discord said that the global limit is hit."""
        self._paused_until = max(self._paused_until, self._clock() + seconds)

    async def take(self, *, urgent: bool) -> None:
        """Wait for a slot: urgent effects first, then in order. `answered` or `unused` follows."""
        turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        waiting = self._waiting[urgent]
        waiting.append(turn)
        self._serve()
        try:
            await turn
        except asyncio.CancelledError:
            if turn in waiting:
                waiting.remove(turn)
            elif turn.done() and not turn.cancelled():
                self.unused()
            raise

    def answered(self) -> None:
        """The request was counted by now."""
        self._busy -= 1
        self._free_at.append(self._clock() + WINDOW_S)
        self._serve()

    def unused(self) -> None:
        """No byte of the request has left."""
        self._busy -= 1
        self._serve()

    def report(self) -> tuple[float, int, int]:
        """What could be used, the share that is kept to, and the revision that gave that share.
        The share counts as kept when no more slots are in use (0007-rest-shares)."""
        self._note_demand()
        self._starved = any(self._waiting.values())
        return (round(self._wanted[0], 1), *self._kept)

    @property
    def share(self) -> int:
        """Slots by the last division."""
        return self._share

    @property
    def in_use(self) -> int:
        """Requests that Discord may have counted in the last second, or may count yet."""
        now = self._clock()
        while self._free_at and self._free_at[0] <= now:
            self._free_at.popleft()
        return self._busy + len(self._free_at)

    def _serve(self) -> None:
        now = self._clock()
        while now >= self._paused_until and (turn := self._next()) is not None:
            self._busy += 1
            turn.set_result(None)
        if self.in_use <= self._share and self._kept[1] != self._revision:
            lowered = self._share < self._kept[0]
            self._kept = (self._share, self._revision)
            if lowered:
                self.on_news()
        if any(self._waiting.values()):
            self._hunger(now)
        else:
            self._waiting_since = None
        self._serve_again(now)

    def _next(self) -> asyncio.Future[None] | None:
        """Whose turn it is, if there is a slot for it."""
        left = self._share - self.in_use
        kept = int(KEPT * self._share)
        for urgent, needed in ((True, 1), (False, 1 + kept)):
            waiting = self._waiting[urgent]
            while waiting and left >= needed:
                turn = waiting.popleft()
                if not turn.done():
                    return turn
        return None

    def _hunger(self, now: float) -> None:
        if now < self._paused_until:
            return  # not for want of slots
        self._starved = True
        if self._waiting_since is None:
            self._waiting_since = now
        self._note_demand()
        if self._wanted[0] > self._share and now >= self._told_at + TOLD_EVERY_S:
            self._told_at = now
            self.on_news()

    def _note_demand(self) -> None:
        now = self._clock()
        before, at = self._wanted
        demand = float(self.in_use)
        if self._starved:
            # How much more there would be shows only when it may go (a guild's lane sends one
            # after the other): ask for double, or for all there is.
            waiting = sum(map(len, self._waiting.values()))
            since = self._waiting_since
            backlog = since is not None and now - since >= BACKLOG_S
            demand = demand + BACKLOG if backlog else max(2.0 * demand, demand + waiting)
        self._wanted = (max(demand, before * 0.5 ** ((now - at) / FADES_S)), now)

    def _serve_again(self, now: float) -> None:
        """Look again when the next slot is free, if somebody waits for that."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if not any(self._waiting.values()) and self._kept[1] == self._revision:
            return
        at = self._free_at[0] if self._free_at else now
        at = max(at, self._paused_until)
        if at > now:
            self._timer = asyncio.get_running_loop().call_later(at - now, self._serve)
