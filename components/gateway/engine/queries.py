"""What the shell asks of a guild's state to act on it: outbox, facts, timers, effects in doubt."""

import sqlite3
from typing import Final

from components.gateway.engine.model import (
    ArmedTimer,
    Effect,
    EffectKind,
    PendingFact,
    UndoQuestion,
)
from contracts.ids import GuildId

_UNDOES: Final[dict[EffectKind, str]] = {
    "member.timeout": "timeout",
    "member.ban": "ban",
    "member.unban": "unban",
    "member.role_add": "restricted_role",
}
"""What in ``lifted`` undoes an effect of a kind; the other kinds leave nothing to undo."""


def pending_effects(database: sqlite3.Connection, guild: GuildId) -> list[Effect]:
    """Effects without a result; parked ones wait for a human and are not among them."""
    rows = database.execute(
        "SELECT sequence, idx, kind, lane, payload, asked_ms, expires_ms, traceparent FROM outbox"
        " WHERE guild_id = ? AND state = 'pending' ORDER BY lane = 'posts', sequence, idx",
        (guild,),
    )
    return [
        Effect(
            guild=guild,
            sequence=sequence,
            index=index,
            kind=kind,
            lane=lane,
            payload=payload,
            asked_ms=asked_ms,
            expires_ms=expires_ms,
            traceparent=traceparent,
        )
        for sequence, index, kind, lane, payload, asked_ms, expires_ms, traceparent in rows
    ]


def pending_facts(database: sqlite3.Connection, guild: GuildId) -> list[PendingFact]:
    """Facts beyond the mark, in order; those up to it were deleted when it moved."""
    rows = database.execute(
        "SELECT sequence, idx, type, data, time_ms, subject, traceparent FROM facts"
        " WHERE guild_id = ? ORDER BY sequence, idx",
        (guild,),
    )
    return [
        PendingFact(
            guild=guild,
            sequence=sequence,
            index=index,
            type=fact_type,
            data=data,
            time_ms=time_ms,
            subject=subject,
            traceparent=traceparent,
        )
        for sequence, index, fact_type, data, time_ms, subject, traceparent in rows
    ]


def timers(database: sqlite3.Connection, guild: GuildId) -> list[ArmedTimer]:
    """Pending timers, the next due first."""
    rows = database.execute(
        "SELECT timer, armed_by, due_ms FROM timers WHERE guild_id = ? ORDER BY due_ms, timer",
        (guild,),
    )
    return [
        ArmedTimer(guild=guild, timer=timer, armed_by=armed_by, due_ms=due_ms)
        for timer, armed_by, due_ms in rows
    ]


def undone(database: sqlite3.Connection, question: UndoQuestion) -> bool:
    """Whether a later input lifted what the effect would do."""
    row = database.execute(
        "SELECT 1 FROM lifted WHERE guild_id = ? AND user_id = ? AND kind = ? AND sequence > ?",
        (question.guild, question.user, _UNDOES.get(question.kind, ""), question.since),
    ).fetchone()
    return row is not None


def message_of_nonce(database: sqlite3.Connection, guild: GuildId, nonce: str) -> str | None:
    """The id of our own message with this nonce."""
    row = database.execute(
        "SELECT message_id FROM own_messages WHERE guild_id = ? AND nonce = ?", (guild, nonce)
    ).fetchone()
    return row[0] if row else None
