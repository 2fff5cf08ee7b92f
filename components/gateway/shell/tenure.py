"""One epoch of ownership of one guild: everything that leaves the pod on the guild's behalf.

Made when the epoch opens; `load` gets what is left to do from the database, in order with the
results of inputs, so that nothing is taken twice or missed. `stop` ends it at once; `close` waits
for what is under way at Discord. A tenure that has ended never begins again.
"""

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any

import msgspec

from components.bus.connection import Bus
from components.gateway.engine.engine import Engine
from components.gateway.engine.model import Applied, ArmedTimer, Effect, PendingFact
from components.gateway.shell.applier import Applier
from components.gateway.shell.door import Door
from components.gateway.shell.effects.lanes import Lanes, Outlets
from components.gateway.shell.facts import FactPublisher
from components.gateway.shell.gate import Gate, Permit
from components.gateway.shell.requests import Progress, RequestServer
from components.gateway.shell.snapshots import Snapshots
from components.gateway.shell.timers import Timers
from contracts.ids import Epoch, GuildId, PodId

Spawn = Callable[[Coroutine[Any, Any, None]], asyncio.Task[None]]


class Outputs(msgspec.Struct, frozen=True, kw_only=True):
    """The ways out that all guilds of a pod share."""

    pod: PodId
    bus: Bus
    gate: Gate
    applier: Applier
    outlets: Outlets
    timers: Timers
    snapshots: Snapshots
    spawn: Spawn


class Pending(msgspec.Struct, frozen=True, kw_only=True):
    """What is left to do when a guild is caught up."""

    effects: list[Effect]
    facts: list[PendingFact]
    timers: list[ArmedTimer]


def left_to_do(engine: Engine, guild: GuildId) -> Pending:
    """What the database asks for and nothing on the log says is done."""
    return Pending(
        effects=engine.pending_effects(guild),
        facts=engine.pending_facts(guild),
        timers=engine.timers(guild),
    )


class Tenure:
    """The outputs of one guild at one epoch."""

    def __init__(
        self,
        outputs: Outputs,
        permit: Permit,
        progress: Progress,
        door: Door,
        on_newer: Callable[[Epoch], None],
    ) -> None:
        self.permit = permit
        self.serving = False
        """Whether what is left to do is loaded, and what comes of inputs is done."""
        self.ended = asyncio.Event()
        self.lanes = Lanes(outputs.outlets, permit)
        self._timers = outputs.timers
        self._facts = FactPublisher(
            outputs.bus, outputs.gate, permit, spawn=outputs.spawn, on_newer=on_newer
        )
        self.requests = RequestServer(
            outputs.bus,
            outputs.gate,
            outputs.applier,
            outputs.snapshots,
            permit,
            outputs.pod,
            progress,
            door,
            outputs.spawn,
        )

    def load(self, pending: Pending) -> None:
        """Begin with what is left to do."""
        if self.ended.is_set() or self.serving:
            return
        self.serving = True
        for effect in pending.effects:
            self.lanes.add(effect, in_doubt=True)
        self._facts.add(pending.facts)
        self._timers.open(self.permit, pending.timers)

    def deliver(self, applied: Applied) -> None:
        """What came of an input, after its commit."""
        if applied.settled is not None:
            self.lanes.settled(applied.settled)
        if not self.serving:
            return  # what it asks for is pending, and found there by `load`
        for effect in applied.effects:
            self.lanes.add(effect, in_doubt=False)
        self._facts.add(list(applied.facts))
        for timer in applied.timers:
            self._timers.arm(timer)

    def refuse(self) -> None:
        """Do nothing more but answer requests."""
        self.serving = False
        self.lanes.hold()
        self._timers.close(self.permit.guild)

    def stop(self) -> None:
        """Begin nothing more."""
        self.ended.set()
        self.serving = False
        self.lanes.stop()
        self._facts.stop()
        self._timers.close(self.permit.guild)
        self.requests.stop()

    async def outputs_ended(self) -> None:
        """Wait until nothing of it is under way, at Discord or on its way to EVENTS."""
        self.stop()
        await self._facts.close()
        await self.lanes.close()
