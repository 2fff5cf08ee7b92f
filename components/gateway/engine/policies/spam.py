"""The spam pipeline: whom it skips, what it scores, how it answers a verdict.

New messages and edits are scored, a verdict is given once for a message and its content, whether
it was dispatched or read afterwards; its windows lie at the message's own time. Every
action is a case, every verdict a report in the member's thread, and a signal to the guilds that
share signals if this one does.
"""

from functools import cache
from typing import Final

import msgspec

from components.gateway.engine.effects import (
    DAY_MS,
    AddRole,
    BanMember,
    DeleteMessage,
    KickMember,
    RaiseSignal,
    TimeOutMember,
    audit_reason,
)
from components.gateway.engine.events import (
    UNSET,
    Member,
    MessageCreated,
    MessageUpdated,
    User,
)
from components.gateway.engine.policies import cases, reports
from components.gateway.engine.policies.cases import NewCase, case_note, open_case
from components.gateway.engine.policy import Context, Policy
from components.gateway.engine.spam import tracker
from components.gateway.engine.spam.posted import (
    Posted,
    content_hash,
    digest,
    duplicate_key,
    embeds_hash,
    posted_of,
)
from components.gateway.engine.spam.scoring import TIERS, Scored, score
from components.gateway.engine.texts import text
from contracts.facts import CaseAction, MessageFlagged
from contracts.ids import CaseNumber, MessageId, UserId
from contracts.message import encode

SOFTBAN_DELETE_S: Final = 7 * 86_400
ROLES_AT_ONCE: Final = 32
"""Roles of a member that are looked up in one statement."""
_TYPED: Final = frozenset({0, 19})
"""Types of messages that a member typed: default and reply; the others are the system's."""


def _on_create(context: Context, event: MessageCreated) -> None:
    if event.member is None or _is_skipped(context, event, event.author, event.member):
        return
    if context.catch_up and _is_known(context, event):
        return
    posted = posted_of(
        event,
        author=event.author,
        member=event.member,
        joined_ms=_joined_ms(event.member),
    )
    key, content, embeds = duplicate_key(posted), content_hash(posted), embeds_hash(posted)
    recent = tracker.remember(
        context, posted, key=key, at_ms=posted.at_ms, content=content, embeds=embeds
    )
    scored = score(posted, recent, key, context.rules, trap=_is_trap(context, posted))
    if scored.tier is not None and reports.find_report(context, posted.id) is None:
        _respond(context, posted, scored, digest([content, embeds]))


def _is_known(context: Context, event: MessageCreated) -> bool:
    """Whether a message that was read afterwards was on the log before."""
    message = MessageId(event.id)
    return (
        tracker.find_message(context, message, event.author.id) is not None
        or reports.find_report(context, message) is not None
    )


def _on_update(context: Context, event: MessageUpdated) -> None:
    known = tracker.find_message(
        context, MessageId(event.id), None if event.author is None else event.author.id
    )
    author = event.author
    if author is None and known is not None:
        author = User(id=known.user, username=known.username)
    if author is None or (event.member is None and known is None):
        return  # nobody can say whether the author is exempt
    member = event.member or Member()
    if _is_skipped(context, event, author, member):
        return
    joined_ms = _joined_ms(member)
    if joined_ms is None and known is not None:
        joined_ms = known.joined_ms
    posted = posted_of(event, author=author, member=member, joined_ms=joined_ms)
    content, embeds = content_hash(posted), embeds_hash(posted)
    key, at_ms = duplicate_key(posted), posted.at_ms
    same_text = known is not None and (not posted.content_known or known.content_hash == content)
    if known is not None and same_text:
        if event.embeds is UNSET or known.embeds_hash == embeds:
            return
        # only previews arrived: when and what was posted stays as it was
        content, key, at_ms = known.content_hash, known.key, known.at_ms
        posted = msgspec.structs.replace(posted, at_ms=at_ms)
    elif not posted.content_known:
        return  # previews of a message that is no longer remembered
    recent = tracker.remember(context, posted, key=key, at_ms=at_ms, content=content, embeds=embeds)
    scored = score(posted, recent, key, context.rules, trap=_is_trap(context, posted))
    if scored.tier is None:
        return
    text_hash = digest([content, embeds])
    earlier = reports.find_report(context, posted.id)
    if earlier is not None and (
        earlier.text_hash == text_hash
        or (same_text and TIERS.index(scored.tier) <= TIERS.index(earlier.tier))
    ):
        return  # judged already
    _respond(context, posted, scored, text_hash)


def _is_skipped(
    context: Context, event: MessageCreated | MessageUpdated, author: User, member: Member
) -> bool:
    if not context.rules.spam.enabled or event.type not in _TYPED:
        return True
    if author.bot or author.system or event.webhook_id is not None:
        return True
    return author.id == context.owner_id or _is_exempt(context, member)


