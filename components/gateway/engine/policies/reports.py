"""Reports: a row for each reported message, and posts in the member's thread in the mod log.

A member has one thread, made when it is first needed: a starter message, the thread from it, then
the posts that waited. Each step is an effect whose result takes the next one. A thread that turns
out to be gone is made again, once for each post. Without a mod-log channel there are rows and no
posts; when the mod log cannot be written to, the posts are given up and the next report tries
again.
"""

from typing import Any, Final, Literal

import msgspec

from components.gateway.engine import report_text
from components.gateway.engine.effects import CreateMessage, CreateThread
from components.gateway.engine.events import ChannelChanged
from components.gateway.engine.policy import Context, Note, Policy, SettledEffect
from components.gateway.engine.spam.posted import Posted
from components.gateway.engine.spam.scoring import Scored
from contracts.facts import CaseAction, ReportFiled, SpamTier
from contracts.ids import CaseNumber, ChannelId, MessageId, UserId
from contracts.message import encode

NAME: Final = "reports"
REASON: Final = "spam"
AUTO_ARCHIVE_MINUTES: Final = 10_080
_THREAD_GONE: Final = frozenset({10003, 10008, 50001, 50083})
"""Unknown channel, unknown message, missing access, archived and locked (docs: topics/
opcodes-and-status-codes#json)."""
_THREAD_EXISTS: Final = 160004


class Filed(msgspec.Struct, frozen=True, kw_only=True):
    """A report on a message; ``log_message`` once its header is posted."""

    tier: SpamTier
    text_hash: str
    log_channel: ChannelId | None
    log_message: MessageId | None


def find_report(context: Context, message: MessageId) -> Filed | None:
    """The spam report on a message."""
    row = context.execute(
        "SELECT tier, text_hash, nullif(log_channel_id, ''), nullif(log_message_id, '')"
        " FROM reports WHERE guild_id = ? AND message_id = ? AND reason = ?",
        (context.guild, message, REASON),
    ).fetchone()
    if row is None:
        return None
    return Filed(tier=row[0], text_hash=row[1], log_channel=row[2], log_message=row[3])


def note_report(context: Context, posted: Posted, scored: Scored, text_hash: str) -> int:
    """File the report, once for a message, and count the member's spam reports in the guild."""
    filed = context.execute(
        "INSERT INTO reports (guild_id, message_id, reason, user_id, channel_id, sequence, at_ms,"
        " tier, score, text_hash) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"
        " ON CONFLICT DO UPDATE SET tier = excluded.tier, score = excluded.score,"
        " text_hash = excluded.text_hash RETURNING sequence",
        (
            context.guild,
            posted.id,
            REASON,
            posted.author.id,
            posted.channel,
            context.sequence,
            context.time_ms,
            scored.tier,
            scored.score,
            text_hash,
        ),
    ).fetchone()
    if filed == (context.sequence,):
        context.emit_fact(
            ReportFiled(
                user=UserId(posted.author.id),
                channel=posted.channel,
                message=posted.id,
                reason=REASON,
            ),
            subject=posted.author.id,
        )
    (count,) = context.execute(
        "SELECT count(*) FROM reports WHERE guild_id = ? AND user_id = ? AND reason = ?",
        (context.guild, posted.author.id, REASON),
    ).fetchone()
    return int(count)


def post_report(
    context: Context,
    posted: Posted,
    scored: Scored,
    *,
    case: CaseNumber,
    action: CaseAction,
    earlier: Filed | None,
) -> None:
    """Post the report to the member's thread, as a reply if the message was reported before."""
    user, username = UserId(posted.author.id), posted.author.username
    if earlier is None:
        first = report_text.header(context.guild, posted, scored, case=case, action=action)
        note: Note = {
            "step": "header",
            "message": posted.id,
            "summary": report_text.summary(posted),
        }
    else:
        first = report_text.again(scored, case=case, action=action)
        note = {"step": "post"}
        if earlier.log_message is not None:
            first["message_reference"] = {
                "message_id": earlier.log_message,
                "fail_if_not_exists": False,
            }
            note["under"] = earlier.log_channel
    post(context, user, username, first, note)
    for body in report_text.contents(posted):
        post(context, user, username, body, {"step": "post"})


def post(context: Context, user: UserId, username: str, body: dict[str, Any], note: Note) -> None:
    """Post to the member's thread, now or as soon as there is one."""
    channel = context.rules.settings.mod_log_channel
    if channel is None:
        return
    note = {"tries": 0, **note, "user": user, "username": username}
    row = context.execute(
        "SELECT state, channel_id, thread_id FROM member_threads"
        " WHERE guild_id = ? AND user_id = ?",
        (context.guild, user),
    ).fetchone()
    if row is not None and row[0] == "open" and row[1] == channel:
        _send(context, ChannelId(row[2]), body, note)
        return
    (index,) = context.execute(
        "SELECT coalesce(max(idx) + 1, 0) FROM thread_posts"
        " WHERE guild_id = ? AND user_id = ? AND sequence = ?",
        (context.guild, user, context.sequence),
    ).fetchone()
    context.execute(
        "INSERT INTO thread_posts VALUES (?, ?, ?, ?, ?, ?)",
        (context.guild, user, context.sequence, index, encode(body), encode(note)),
    )
    if row is None or row[0] == "open":
        _start_thread(context, user, username, channel)


