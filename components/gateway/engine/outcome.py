"""What became of an input, while it is being applied."""

from typing import Literal

import msgspec

from components.gateway.engine.model import Applied, CommandReply
from components.gateway.engine.policy import Context
from contracts.ids import Epoch, Sequence


class Outcome(msgspec.Struct, kw_only=True):
    """What `Applied` says beyond effects, facts and timers."""

    status: Literal["applied", "ignored", "quarantined"] = "applied"
    reason: str = ""
    reply: CommandReply | None = None
    opened_epoch: Epoch | None = None
    settled: tuple[Sequence, int] | None = None
    facts_published: tuple[Sequence, int] | None = None
    alarm: str = ""

    def ignore(self, reason: str) -> None:
        """The input changes nothing, for the stated reason."""
        self.status = "ignored"
        self.reason = reason

    def applied(self, context: Context) -> Applied:
        """The outcome with what the policies asked for."""
        return Applied(
            guild=context.guild,
            sequence=context.sequence,
            status=self.status,
            reason=self.reason,
            effects=tuple(context.effects),
            facts=tuple(context.facts),
            timers=tuple(context.timers),
            reply=self.reply,
            opened_epoch=self.opened_epoch,
            settled=self.settled,
            facts_published=self.facts_published,
            alarm=self.alarm,
        )
