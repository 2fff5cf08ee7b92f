"""Numbered cases: every action that the bot takes, and every one that moderators take.

The bot's case is pending until the results of its effects say done or failed; the deciding effect
is that of the case's own action, the others leave words if they fail. Moderators' actions are
seen in the audit log; the bot's own entries are not recorded twice. What anybody lifts is noted
as well, so that an effect in doubt is not repeated against them. An entry counts once, whether it
was dispatched or read afterwards.
"""

from datetime import datetime
from typing import Final

import msgspec

from components.gateway.engine.effects import BanMember, UnbanMember, audit_reason
from components.gateway.engine.errors import InvalidInput
from components.gateway.engine.events import AuditLogEntryCreated, BanRemoved
from components.gateway.engine.policy import Context, Note, Policy, SettledEffect
from components.gateway.engine.texts import text
from contracts.facts import (
    CaseAction,
    CaseOpened,
    CaseStatus,
    CaseUpdated,
    ModeratorKind,
    SignalScore,
    SpamTier,
)
from contracts.ids import (
    CaseNumber,
    ChannelId,
    GuildId,
    MessageId,
    Sequence,
    UserId,
    is_snowflake,
    snowflake_time_ms,
)
from contracts.message import encode

NAME: Final = "cases"
_AUDITED: Final[dict[int, CaseAction]] = {20: "kick", 22: "ban", 23: "unban"}
"""Audit log events (docs: resources/audit-log#audit-log-events); 24 and 25 depend on changes."""
_MEMBER_UPDATE: Final = 24
_MEMBER_ROLE_UPDATE: Final = 25
MAX_ERROR: Final = 500
KEPT_ENTRIES: Final = 1_000
"""Audit entries known by their id: more than the shard reads after a gap, with what was dispatched
around it."""
_LIFTS: Final[dict[CaseAction, str]] = {
    "remove_timeout": "timeout",
    "unban": "ban",
    "ban": "unban",
}
"""What an action undoes, as `queries.undone` asks for it."""


class NewCase(msgspec.Struct, frozen=True, kw_only=True):
    """A case to be opened; fields as in `CaseView`."""

    user: UserId
    username: str = ""
    action: CaseAction
    status: CaseStatus
    moderator_kind: ModeratorKind = "bot"
    moderator: UserId | None = None
    reason: str = ""
    until_ms: int | None = None
    channel: ChannelId | None = None
    message: MessageId | None = None
    tier: SpamTier | None = None
    score: int | None = None
    signals: list[SignalScore] = []
    evidence: bytes = b"{}"
    source_guild: GuildId | None = None


def open_case(context: Context, case: NewCase) -> CaseNumber:
    """Give the case the guild's next number and state the fact."""
    (number,) = context.execute(
        "UPDATE guilds SET cases = cases + 1 WHERE guild_id = ? RETURNING cases", (context.guild,)
    ).fetchone()
    context.execute(
        "INSERT INTO cases VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, '', ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
        (
            context.guild,
            number,
            case.user,
            case.username,
            case.action,
            case.status,
            case.moderator_kind,
            case.moderator,
            case.reason,
            context.time_ms,
            case.until_ms,
            case.channel,
            case.message,
            case.tier,
            case.score,
            encode(case.signals),
            case.evidence,
            case.source_guild,
            context.sequence,
        ),
    )
    context.emit_fact(
        CaseOpened(
            number=number,
            user=case.user,
            action=case.action,
            status=case.status,
            moderator_kind=case.moderator_kind,
            moderator=case.moderator,
            reason=case.reason,
            source_guild=case.source_guild,
        ),
        subject=case.user,
    )
    return CaseNumber(number)


def case_note(case: CaseNumber, *, decides: bool, ends_in_unban: bool = False) -> Note:
    """What an effect of a case carries. ``decides``: its result is the case's;
    ``ends_in_unban``: it is a softban's ban, whose unban is asked for once it is done."""
    return {"case": case, "decides": decides, "ends_in_unban": ends_in_unban}


def _on_result(context: Context, effect: SettledEffect) -> None:
    number = effect.note["case"]
    ban = effect.payload
    if isinstance(ban, BanMember) and effect.done and effect.note["ends_in_unban"]:
        context.emit_effect(
            UnbanMember(
                user=ban.user,
                reason=audit_reason(number, text("audit.softban_end")),
                for_ban=(effect.sequence, effect.index),
            ),
            policy=NAME,
            note=case_note(number, decides=True),
        )
        return
    row = context.execute(
        "SELECT user_id, action, status, error FROM cases WHERE guild_id = ? AND number = ?",
        (context.guild, number),
    ).fetchone()
    if row is None:
        return
    user, action, status, error = row
    if not effect.done:
        words = f"{effect.kind}: {effect.words}"
        error = f"{error}; {words}"[:MAX_ERROR] if error else words[:MAX_ERROR]
    if effect.note["decides"] and effect.result.outcome != "parked":
        status = "done" if effect.done else "failed"
        if effect.undone:
            error = text("case.undone")
    elif effect.done:
        return
    context.execute(
        "UPDATE cases SET status = ?, error = ? WHERE guild_id = ? AND number = ?",
        (status, error, context.guild, number),
    )
    context.emit_fact(
        CaseUpdated(number=number, user=user, action=action, status=status, error=error),
        subject=user,
    )