def _send(context: Context, thread: ChannelId, body: dict[str, Any], note: Note) -> None:
    if "message_reference" in body and note.get("under") != thread:
        body = {name: value for name, value in body.items() if name != "message_reference"}
    context.emit_message(thread, body, policy=NAME, note={**note, "thread": thread})


def _start_thread(context: Context, user: UserId, username: str, channel: ChannelId) -> None:
    context.execute(
        "INSERT OR REPLACE INTO member_threads VALUES (?, ?, ?, ?, 'starting', '', '')",
        (context.guild, user, username, channel),
    )
    context.emit_message(
        channel,
        report_text.starter_body(user, username),
        policy=NAME,
        note={"step": "starter", "user": user, "username": username, "channel": channel},
    )


def _on_result(context: Context, effect: SettledEffect) -> None:
    step: Literal["starter", "thread", "header", "post", "log"] = effect.note["step"]
    if step == "starter":
        _on_starter(context, effect)
    elif step == "thread":
        _on_thread(context, effect)
    elif step in ("header", "post"):
        if not effect.done:
            _on_post_failed(context, effect)
        elif step == "header":
            _on_header(context, effect)


def _on_starter(context: Context, effect: SettledEffect) -> None:
    note = effect.note
    starter = effect.result.data.get("message_id")
    if not effect.done or not starter:
        _give_up(context, note["user"])
        return
    context.execute(
        "UPDATE member_threads SET state = 'naming', starter_id = ?"
        " WHERE guild_id = ? AND user_id = ?",
        (starter, context.guild, note["user"]),
    )
    context.emit_effect(
        CreateThread(
            channel=note["channel"],
            message=MessageId(starter),
            name=report_text.thread_name(note["user"], note["username"]),
            auto_archive_minutes=AUTO_ARCHIVE_MINUTES,
        ),
        policy=NAME,
        note={**note, "step": "thread"},
    )


def _on_thread(context: Context, effect: SettledEffect) -> None:
    user, payload = effect.note["user"], effect.payload
    error = effect.result.error
    exists = error is not None and error.code == _THREAD_EXISTS
    if not (effect.done or exists) or not isinstance(payload, CreateThread):
        _give_up(context, user)
        return
    # a thread that starts from a message has the message's id
    thread = ChannelId(effect.result.data.get("thread_id", payload.message))
    context.execute(
        "UPDATE member_threads SET state = 'open', thread_id = ?"
        " WHERE guild_id = ? AND user_id = ?",
        (thread, context.guild, user),
    )
    waiting = context.execute(
        "DELETE FROM thread_posts WHERE guild_id = ? AND user_id = ?"
        " RETURNING sequence, idx, body, note",
        (context.guild, user),
    ).fetchall()
    for _, _, body, note in sorted(waiting):
        _send(context, thread, msgspec.json.decode(body), msgspec.json.decode(note))


def _on_header(context: Context, effect: SettledEffect) -> None:
    note = effect.note
    header = effect.result.data.get("message_id")
    channel = context.rules.settings.mod_log_channel
    if not header:
        return
    context.execute(
        "UPDATE reports SET log_channel_id = ?, log_message_id = ?"
        " WHERE guild_id = ? AND message_id = ? AND reason = ?",
        (note["thread"], header, context.guild, note["message"], REASON),
    )
    if channel is None:
        return
    forward = report_text.forward_body(note["thread"], MessageId(header))
    context.emit_message(channel, forward, policy=NAME, note={"step": "log"})
    link = report_text.message_link(context.guild, note["thread"], header)
    line = report_text.summary_body(note["summary"], link)
    context.emit_message(channel, line, policy=NAME, note={"step": "log"})


def _on_post_failed(context: Context, effect: SettledEffect) -> None:
    error, payload, note = effect.result.error, effect.payload, effect.note
    gone = error is not None and error.code in _THREAD_GONE
    if not gone or note["tries"] or not isinstance(payload, CreateMessage):
        return
    _forget_thread(context, ChannelId(note["thread"]))
    again = {name: value for name, value in note.items() if name != "thread"}
    post(context, note["user"], note["username"], payload.body, {**again, "tries": 1})


def _give_up(context: Context, user: UserId) -> None:
    context.execute(
        "DELETE FROM member_threads WHERE guild_id = ? AND user_id = ?", (context.guild, user)
    )
    context.execute(
        "DELETE FROM thread_posts WHERE guild_id = ? AND user_id = ?", (context.guild, user)
    )


def _forget_thread(context: Context, thread: ChannelId) -> None:
    context.execute(
        "DELETE FROM member_threads WHERE guild_id = ? AND thread_id = ?", (context.guild, thread)
    )


def _on_thread_deleted(context: Context, event: ChannelChanged) -> None:
    _forget_thread(context, ChannelId(event.id))


POLICY = Policy(
    name=NAME,
    order=40,
    dispatches={"THREAD_DELETE": _on_thread_deleted},
    on_result=_on_result,
)
