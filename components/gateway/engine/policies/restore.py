"""``restore.*``: parts of an earlier state are put back, as an act on the log with an author.

Rows come in numbered pieces and are staged; nothing is in force before `CloseRestore`, which needs
every piece. A row that is put back replaces today's row of the same key; what came into being
since stays, case numbers are never given twice, and settings become a new version. Outbox and
facts are never among them, so nothing is sent again: a case that was pending then has today's
outcome, or fails if it has none, and a thread that was being made stays as it is today. What a
restore replaced is kept until the next one, for `UndoRestore`, which leaves alone and counts what
has changed since: a row that is not as the restore left it, settings that are a newer version.

No part has timers: the one timer there is sweeps what spam remembers of messages (`spam.tracker`),
which is no part. A part that gets timers arms here what is due
(tests/unit/gateway/engine/test_restore.py fails until it does).

Only an operator may. Operators' tools make the rows by replaying the guild's own log.
"""

import hashlib
from collections.abc import Iterable
from typing import Any, Final, Literal, TypeAlias, TypeVar

import msgspec

from components.gateway.engine.policies.settings import change_settings
from components.gateway.engine.policy import Context, Policy, forbidden
from components.gateway.engine.table_rows import ROWS, Key, Row, Table, table_of
from components.gateway.engine.texts import text
from contracts.errors import ErrorCode, ServiceError
from contracts.facts import (
    CaseAction,
    CaseStatus,
    GuildRestored,
    ModeratorKind,
    SignalScore,
    SpamTier,
)
from contracts.inputs import Actor, CommandReceived
from contracts.message import MalformedMessage, decode, encode
from contracts.requests import (
    BeginRestore,
    CloseRestore,
    PutRestorePiece,
    Request,
    RestorePart,
    RestoreView,
    UndoRestore,
)
from contracts.settings import GuildSettings, parse_settings

R = TypeVar("R", bound=Request)

TABLES_OF: Final[dict[RestorePart, tuple[str, ...]]] = {
    "settings": ("settings",),
    "cases": ("cases",),
    "reports": ("reports", "member_threads"),
}
KEPT: Final = 20
"""Restores of a guild that are remembered."""
MAX_PIECES: Final = 10_000
MAX_ROWS: Final = 10_000
MAX_BYTES: Final = 4 * 1024 * 1024
"""What is put in force by one input, while the pod's other guilds wait: see docs/performance.md."""
REPLACED: Final = 0
"""In place of a piece's number: rows that were replaced."""
THREAD_OPEN: Final = "open"
"""State of a member's thread that is there; in the others effects are making it."""
SHAPES: Final[dict[str, dict[str, Any]]] = {
    "cases": {
        "action": CaseAction,
        "status": CaseStatus,
        "moderator_kind": ModeratorKind,
        "tier": SpamTier | None,
    },
    "reports": {"tier": SpamTier},
    "member_threads": {"state": Literal["starting", "naming", "open"]},
}
"""What the columns' types do not say; whoever reads a row relies on it."""
DOCUMENTS: Final[dict[tuple[str, str], Any]] = {("cases", "signals"): list[SignalScore]}


class _Restore(msgspec.Struct, frozen=True, kw_only=True):
    """A row of ``restores``."""

    id: str
    state: str
    at_ms: int
    parts: list[RestorePart]
    pieces: int
    rows: int
    actor: Actor


class _Staged(msgspec.Struct, frozen=True):
    """What is there of a restore that is not in force."""

    pieces: int
    rows: int
    bytes: int


class _Kept(msgspec.Struct, frozen=True, array_like=True):
    """A row of ``restore_rows``."""

    table: str
    key: Key
    row: Row | None
    put_sha256: str = ""
    """Of a row that was replaced: what the restore left in its place."""


_Rows: TypeAlias = dict[Key, Row | None]
"""By key; None for a row that is not there."""