def _on_audit_entry(context: Context, entry: AuditLogEntryCreated) -> None:
    target = entry.target_id
    if target is None or not is_snowflake(target):
        return
    if entry.user_id == context.bot_user_id:
        # Recorded when it was decided. It lifts nothing either: a softban's own ban may be seen
        # after its unban was asked for, and must not call that unban off.
        return
    if entry.id is not None and not _is_new_entry(context, entry.id):
        return
    user = UserId(target)
    action: CaseAction | None = _AUDITED.get(entry.action_type)
    until_ms = None
    if entry.action_type == _MEMBER_UPDATE:
        changes = {change.key: change.new_value for change in entry.changes}
        if "communication_disabled_until" not in changes:
            return
        until_ms = _moment_ms(changes["communication_disabled_until"])
        action = "remove_timeout" if until_ms is None else "timeout"
    elif entry.action_type == _MEMBER_ROLE_UPDATE:
        _note_role_removed(context, user, entry)
    if action is None:
        return
    if action in _LIFTS:
        _note_lifted(context, user, _LIFTS[action], _place(context, entry))
    open_case(
        context,
        NewCase(
            user=user,
            username=_username(context, user),
            action=action,
            status="done",
            moderator_kind="moderator" if entry.user_id else "unknown",
            moderator=UserId(entry.user_id) if entry.user_id else None,
            reason=entry.reason or "",
            until_ms=until_ms,
        ),
    )


def _is_new_entry(context: Context, entry: str) -> bool:
    """Note the entry and forget the oldest; False if it was noted before."""
    added = context.execute(
        "INSERT OR IGNORE INTO audit_entries VALUES (?, ?, ?)",
        (context.guild, entry, context.sequence),
    )
    if not added.rowcount:
        return False
    context.execute(
        "DELETE FROM audit_entries WHERE guild_id = ?1 AND sequence <= ("
        " SELECT sequence FROM audit_entries WHERE guild_id = ?1"
        " ORDER BY sequence DESC LIMIT 1 OFFSET ?2)",
        (context.guild, KEPT_ENTRIES),
    )
    return True


def _on_ban_removed(context: Context, event: BanRemoved) -> None:
    _note_lifted(context, UserId(event.user.id), "ban", context.sequence)


def _note_role_removed(context: Context, user: UserId, entry: AuditLogEntryCreated) -> None:
    restricted = context.rules.settings.restricted_role
    for change in entry.changes:
        if change.key == "$remove" and isinstance(change.new_value, list):
            removed = [role.get("id") for role in change.new_value if isinstance(role, dict)]
            if restricted is not None and restricted in removed:
                _note_lifted(context, user, "restricted_role", _place(context, entry))


def _place(context: Context, entry: AuditLogEntryCreated) -> Sequence:
    """Where on the log the entry belongs: one that was read afterwards happened before whatever
    was asked for since, and lifts none of that."""
    if not context.catch_up or entry.id is None:
        return context.sequence
    (later,) = context.execute(
        "SELECT min(sequence) FROM outbox WHERE guild_id = ? AND asked_ms > ?",
        (context.guild, snowflake_time_ms(entry.id)),
    ).fetchone()
    return context.sequence if later is None else Sequence(later)


def _note_lifted(context: Context, user: UserId, kind: str, at: Sequence) -> None:
    context.execute(
        "INSERT INTO lifted VALUES (?, ?, ?, ?)"
        " ON CONFLICT DO UPDATE SET sequence = max(sequence, excluded.sequence)",
        (context.guild, user, kind, at),
    )


def _username(context: Context, user: UserId) -> str:
    """The name under which the guild last met the user; audit entries carry none."""
    row = context.execute(
        "SELECT username FROM cases WHERE guild_id = ? AND user_id = ? AND username != ''"
        " ORDER BY number DESC LIMIT 1",
        (context.guild, user),
    ).fetchone()
    return row[0] if row else ""


def _moment_ms(value: object) -> int | None:
    if value is None:
        return None
    try:
        moment = datetime.fromisoformat(str(value))
    except ValueError as error:
        raise InvalidInput("an audit entry's timeout is not a time") from error
    if moment.tzinfo is None:
        raise InvalidInput("an audit entry's timeout has no time zone")
    return int(moment.timestamp() * 1000)


POLICY = Policy(
    name=NAME,
    order=30,
    dispatches={
        "GUILD_AUDIT_LOG_ENTRY_CREATE": _on_audit_entry,
        "GUILD_BAN_REMOVE": _on_ban_removed,
    },
    on_result=_on_result,
)