def _is_exempt(context: Context, member: Member) -> bool:
    rules = context.rules
    if rules.settings.moderator_role in member.roles:
        return True
    roles = [context.guild, *member.roles]  # everyone's role is called as the guild is
    for start in range(0, len(roles), ROLES_AT_ONCE):
        some = roles[start : start + ROLES_AT_ONCE]
        for administrator, name in context.execute(_roles_query(len(some)), (context.guild, *some)):
            if administrator or name.strip().casefold() in rules.exempt_names:
                return True
    return False


@cache
def _roles_query(count: int) -> str:
    places = ", ".join("?" * count)
    return f"SELECT administrator, name FROM roles WHERE guild_id = ? AND role_id IN ({places})"  # noqa: S608 question marks alone


def _is_trap(context: Context, posted: Posted) -> bool:
    return posted.channel in context.rules.honeypots


def _joined_ms(member: Member) -> int | None:
    return None if member.joined_at is None else int(member.joined_at.timestamp() * 1000)


def _respond(context: Context, posted: Posted, scored: Scored, text_hash: str) -> None:
    if scored.tier is None:
        return
    user = UserId(posted.author.id)
    earlier = reports.find_report(context, posted.id)
    context.emit_fact(
        MessageFlagged(
            user=user,
            channel=posted.channel,
            message=posted.id,
            tier=scored.tier,
            score=scored.score,
            signals=scored.signals,
            edited=posted.edited,
        ),
        subject=user,
    )
    count = reports.note_report(context, posted, scored, text_hash)
    action = _action(context, scored, count)
    until_ms = posted.at_ms + context.rules.spam.timeout_s * 1000
    why = text("audit.spam", tier=text(f"tier.{scored.tier}"), score=scored.score)
    case = open_case(
        context,
        NewCase(
            user=user,
            username=posted.author.username,
            action=action,
            status="done" if action == "flag" else "pending",
            reason=why,
            until_ms=until_ms if action == "timeout" else None,
            channel=posted.channel,
            message=posted.id,
            tier=scored.tier,
            score=scored.score,
            signals=scored.signals,
            evidence=encode(scored.evidence),
        ),
    )
    _act(context, posted, action, case=case, why=why, until_ms=until_ms)
    reports.post_report(context, posted, scored, case=case, action=action, earlier=earlier)
    if context.rules.settings.signals.share:
        context.emit_effect(
            RaiseSignal(
                op="report",
                user=user,
                username=posted.author.username,
                tier=scored.tier,
                guild_name=context.guild_name,
                guild_count=context.rules.settings.signals.guild_count,
                escalate=TIERS.index(scored.tier) >= TIERS.index("high"),
            ),
            policy="signals",
            note={"user": user},
        )


def _action(context: Context, scored: Scored, reports_of_member: int) -> CaseAction:
    """The strongest thing that is done about a verdict."""
    if scored.tier == "honeypot":
        return "softban"
    if scored.tier == "high":
        kicks = reports_of_member >= context.rules.spam.kick_after_reports
        return "kick" if kicks else "timeout"
    if scored.tier == "medium":
        return "restrict" if context.rules.settings.restricted_role else "delete_message"
    return "flag"


def _act(
    context: Context,
    posted: Posted,
    action: CaseAction,
    *,
    case: CaseNumber,
    why: str,
    until_ms: int,
) -> None:
    """Ask for everything that belongs to the action; its own effect decides the case."""
    user, reason = UserId(posted.author.id), audit_reason(case, why)
    if action == "flag":
        return
    if action == "softban":
        context.emit_effect(
            BanMember(user=user, delete_message_s=SOFTBAN_DELETE_S, reason=reason),
            policy=cases.NAME,
            note=case_note(case, decides=True, ends_in_unban=True),
        )
        return
    context.emit_effect(
        DeleteMessage(channel=posted.channel, message=posted.id, reason=reason),
        policy=cases.NAME,
        note=case_note(case, decides=action == "delete_message"),
    )
    role = context.rules.settings.restricted_role
    if action == "restrict" and role is not None:
        context.emit_effect(
            AddRole(user=user, role=role, reason=reason),
            policy=cases.NAME,
            note=case_note(case, decides=True),
        )
    if action in ("timeout", "kick"):
        context.emit_effect(
            TimeOutMember(user=user, until_ms=until_ms, reason=reason),
            policy=cases.NAME,
            note=case_note(case, decides=action == "timeout"),
            expires_ms=min(until_ms, context.time_ms + DAY_MS),
        )
    if action == "kick":
        context.emit_effect(
            KickMember(user=user, joined_before_ms=posted.at_ms, reason=reason),
            policy=cases.NAME,
            note=case_note(case, decides=True),
        )


POLICY = Policy(
    name="spam",
    order=50,
    dispatches={"MESSAGE_CREATE": _on_create, "MESSAGE_UPDATE": _on_update},
    timers={tracker.SWEEP: tracker.sweep},
)
