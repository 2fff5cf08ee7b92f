"""What members posted lately: 20 messages each, no text, only keys and places.

Rows older than the settings' retention are removed by a timer, on a quiet guild too.
"""

from typing import Final

import msgspec

from components.gateway.engine.policy import Context
from components.gateway.engine.spam.posted import Posted
from contracts.ids import MessageId

KEPT_MESSAGES: Final = 20
SWEEP: Final = "spam.sweep"
SWEEP_EVERY_MS: Final = 60_000
"""At most one sweep a minute: each is an input on the guild's log."""


class Tracked(msgspec.Struct, frozen=True, gc=False):
    """A message that a member posted."""

    message: str
    at_ms: int
    channel: str
    key: str


class KnownMessage(msgspec.Struct, frozen=True, gc=False):
    """What the tracker knows of one message."""

    user: str
    username: str
    joined_ms: int | None
    key: str
    at_ms: int
    content_hash: str
    embeds_hash: str


def find_message(context: Context, message: MessageId, user: str | None) -> KnownMessage | None:
    """The message, if it is still remembered; a partial update does not say who wrote it."""
    query = (
        "SELECT user_id, username, joined_ms, key, at_ms, content_hash, embeds_hash"
        " FROM spam_tracker WHERE guild_id = ? AND message_id = ?"
    )
    row = (
        context.execute(query, (context.guild, message)).fetchone()
        if user is None
        else context.execute(f"{query} AND user_id = ?", (context.guild, message, user)).fetchone()
    )
    return None if row is None else KnownMessage(*row)


def remember(
    context: Context, posted: Posted, *, key: str, at_ms: int, content: str, embeds: str
) -> list[Tracked]:
    """Note the message (an edit replaces what was known of it) and return what its author
    posted lately, newest first, this message included. Newest by when it was posted: a message
    that was read afterwards does not push out those that were posted since."""
    user = posted.author.id
    context.execute(
        "INSERT OR REPLACE INTO spam_tracker VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
        (
            context.guild,
            user,
            posted.id,
            context.sequence,
            context.time_ms,
            at_ms,
            posted.channel,
            key,
            content,
            embeds,
            posted.author.username,
            posted.joined_ms,
        ),
    )
    rows = context.execute(
        "SELECT message_id, at_ms, channel_id, key FROM spam_tracker"
        " WHERE guild_id = ? AND user_id = ? ORDER BY at_ms DESC, sequence DESC",
        (context.guild, user),
    ).fetchall()
    for message, *_ in rows[KEPT_MESSAGES:]:
        context.execute(
            "DELETE FROM spam_tracker WHERE guild_id = ? AND user_id = ? AND message_id = ?",
            (context.guild, user, message),
        )
    # whoever is remembered already has armed it: while there are rows it is pending
    if len(rows) == 1 and not context.is_armed(SWEEP):
        context.arm_timer(SWEEP, context.time_ms + context.rules.spam.tracker_retention_s * 1000)
    return [
        Tracked(*row)
        for place, row in enumerate(rows)
        if place < KEPT_MESSAGES or row[0] == posted.id
    ]


def sweep(context: Context) -> None:
    """Forget what is older than the retention, and come back for the rest."""
    retention_ms = context.rules.spam.tracker_retention_s * 1000
    context.execute(
        "DELETE FROM spam_tracker WHERE guild_id = ? AND noted_ms <= ?",
        (context.guild, context.time_ms - retention_ms),
    )
    (oldest,) = context.execute(
        "SELECT min(noted_ms) FROM spam_tracker WHERE guild_id = ?", (context.guild,)
    ).fetchone()
    if oldest is not None:
        context.arm_timer(SWEEP, max(oldest + retention_ms, context.time_ms + SWEEP_EVERY_MS))