def _begin(context: Context, command: CommandReceived) -> bytes:
    request = _request(command, BeginRestore)
    if not request.parts or len(set(request.parts)) != len(request.parts):
        raise ServiceError(ErrorCode.INVALID, "name each part that is to be put back once")
    if not 0 <= request.pieces <= MAX_PIECES:
        raise ServiceError(ErrorCode.INVALID, f"pieces must be from 0 to {MAX_PIECES}")
    if not 0 < len(request.restore) <= 64:
        raise ServiceError(ErrorCode.INVALID, "a restore's name has 1 to 64 characters")
    if _find(context, request.restore) is not None:
        raise ServiceError(ErrorCode.CONFLICT, "a restore of this name was begun before")
    context.execute(
        "DELETE FROM restore_rows WHERE guild_id = ? AND number != ?", (context.guild, REPLACED)
    )
    context.execute(
        "DELETE FROM restores WHERE guild_id = ? AND state = 'staged'", (context.guild,)
    )
    context.execute(
        "INSERT INTO restores VALUES (?, ?, 'staged', ?, ?, ?, 0, ?, ?)",
        (
            context.guild,
            request.restore,
            request.at_ms,
            encode(request.parts),
            request.pieces,
            encode(command.actor),
            context.sequence,
        ),
    )
    context.execute(
        "DELETE FROM restores WHERE guild_id = ?1 AND state != 'staged' AND sequence <= ("
        " SELECT sequence FROM restores WHERE guild_id = ?1 ORDER BY sequence DESC"
        " LIMIT 1 OFFSET ?2)",
        (context.guild, KEPT),
    )
    return _view(context, request.restore)


def _piece(context: Context, command: CommandReceived) -> bytes:
    request = _request(command, PutRestorePiece)
    restore = _staged(context, request.restore)
    if not 1 <= request.number <= restore.pieces:
        raise ServiceError(ErrorCode.INVALID, f"pieces have numbers from 1 to {restore.pieces}")
    tables = _tables(context, restore)
    context.execute(
        "DELETE FROM restore_rows WHERE guild_id = ? AND restore_id = ? AND number = ?",
        (context.guild, restore.id, request.number),
    )
    rows = []
    for given in request.rows:
        table = tables.get(given.table)
        if table is None:
            raise ServiceError(
                ErrorCode.INVALID, f"rows of {given.table[:64]!r} are not of the parts announced"
            )
        row = table.checked(given.values)
        _check(context, table, row)
        # of settings one document is in force, whatever its version was
        key = () if table.name == "settings" else table.key_of(row)
        rows.append(_Kept(table.name, key, row))
    # an empty piece is there, too
    _keep(context, restore.id, request.number, rows or [_Kept("", (), None)])
    staged = _staged_size(context, restore.id)
    if staged.rows > MAX_ROWS or staged.bytes > MAX_BYTES:
        raise ServiceError(
            ErrorCode.INVALID,
            f"one restore puts back at most {MAX_ROWS:,} rows and {MAX_BYTES // 2**20} MiB of them:"
            " choose fewer parts, or a moment from which less has changed",
        )
    return _view(context, request.restore)


def _close(context: Context, command: CommandReceived) -> bytes:
    request = _request(command, CloseRestore)
    restore = _staged(context, request.restore)
    received = _staged_size(context, restore.id).pieces
    if received < restore.pieces:
        raise ServiceError(
            ErrorCode.CONFLICT,
            f"{restore.pieces - received} of {restore.pieces} pieces are missing; nothing is"
            " changed",
        )
    tables = _tables(context, restore)
    staged = _rows(context, restore.id)
    context.execute("DELETE FROM restore_rows WHERE guild_id = ?", (context.guild,))
    replaced = []
    for name, kept in staged.items():
        table, rows = tables[name], {key: one.row for key, one in kept.items()}
        today = _today(context, table, rows)
        _put(context, command.actor, table, rows, today)
        now = _today(context, table, rows)
        replaced += [_Kept(name, key, today[key], _sha256(now[key])) for key in rows]
    _keep(context, restore.id, REPLACED, replaced)
    return _done(context, command, restore, "in_force", len(replaced))


