"""Requests that read, answered from a guild's rows. Raises `ServiceError`."""

import sqlite3

from components.gateway.engine.case_store import find_case, list_cases
from components.gateway.engine.dump import dump_digest, row_counts
from components.gateway.engine.guild_row import find_guild
from components.gateway.engine.settings_store import settings_view
from contracts.errors import ErrorCode, ServiceError
from contracts.ids import Epoch, Generation, GuildId, PodId
from contracts.message import Message
from contracts.requests import (
    GetCase,
    GetDigest,
    GetGuildStatus,
    GetSettings,
    GuildDigest,
    GuildStatus,
    ListCases,
    ListQuarantine,
    QuarantinedInput,
    QuarantineList,
    Request,
)

MAX_CASES = 200
MAX_QUARANTINED = 100
_MAX_NUMBER = 2**63


def read(
    database: sqlite3.Connection, guild: GuildId, request: Request, *, pod: PodId, epoch: Epoch
) -> Message:
    """The reply to a request that reads."""
    if isinstance(request, GetCase):
        case = (
            find_case(database, guild, request.number) if 0 < request.number < _MAX_NUMBER else None
        )
        if case is None:
            raise ServiceError(ErrorCode.NOT_FOUND, f"there is no case {request.number}")
        return case
    if isinstance(request, ListCases):
        if not 1 <= request.limit <= MAX_CASES:
            raise ServiceError(ErrorCode.INVALID, f"limit must be from 1 to {MAX_CASES}")
        if request.before is not None and not 0 < request.before < _MAX_NUMBER:
            raise ServiceError(ErrorCode.INVALID, "before must be the number of a case")
        return list_cases(
            database, guild, user=request.user, before=request.before, limit=request.limit
        )
    if isinstance(request, GetSettings):
        return settings_view(database, guild)
    if isinstance(request, GetGuildStatus):
        return _status(database, guild, pod=pod, epoch=epoch)
    if isinstance(request, GetDigest):
        return _digest(database, guild)
    if isinstance(request, ListQuarantine):
        rows = database.execute(
            "SELECT sequence, kind, reason, at_ms FROM quarantine WHERE guild_id = ?"
            " ORDER BY sequence DESC LIMIT ?",
            (guild, MAX_QUARANTINED),
        )
        return QuarantineList(
            inputs=[
                QuarantinedInput(sequence=sequence, kind=kind, reason=reason, at_ms=at_ms)
                for sequence, kind, reason, at_ms in rows
            ]
        )
    raise ServiceError(ErrorCode.UNKNOWN_VERB, f"{request.verb} does not read")


def _digest(database: sqlite3.Connection, guild: GuildId) -> GuildDigest:
    row = find_guild(database, guild)
    if row is None:
        raise ServiceError(ErrorCode.NOT_FOUND, f"guild {guild} is not here")
    return GuildDigest(
        guild=guild,
        generation=Generation(row.generation),
        sequence=row.sequence,
        sha256=dump_digest(database, guild),
        rows=row_counts(database, guild),
    )


def _status(
    database: sqlite3.Connection, guild: GuildId, *, pod: PodId, epoch: Epoch
) -> GuildStatus:
    row = find_guild(database, guild)
    if row is None:
        raise ServiceError(ErrorCode.NOT_FOUND, f"guild {guild} is not here")
    pending, parked = database.execute(
        "SELECT count(*) FILTER (WHERE state = 'pending'), count(*) FILTER (WHERE state = 'parked')"
        " FROM outbox WHERE guild_id = ?",
        (guild,),
    ).fetchone()
    (unpublished,) = database.execute(
        "SELECT count(*) FROM facts WHERE guild_id = ?", (guild,)
    ).fetchone()
    return GuildStatus(
        guild=guild,
        name=row.name,
        pod=pod,
        epoch=epoch,
        applied=row.sequence,
        engine_version=row.engine_version,
        cases=row.cases,
        outbox_pending=pending,
        outbox_parked=parked,
        facts_unpublished=unpublished,
        quarantined=row.quarantined,
        parked_at=row.parked_at,
        parked_reason=row.parked_reason,
        chain_breaks=row.chain_breaks,
    )
