"""Records of the bus as rows of PostgreSQL. Never fails: what PostgreSQL cannot hold (a NUL in a
name, a year 50000) is replaced, because history must not be held up by a field for people."""

from datetime import UTC, datetime
from typing import Any

import msgspec

from contracts.records import Assignment, PodLease, RegisteredGuild


class Change(msgspec.Struct, frozen=True, kw_only=True):
    """A change of ownership and who made it."""

    assignment: Assignment
    by: str


def guild_row(guild: RegisteredGuild) -> tuple[Any, ...]:
    """Columns of ``guilds``."""
    return int(guild.guild), _text(guild.name), guild.shard, guild.present, moment(guild.seen_ms)


def pod_row(lease: PodLease) -> tuple[Any, ...]:
    """Columns of ``pods``."""
    return (
        _text(lease.pod),
        _text(lease.incarnation) if lease.incarnation is not None else None,
        _text(lease.data),
        _text(lease.replica),
        lease.capacity,
        _text(lease.version),
        lease.engine_version,
        moment(lease.started_ms),
    )


def change_row(change: Change) -> tuple[Any, ...]:
    """Columns of ``ownership_history``."""
    owned = change.assignment
    return (
        int(owned.guild),
        owned.epoch,
        _text(owned.pod),
        _text(owned.incarnation),
        owned.cause,
        change.by,
        moment(owned.since_ms),
    )


def moment(ms: int) -> datetime:
    """Milliseconds since 1970 as a time; 1970 for what no calendar holds."""
    try:
        return datetime.fromtimestamp(ms / 1000, UTC)
    except (ValueError, OverflowError, OSError):
        return datetime.fromtimestamp(0, UTC)


def moment_ms(at: datetime) -> int:
    """A time as milliseconds since 1970."""
    return round(at.timestamp() * 1000)


def _text(text: str) -> str:
    return text.replace("\0", "")