def _undo(context: Context, command: CommandReceived) -> bytes:
    request = _request(command, UndoRestore)
    restore = _find(context, request.restore)
    if restore is None:
        raise ServiceError(ErrorCode.NOT_FOUND, "there is no restore of this name")
    if restore.state != "in_force":
        raise ServiceError(ErrorCode.CONFLICT, f"this restore is {restore.state}: nothing to undo")
    tables = _tables(context, restore)
    replaced = _rows(context, restore.id)
    if sum(map(len, replaced.values())) != restore.rows:
        raise ServiceError(
            ErrorCode.CONFLICT, "only the last restore of a guild can be undone; this is not it"
        )
    undone = 0
    for name, kept in replaced.items():
        today = _today(context, tables[name], kept)
        as_put = {
            key: one.row for key, one in kept.items() if _sha256(today[key]) == one.put_sha256
        }
        _put(context, command.actor, tables[name], as_put, today)
        undone += len(as_put)
    context.execute(
        "DELETE FROM restore_rows WHERE guild_id = ? AND restore_id = ?",
        (context.guild, restore.id),
    )
    return _done(context, command, restore, "undone", undone, left=restore.rows - undone)


def _done(
    context: Context,
    command: CommandReceived,
    restore: _Restore,
    state: str,
    rows: int,
    *,
    left: int = 0,
) -> bytes:
    context.execute(
        "UPDATE restores SET state = ?, row_count = ? WHERE guild_id = ? AND restore_id = ?",
        (state, rows, context.guild, restore.id),
    )
    context.emit_fact(
        GuildRestored(
            restore=restore.id,
            at_ms=restore.at_ms,
            parts=restore.parts,
            rows=rows,
            by_kind=command.actor.kind,
            by=command.actor.id,
            undone=state == "undone",
            left=left,
        )
    )
    return _view(context, restore.id, left)


def _today(context: Context, table: Table, keys: Iterable[Key]) -> _Rows:
    """The rows that are there now; of settings the version in force."""
    if table.name != "settings":
        return table.find(context.database, context.guild, keys)
    newest = context.execute(
        "SELECT version, CAST(document AS TEXT), changed_ms, CAST(changed_by AS TEXT),"
        " CAST(changed AS TEXT) FROM settings"
        " WHERE guild_id = ? ORDER BY version DESC LIMIT 1",
        (context.guild,),
    ).fetchone()
    return dict.fromkeys(keys, newest)


def _put(context: Context, actor: Actor, table: Table, rows: _Rows, today: _Rows) -> None:
    """Write the rows, remove those that are None; settings become a new version.

    Nothing that is written may wait for the result of an effect that has come or never will: a
    thread that was being made then is left as it is today."""
    if table.name == "settings":
        for row in rows.values():
            after = GuildSettings() if row is None else _settings_of(table, row)
            change_settings(context, actor, after)
        return
    table.remove(context.database, context.guild, (key for key in rows if rows[key] is None))
    present = {key: row for key, row in rows.items() if row is not None}
    if table.name == "cases":
        present = {key: _without_promise(table, row, today[key]) for key, row in present.items()}
    elif table.name == "member_threads":
        present = {
            key: row for key, row in present.items() if table.named(row)["state"] == THREAD_OPEN
        }
    table.put(context.database, context.guild, present.values())


def _without_promise(table: Table, row: Row, today: Row | None) -> Row:
    """A pending case waits for the result of an effect that will not come again."""
    then = table.named(row)
    if then["status"] != "pending":
        return row
    now = table.named(today) if today is not None else {}
    status = now.get("status", "failed")
    error = now.get("error", text("case.not_repeated"))
    return table.checked({**then, "status": status, "error": error})


def _check(context: Context, table: Table, row: Row) -> None:
    """What no column's type says. Raises `ServiceError`."""
    if table.name == "settings":
        _settings_of(table, row)
    values = table.named(row)
    try:
        for name, shape in SHAPES.get(table.name, {}).items():
            msgspec.convert(values[name], shape)
        for column in table.columns:
            if column.type == "BLOB":
                name = column.name
                shape = DOCUMENTS.get((table.name, name), Any)
                msgspec.json.decode(str(values[name]), type=shape)
    except msgspec.MsgspecError as error:
        raise ServiceError(ErrorCode.INVALID, f"{table.name}.{name}: {error}") from error
    if table.name == "cases" and not _was_given(context, values["number"]):
        raise ServiceError(ErrorCode.INVALID, f"there never was a case {values['number']}")


def _was_given(context: Context, number: Any) -> bool:
    (given,) = context.execute(
        "SELECT cases FROM guilds WHERE guild_id = ?", (context.guild,)
    ).fetchone()
    return 1 <= int(number) <= int(given)


