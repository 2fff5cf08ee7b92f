"""The fixed shape of a policy, and what a policy may do.

A policy is a module in `policies` with a constant ``POLICY``. It reads and writes its own tables
through the context, asks for effects, states facts and arms timers; it never sees the log's
mechanics. An exception `InvalidInput` from any handler undoes the whole input.
"""

import sqlite3
from collections.abc import Callable, Mapping
from typing import Any, Final, TypeAlias

import msgspec

from components.gateway.engine import effects
from components.gateway.engine.effects import AnyPayload
from components.gateway.engine.model import ArmedTimer, Effect, EffectKind, PendingFact
from components.gateway.engine.rules import Rules
from contracts.errors import ErrorCode, ServiceError
from contracts.facts import Fact
from contracts.ids import ChannelId, GuildId, Sequence, UserId
from contracts.inputs import CommandReceived, EffectResult
from contracts.message import encode

Note: TypeAlias = dict[str, Any]
"""What a policy wants to find again when the effect's result comes in; JSON."""


class SettledEffect(msgspec.Struct, frozen=True, kw_only=True):
    """An effect of the policy with its first result."""

    sequence: Sequence
    index: int
    kind: EffectKind
    payload: AnyPayload
    note: Note
    result: EffectResult

    @property
    def done(self) -> bool:
        """Whether it happened."""
        return self.result.outcome == "done"

    @property
    def undone(self) -> bool:
        """Whether it was in doubt and somebody had undone it since: it was not repeated."""
        return self.done and self.result.data.get("settled") == effects.UNDONE_SINCE

    @property
    def words(self) -> str:
        """Why it did not happen, for people."""
        error = self.result.error
        if error is None:
            return "" if self.done else self.result.outcome
        code = f" ({error.code})" if error.code else ""
        return f"{error.message or self.result.outcome}{code}"


class Context:
    """One input being applied: where a policy reads, writes and asks."""

    __slots__ = (
        "bot_user_id",
        "catch_up",
        "database",
        "effects",
        "facts",
        "guild",
        "guild_name",
        "owner_id",
        "rules",
        "sequence",
        "time_ms",
        "timers",
        "traceparent",
    )

    def __init__(
        self,
        database: sqlite3.Connection,
        *,
        guild: GuildId,
        sequence: Sequence,
        time_ms: int,
        traceparent: str,
        rules: Rules,
        guild_name: str,
        owner_id: str,
        bot_user_id: str,
    ) -> None:
        self.database = database
        self.guild: Final = guild
        self.sequence: Final = sequence
        self.time_ms: Final = time_ms
        self.traceparent: Final = traceparent
        self.rules = rules
        self.guild_name = guild_name
        self.owner_id = owner_id
        self.bot_user_id = bot_user_id
        self.catch_up = False
        """Whether the input was read afterwards, or may have come over another session too: the
        log may have it already, and ``time_ms`` is when it was stored, not when it happened."""
        self.effects: list[Effect] = []
        self.facts: list[PendingFact] = []
        self.timers: list[ArmedTimer] = []

    def execute(self, sql: str, parameters: tuple[Any, ...] = ()) -> sqlite3.Cursor:
        """A prepared statement on the guild's rows; ``parameters`` start with the guild."""
        return self.database.execute(sql, parameters)

    def emit_effect(
        self,
        payload: AnyPayload,
        *,
        policy: str = "",
        note: Note | None = None,
        expires_ms: int | None = None,
    ) -> Effect:
        """Ask for an effect; ``policy`` hears of its result with ``note``."""
        useful = (
            expires_ms
            if expires_ms is not None
            else self.time_ms + (effects.USEFUL_MS[payload.kind])
        )
        effect = Effect(
            guild=self.guild,
            sequence=self.sequence,
            index=len(self.effects),
            kind=payload.kind,
            lane=payload.lane,
            payload=encode(payload),
            asked_ms=self.time_ms,
            expires_ms=useful,
            traceparent=self.traceparent,
        )
        self.effects.append(effect)
        self.execute(
            "INSERT INTO outbox VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, 'pending', '', ?, ?)",
            (
                effect.guild,
                effect.sequence,
                effect.index,
                effect.kind,
                effect.lane,
                effect.payload,
                effect.asked_ms,
                effect.expires_ms,
                effect.traceparent,
                policy,
                encode(note or {}),
            ),
        )
        return effect

    def emit_message(
        self, channel: ChannelId, body: dict[str, Any], *, policy: str, note: Note
    ) -> Effect:
        """Ask for a message; its nonce derives from the effect's place."""
        payload = effects.CreateMessage(channel=channel, body=body, nonce=self._next_nonce())
        return self.emit_effect(payload, policy=policy, note=note)

    def emit_direct_message(self, user: UserId, body: dict[str, Any]) -> Effect:
        """Ask for a message to a user."""
        return self.emit_effect(
            effects.SendDirectMessage(user=user, body=body, nonce=self._next_nonce())
        )

    def emit_fact(self, fact: Fact, *, subject: str = "") -> None:
        """State a fact; ``subject`` is the person it is about."""
        pending = PendingFact(
            guild=self.guild,
            sequence=self.sequence,
            index=len(self.facts),
            type=fact.type,
            data=encode(fact),
            time_ms=self.time_ms,
            subject=subject,
            traceparent=self.traceparent,
        )
        self.facts.append(pending)
        self.execute(
            "INSERT INTO facts VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
            (
                pending.guild,
                pending.sequence,
                pending.index,
                pending.type,
                pending.data,
                pending.time_ms,
                pending.subject,
                pending.traceparent,
            ),
        )

    def arm_timer(self, timer: str, due_ms: int) -> None:
        """Arm a timer of the guild; arming it again replaces the earlier arming."""
        self.execute(
            "INSERT OR REPLACE INTO timers VALUES (?, ?, ?, ?)",
            (self.guild, timer, self.sequence, due_ms),
        )
        self.timers.append(
            ArmedTimer(guild=self.guild, timer=timer, armed_by=self.sequence, due_ms=due_ms)
        )

    def is_armed(self, timer: str) -> bool:
        """Whether the timer is pending."""
        return (
            self.execute(
                "SELECT 1 FROM timers WHERE guild_id = ? AND timer = ?", (self.guild, timer)
            ).fetchone()
            is not None
        )

    def _next_nonce(self) -> str:
        return effects.nonce_of(self.guild, self.sequence, len(self.effects))


class Policy(msgspec.Struct, frozen=True, kw_only=True):
    """What a policy reacts to. Policies of one event run in the order of ``order``."""

    name: str
    order: int
    dispatches: Mapping[str, Callable[[Context, Any], None]] = {}
    """By the dispatch's event; the handler gets its type of `events.EVENTS`."""
    inputs: Mapping[type, Callable[[Context, Any], None]] = {}
    commands: Mapping[str, Callable[[Context, CommandReceived], bytes]] = {}
    """By verb: the body of the reply, or `ServiceError` (nothing is changed then)."""
    timers: Mapping[str, Callable[[Context], None]] = {}
    on_result: Callable[[Context, SettledEffect], None] | None = None


def forbidden(words: str) -> ServiceError:
    """The actor may not do this."""
    return ServiceError(ErrorCode.FORBIDDEN, words)
