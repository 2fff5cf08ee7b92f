"""Executors, settlement, lanes and timers without a pod around them: over a real bus, a real
Discord and a real database."""

from components.bus.connection import Bus
from components.gateway.engine.effects import AnyPayload
from components.gateway.engine.model import Effect
from components.gateway.ownership.pod import PodMachine
from components.gateway.shell.applier import Applier
from components.gateway.shell.effects.rest import Rest
from components.gateway.shell.effects.work import Work
from components.gateway.shell.gate import Gate, Permit
from components.process.clock import wall_ms
from contracts.ids import Epoch, Sequence
from contracts.message import encode
from tests.integration.gateway.town import Town


class Desk:
    """One guild's way out."""

    def __init__(
        self, bus: Bus, rest: Rest, machine: PodMachine, gate: Gate, applier: Applier, town: Town
    ) -> None:
        self.bus, self.rest, self.machine, self.gate = bus, rest, machine, gate
        self.applier, self.town = applier, town

    @property
    def permit(self) -> Permit:
        """What the town's owner may do."""
        return Permit(self.town.guild, Epoch(1))

    def effect(self, payload: AnyPayload, sequence: int = 7) -> Effect:
        """An effect that was asked for just now."""
        now_ms = wall_ms()
        return Effect(
            guild=self.town.guild,
            sequence=Sequence(sequence),
            index=0,
            kind=payload.kind,
            lane=payload.lane,
            payload=encode(payload),
            asked_ms=now_ms,
            expires_ms=now_ms + 86_400_000,
            traceparent="",
        )

    def work(self, payload: AnyPayload, *, later_ms: int = 0) -> Work:
        """The effect being done, some time after it was asked for."""
        return Work(
            effect=self.effect(payload),
            permit=self.permit,
            rest=self.rest,
            bus=self.bus,
            gate=self.gate,
            applier=self.applier,
            now_ms=wall_ms() + later_ms,
        )