def _settings_of(table: Table, row: Row) -> GuildSettings:
    return parse_settings(str(table.named(row)["document"]).encode())


def _request(command: CommandReceived, kind: type[R]) -> R:
    if command.actor.kind != "operator":
        raise forbidden("only an operator may put back an earlier state")
    try:
        return decode(bytes(command.arguments), kind)
    except MalformedMessage as error:
        raise ServiceError(ErrorCode.MALFORMED, str(error)) from error


def _find(context: Context, name: str) -> _Restore | None:
    row = context.execute(
        "SELECT restore_id, state, at_ms, parts, pieces, row_count, actor FROM restores"
        " WHERE guild_id = ? AND restore_id = ?",
        (context.guild, name),
    ).fetchone()
    if row is None:
        return None
    return _Restore(
        id=row[0],
        state=row[1],
        at_ms=row[2],
        parts=msgspec.json.decode(row[3], type=list[RestorePart]),
        pieces=row[4],
        rows=row[5],
        actor=decode(row[6], Actor),
    )


def _staged(context: Context, name: str) -> _Restore:
    restore = _find(context, name)
    if restore is None:
        raise ServiceError(
            ErrorCode.NOT_FOUND, "no such restore is begun, or another has taken its place"
        )
    if restore.state != "staged":
        raise ServiceError(ErrorCode.CONFLICT, f"this restore is {restore.state} already")
    return restore


def _tables(context: Context, restore: _Restore) -> dict[str, Table]:
    """The tables of the restore's parts by name."""
    names = (name for part in restore.parts for name in TABLES_OF[part])
    return {name: table_of(context.database, name) for name in names}


def _staged_size(context: Context, name: str) -> _Staged:
    return _Staged(
        *context.execute(
            "SELECT count(DISTINCT number), count(*) FILTER (WHERE tab != ''),"
            " coalesce(sum(length(row)), 0) FROM restore_rows"
            " WHERE guild_id = ? AND restore_id = ?",
            (context.guild, name),
        ).fetchone()
    )


def _keep(context: Context, name: str, number: int, rows: list[_Kept]) -> None:
    """Keep the rows in their order."""
    context.execute(
        f"WITH {ROWS} INSERT INTO restore_rows SELECT ?1, ?3, ?4, key, value ->> 0,"  # noqa: S608
        " CAST(value -> 1 AS BLOB), CAST(value -> 2 AS BLOB), value ->> 3 FROM given",
        (context.guild, encode(rows).decode(), name, number),
    )


def _rows(context: Context, name: str) -> dict[str, dict[Key, _Kept]]:
    """Kept rows by table, in their order; the last one counts where a key is there twice."""
    (found,) = context.execute(
        "SELECT json_group_array(json_array(tab, json(CAST(key AS TEXT)), json(CAST(row AS TEXT)),"
        " put_sha256)) FROM (SELECT * FROM restore_rows WHERE guild_id = ? AND restore_id = ?"
        " AND tab != '' ORDER BY number, idx)",
        (context.guild, name),
    ).fetchone()
    rows: dict[str, dict[Key, _Kept]] = {}
    for one in msgspec.json.decode(found, type=list[_Kept]):
        rows.setdefault(one.table, {})[one.key] = one
    return rows


def _sha256(row: Row | None) -> str:
    return hashlib.sha256(encode(row)).hexdigest()


def _view(context: Context, name: str, left: int = 0) -> bytes:
    restore = _find(context, name)
    if restore is None:
        raise ServiceError(ErrorCode.NOT_FOUND, "there is no restore of this name")
    received, rows = restore.pieces, restore.rows
    if restore.state == "staged":
        staged = _staged_size(context, name)
        received, rows = staged.pieces, staged.rows
    return encode(
        RestoreView(
            restore=restore.id,
            state=restore.state,  # type: ignore[arg-type]
            at_ms=restore.at_ms,
            parts=restore.parts,
            pieces=restore.pieces,
            received=received,
            rows=rows,
            left=left,
            by=restore.actor,
        )
    )


POLICY = Policy(
    name="restore",
    order=90,
    commands={
        "restore.begin": _begin,
        "restore.piece": _piece,
        "restore.close": _close,
        "restore.undo": _undo,
    },
)
