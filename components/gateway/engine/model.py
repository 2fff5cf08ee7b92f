"""What goes into the engine and what comes out: the interface between engine and shell.

The engine is synchronous and deterministic. The shell hands it a `LoggedInput`, in the order of
the guild's log, inside one SQLite transaction for a batch; the engine writes state, checkpoint
and outbox there and returns an `Applied`.
"""

from typing import Literal

import msgspec

from contracts.errors import ServiceError
from contracts.ids import Epoch, GuildId, RequestId, Sequence, UserId

Lane = Literal["urgent", "posts"]
"""Answers and removals go before posts to logs; order is kept per guild and lane."""

EffectKind = Literal[
    "interaction.answer",
    "message.delete",
    "message.create",
    "thread.create",
    "member.timeout",
    "member.kick",
    "member.ban",
    "member.unban",
    "member.role_add",
    "member.dm",
    "signal.raise",
]


class LoggedInput(msgspec.Struct, frozen=True, kw_only=True):
    """A message of a guild's log as it lies in the stream."""

    guild: GuildId
    sequence: Sequence
    stored_ms: int
    """Stream timestamp, milliseconds since 1970."""
    message_id: str
    """``Nats-Msg-Id``."""
    traceparent: str
    data: bytes


class Effect(msgspec.Struct, frozen=True, kw_only=True):
    """A row of the outbox: something to be done outside, once."""

    guild: GuildId
    sequence: Sequence
    index: int
    """The input that asked for it and its place among that input's effects, from 0."""
    kind: EffectKind
    lane: Lane
    payload: bytes
    """JSON of the kind's payload (`components.gateway.engine.effects`)."""
    asked_ms: int
    """Time of the input."""
    expires_ms: int
    """Past this time the effect is of no use and expires visibly."""
    traceparent: str


class PendingFact(msgspec.Struct, frozen=True, kw_only=True):
    """A fact that is committed and not yet known to be in EVENTS."""

    guild: GuildId
    sequence: Sequence
    index: int
    type: str
    data: bytes
    time_ms: int
    subject: str
    traceparent: str


class ArmedTimer(msgspec.Struct, frozen=True, kw_only=True):
    """A timer of a guild; the shell appends `TimerFired` once it is due."""

    guild: GuildId
    timer: str
    armed_by: Sequence
    due_ms: int


class CommandReply(msgspec.Struct, frozen=True, kw_only=True):
    """What a request that writes is answered: ``body`` (JSON of the reply) or ``error``."""

    request_id: RequestId
    body: bytes = b""
    error: ServiceError | None = None


class Applied(msgspec.Struct, frozen=True, kw_only=True):
    """The outcome of one input. ``status`` other than ``applied`` changed only the checkpoint
    (and, for ``quarantined``, the quarantine)."""

    guild: GuildId
    sequence: Sequence
    status: Literal["applied", "ignored", "quarantined"]
    reason: str = ""
    effects: tuple[Effect, ...] = ()
    facts: tuple[PendingFact, ...] = ()
    timers: tuple[ArmedTimer, ...] = ()
    reply: CommandReply | None = None
    opened_epoch: Epoch | None = None
    """The epoch of an `OwnerOpened` input."""
    settled: tuple[Sequence, int] | None = None
    """The effect whose result this input was."""
    facts_published: tuple[Sequence, int] | None = None
    alarm: str = ""
    """Words for an operator, e.g. a broken chain."""


class UndoQuestion(msgspec.Struct, frozen=True, kw_only=True):
    """Asks whether a later input undid what an effect in doubt would do."""

    guild: GuildId
    kind: EffectKind
    user: UserId
    since: Sequence


class Checkpoint(msgspec.Struct, frozen=True, kw_only=True):
    """How far a guild's log is applied. ``sequence`` 0: nothing yet."""

    generation: str
    sequence: Sequence
    epoch: Epoch
    time_ms: int
    parked_at: Sequence | None = None
    parked_reason: str = ""


__all__ = [
    "Applied",
    "ArmedTimer",
    "Checkpoint",
    "CommandReply",
    "Effect",
    "EffectKind",
    "Lane",
    "LoggedInput",
    "PendingFact",
    "UndoQuestion",
]
