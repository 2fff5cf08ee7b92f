"""Timers of all open guilds: when one comes due, `TimerFired` is appended to its guild's log.

Each firing has the id of its arming, so a repeated one is stored once; the engine ignores a
firing whose arming is no longer pending. A firing that cannot be appended now is tried again.
"""

import asyncio
import heapq
import logging
from typing import Final

from components.bus.connection import Bus
from components.bus.errors import BusError
from components.gateway.engine.model import ArmedTimer
from components.gateway.shell.errors import GateClosed
from components.gateway.shell.gate import Gate, Permit
from components.process.clock import WallClock, wall_ms
from components.telemetry.traces import carry, span
from contracts import headers, subjects
from contracts.ids import Epoch, GuildId, Sequence
from contracts.inputs import TimerFired, timer_id
from contracts.message import encode

log = logging.getLogger(__name__)

AGAIN_MS: Final = 1000
LONGEST_SLEEP_S: Final = 60.0
"""Looks at the wall clock at least this often: it may have been set."""


class Timers:
    """All timers of the pod, the next due first."""

    def __init__(self, bus: Bus, gate: Gate, clock: WallClock = wall_ms) -> None:
        self._bus = bus
        self._gate = gate
        self._clock = clock
        self._due: list[tuple[int, GuildId, str, Sequence]] = []
        self._armed: dict[GuildId, dict[str, Sequence]] = {}
        self._epochs: dict[GuildId, Epoch] = {}
        self._changed = asyncio.Event()

    def open(self, permit: Permit, timers: list[ArmedTimer]) -> None:
        """Take over a guild's timers."""
        self._epochs[permit.guild] = permit.epoch
        self._armed[permit.guild] = {}
        for timer in timers:
            self.arm(timer)

    def arm(self, timer: ArmedTimer) -> None:
        """Arm a timer of an open guild; an earlier arming of it is forgotten."""
        armed = self._armed.get(timer.guild)
        if armed is None:
            return
        armed[timer.timer] = timer.armed_by
        heapq.heappush(self._due, (timer.due_ms, timer.guild, timer.timer, timer.armed_by))
        if self._due[0][0] == timer.due_ms:
            self._changed.set()

    def close(self, guild: GuildId) -> None:
        """Forget a guild's timers."""
        self._armed.pop(guild, None)
        self._epochs.pop(guild, None)

    async def run(self) -> None:
        """Fire what comes due, until cancelled."""
        while True:
            self._changed.clear()
            if self._due:
                wait_s = (self._due[0][0] - self._clock()) / 1000
                if wait_s <= 0:
                    await self._fire(heapq.heappop(self._due))
                    continue
                wait_s = min(wait_s, LONGEST_SLEEP_S)
            else:
                wait_s = LONGEST_SLEEP_S
            try:
                # Not `wait_for`, which up to Python 3.11 may forget a cancellation.
                async with asyncio.timeout(wait_s):
                    await self._changed.wait()
            except TimeoutError:
                continue

    async def _fire(self, due: tuple[int, GuildId, str, Sequence]) -> None:
        _, guild, timer, armed_by = due
        if self._armed.get(guild, {}).get(timer) != armed_by:
            return
        fired = TimerFired(timer=timer, armed_by=armed_by)
        name = timer_id(guild, timer, armed_by)
        try:
            with span("timer fired", parent="", guild=guild):
                self._gate.check(Permit(guild, self._epochs[guild]))
                await self._bus.append(
                    subjects.inputs(guild), encode(fired), carry({headers.MSG_ID: name})
                )
        except (BusError, GateClosed) as error:
            log.info("timer of guild %s is fired later: %s", guild, error)
            heapq.heappush(self._due, (self._clock() + AGAIN_MS, guild, timer, armed_by))
            return
        armed = self._armed.get(guild)
        if armed is not None and armed.get(timer) == armed_by:
            del armed[timer]
