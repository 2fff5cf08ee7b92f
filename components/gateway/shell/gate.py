"""The output gate: whether this pod may act for a guild at this very moment.

The judgement is `ownership.pod.PodMachine`'s: lease, connection and assignment, by 0006, steps 1
to 4. `Gate.check` and, for requests to Discord, `check_effects` are synchronous and are asked
right before bytes leave; they raise `GateClosed`. Nothing here is remembered from an earlier
check: a process that was stopped and wakes finds its lease gone.
"""

import asyncio
from typing import Protocol

from components.gateway.ownership.commands import Permit
from components.gateway.shell.errors import GateClosed
from components.process.clock import SteadyClock, steady_s
from contracts.ids import Epoch, GuildId


class Link(Protocol):
    """The connection to the bus, as the gate sees it (`components.bus.connection.Bus`)."""

    @property
    def connected(self) -> bool:
        """Whether it stands at this moment."""
        ...

    link: int
    """Counts connections."""


class Judge(Protocol):
    """Who may do what (`ownership.pod.PodMachine`)."""

    link: int
    """The connection that its judgement holds for."""

    def pod_refusal(self, now_s: float) -> str | None:
        """Why nothing at all may be done."""
        ...

    def refusal(self, permit: Permit, now_s: float) -> str | None:
        """Why nothing may be done under the permit."""
        ...

    def may_send_effects(self, guild: GuildId, epoch: Epoch, now_s: float) -> bool:
        """Whether effects of the guild may be sent."""
        ...


class Gate:
    """The gate of one pod. It is closed whenever the judge does not know of the connection yet."""

    def __init__(self, bus: Link, judge: Judge, clock: SteadyClock = steady_s) -> None:
        self._bus = bus
        self._judge = judge
        self._clock = clock
        self._opened = asyncio.Event()

    def look(self) -> None:
        """Something has changed: who waits for the gate hears of it."""
        if self.is_open:
            self._opened.set()
        else:
            self._opened.clear()

    def check(self, permit: Permit) -> None:
        """Raise `GateClosed` unless the pod may act under the permit right now."""
        reason = self._link_reason() or self._judge.refusal(permit, self._clock())
        if reason is not None:
            raise GateClosed(permit.guild, reason)

    def check_effects(self, permit: Permit) -> None:
        """Raise `GateClosed` unless an effect may be sent under the permit right now."""
        self.check(permit)
        if not self._judge.may_send_effects(permit.guild, permit.epoch, self._clock()):
            raise GateClosed(permit.guild, "effects are held")

    def may_act(self, permit: Permit) -> bool:
        """`check` as a question."""
        return (self._link_reason() or self._judge.refusal(permit, self._clock())) is None

    @property
    def is_open(self) -> bool:
        """Whether the pod may act in general (its lease and connection)."""
        return (self._link_reason() or self._judge.pod_refusal(self._clock())) is None

    async def opened(self) -> None:
        """Wait until the pod may act in general (its lease and connection)."""
        await self._opened.wait()

    def _link_reason(self) -> str | None:
        if not self._bus.connected:
            return "not connected to NATS"
        if self._bus.link != self._judge.link:
            return "the connection is not confirmed yet"
        return None


__all__ = ["Gate", "Judge", "Link", "Permit"]
