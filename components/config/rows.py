"""Records of the bus as rows of PostgreSQL. Never fails: what PostgreSQL cannot hold (a NUL in a
name, a year 50000) is replaced, because history must not be held up by a field for people."""

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from contracts.ids import Epoch, GuildId, Incarnation, PodId
from contracts.operations import OwnershipChange
from contracts.records import Holding, OwnerChange, PodLease, RegisteredGuild


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


def change_row(guild: GuildId, change: OwnerChange) -> tuple[Any, ...]:
    """Columns of ``ownership_history``."""
    return (
        int(guild),
        change.epoch,
        _text(change.pod),
        _text(change.incarnation),
        change.cause,
        _text(change.by or "config"),
        moment(change.since_ms),
        _text(change.former.pod) if change.former is not None else None,
        _text(change.former.incarnation) if change.former is not None else None,
        _text(change.reason),
    )


def opened_row(guild: GuildId, opened: OwnerChange | Holding) -> tuple[Any, ...]:
    """What `OPENED` of `database` takes."""
    return int(guild), opened.epoch, opened.took_ms, opened.replayed, opened.source


def change_of(row: Mapping[str, Any]) -> OwnershipChange:
    """A row of ``ownership_history`` as people are told."""
    return OwnershipChange(
        at_ms=moment_ms(row["at"]),
        guild=GuildId(str(row["guild"])),
        epoch=Epoch(row["epoch"]),
        pod=PodId(row["pod"]),
        incarnation=Incarnation(row["incarnation"]),
        cause=row["cause"],
        by=row["changed_by"],
        from_pod=row["from_pod"],
        reason=row["reason"],
        took_ms=row["took_ms"],
        replayed=row["replayed"],
        source=row["source"],
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
