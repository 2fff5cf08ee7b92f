"""The output gate: whether this pod may act for a guild at this very moment.

A pod may act only while (a) its lease is valid by its own steady clock, (b) it is connected over
a connection on which a renewal was acknowledged and assignments were read again, and (c) the
assignment names it at this epoch (design.md, "Ownership"). `Gate.check` is synchronous and is
asked right before bytes leave; it raises `GateClosed`. Nothing here is remembered from an
earlier check: a process that was stopped and wakes finds its lease gone.
"""

import asyncio
from collections.abc import Callable
from typing import Protocol

import msgspec

from components.gateway.shell.errors import GateClosed
from contracts.ids import Epoch, GuildId


class Permit(msgspec.Struct, frozen=True):
    """On whose behalf something is sent."""

    guild: GuildId
    epoch: Epoch


class Link(Protocol):
    """The connection to the bus, as the gate sees it (`components.bus.connection.Bus`)."""

    @property
    def connected(self) -> bool:
        """Whether it stands at this moment."""
        ...

    link: int
    """Counts connections."""


class Gate:
    """The gate of one pod; ``lease_valid`` is asked at every check."""

    def __init__(self, bus: Link, lease_valid: Callable[[], bool]) -> None:
        self._bus = bus
        self._lease_valid = lease_valid
        self._confirmed_link = 0
        self._epochs: dict[GuildId, Epoch] = {}
        self._opened = asyncio.Event()
        self._shut = False

    def confirm(self, link: int) -> None:
        """On connection ``link`` a renewal was acknowledged and assignments were read since."""
        self._confirmed_link = link
        if self._pod_reason() is None:
            self._opened.set()

    def confirmed(self, link: int) -> bool:
        """Whether `confirm` came for this connection."""
        return self._confirmed_link == link

    def link_lost(self) -> None:
        """The connection is gone; `confirm` must come again."""
        self._confirmed_link = 0
        self._opened.clear()

    def shut(self) -> None:
        """Close for good: the pod stops."""
        self._shut = True
        self._opened.clear()

    def assign(self, guild: GuildId, epoch: Epoch) -> None:
        """The assignment names this pod and incarnation at ``epoch``."""
        self._epochs[guild] = epoch

    def withdraw(self, guild: GuildId, epoch: Epoch) -> None:
        """The guild is no longer ours at ``epoch``; a later assignment stays."""
        if self._epochs.get(guild) == epoch:
            del self._epochs[guild]

    def check(self, permit: Permit) -> None:
        """Raise `GateClosed` unless the pod may act under the permit right now."""
        reason = self._pod_reason()
        if reason is None:
            epoch = self._epochs.get(permit.guild)
            if epoch != permit.epoch:
                reason = f"assigned at epoch {epoch}, not {permit.epoch}"
        if reason is not None:
            raise GateClosed(permit.guild, reason)

    def may_act(self, permit: Permit) -> bool:
        """`check` as a question."""
        return self._pod_reason() is None and self._epochs.get(permit.guild) == permit.epoch

    @property
    def is_open(self) -> bool:
        """Whether the pod may act in general (its lease and connection)."""
        return self._pod_reason() is None

    async def opened(self) -> None:
        """Wait until the pod may act in general (its lease and connection)."""
        await self._opened.wait()

    def _pod_reason(self) -> str | None:
        if self._shut:
            return "the pod stops"
        if not self._lease_valid():
            return "the lease has ended"
        if not self._bus.connected:
            return "not connected to NATS"
        if self._bus.link != self._confirmed_link:
            return "the connection is not confirmed yet"
        return None
