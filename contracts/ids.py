"""Names for the identifiers that travel on the bus, so that one cannot stand for another.

Discord's snowflakes are decimal strings everywhere on the bus; sequences and epochs are integers.
"""

from typing import NewType

GuildId = NewType("GuildId", str)
UserId = NewType("UserId", str)
ChannelId = NewType("ChannelId", str)
MessageId = NewType("MessageId", str)
RoleId = NewType("RoleId", str)
InteractionId = NewType("InteractionId", str)

PodId = NewType("PodId", str)
Incarnation = NewType("Incarnation", str)
"""One start of one pod: ``<bucket creation>-<revision>`` of the entry that created its lease."""

SessionId = NewType("SessionId", str)
"""A Discord gateway session."""

RequestId = NewType("RequestId", str)
Epoch = NewType("Epoch", int)
"""Grows by one at each change of a guild's owner; starts at 1."""

Sequence = NewType("Sequence", int)
"""Position of a message in its stream; starts at 1."""

Generation = NewType("Generation", str)
"""Creation time of a stream (RFC 3339): a rebuilt stream is another generation."""

CaseNumber = NewType("CaseNumber", int)

DISCORD_EPOCH_MS = 1_420_070_400_000


def snowflake_time_ms(snowflake: str) -> int:
    """Milliseconds since 1970 at which a snowflake was made (docs: reference#snowflakes)."""
    return (int(snowflake) >> 22) + DISCORD_EPOCH_MS


def snowflake_at(time_ms: int) -> str:
    """The lowest snowflake of a moment: Discord's lists take it for ``after``."""
    return str(max(time_ms - DISCORD_EPOCH_MS, 0) << 22)


def is_snowflake(value: str) -> bool:
    """Whether the text is a positive 64-bit decimal number, and so safe as a subject token."""
    return value.isascii() and value.isdigit() and 0 < len(value) <= 20 and 0 < int(value) < 2**63
