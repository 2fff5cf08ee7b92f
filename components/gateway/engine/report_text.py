"""What a report says: bodies of Discord messages. Pure; every body is within Discord's limits and
mentions nobody."""

from typing import Any, Final

from components.gateway.engine.markdown import MAX_CONTENT, escaped, excerpt, quoted
from components.gateway.engine.spam.posted import Posted
from components.gateway.engine.spam.scoring import Scored
from components.gateway.engine.texts import file_size, text
from contracts.facts import CaseAction
from contracts.ids import CaseNumber, ChannelId, GuildId, MessageId, UserId, snowflake_time_ms

SUPPRESS_EMBEDS: Final = 1 << 2
EXCERPT: Final = 80
_CODE_FENCE: Final = "```"
_SHOWN_KEYWORDS: Final = 10
_MEDIA: Final = ("image/", "video/")


def body(content: str) -> dict[str, Any]:
    """A message that unfurls nothing and mentions nobody."""
    if len(content) > MAX_CONTENT:
        content = content[: MAX_CONTENT - 1] + "…"
    return {
        "content": content,
        "flags": SUPPRESS_EMBEDS,
        "allowed_mentions": {"parse": []},
    }


def message_link(guild: GuildId, channel: str, message: str) -> str:
    """Where Discord shows a message."""
    return f"https://discord.com/channels/{guild}/{channel}/{message}"


def header(
    guild: GuildId, posted: Posted, scored: Scored, *, case: CaseNumber, action: CaseAction
) -> dict[str, Any]:
    """Who, where, why: the first post of a report."""
    title = "report.title_edited" if posted.edited else "report.title"
    account = snowflake_time_ms(posted.author.id) // 1000
    lines = [
        _title(title, scored, case, action),
        text(
            "report.author",
            user=posted.author.id,
            username=escaped(posted.author.username),
            channel=posted.channel,
            when=posted.at_ms // 1000,
            link=message_link(guild, posted.channel, posted.id),
        ),
        text("report.account", account=account)
        if posted.joined_ms is None
        else text("report.tenure", account=account, joined=posted.joined_ms // 1000),
        *_signal_lines(scored),
    ]
    if posted.forwarded:
        lines.append(text("report.forwarded"))
    return body("\n".join(lines))


def again(scored: Scored, *, case: CaseNumber, action: CaseAction) -> dict[str, Any]:
    """A reply under the earlier report of the same message."""
    return body("\n".join([_title("report.again", scored, case, action), *_signal_lines(scored)]))


def contents(posted: Posted) -> list[dict[str, Any]]:
    """What the message held, quoted and defused, in as many posts as it takes."""
    shown = [posted.content, *(snapshot.content for snapshot in posted.forwarded)]
    typed = "\n".join(part for part in shown if part)
    pieces = quoted(typed) if typed else [f"> {text('report.no_text')}"]
    extra = _poll_lines(posted) + _attachment_lines(posted)
    if posted.stickers:
        names = ", ".join(escaped(sticker.name) for sticker in posted.stickers)
        extra.append(text("report.stickers", names=names))
    if posted.reactions:
        reactions = " ".join(
            f"{escaped(reaction.emoji.name or '?')} {reaction.count}"
            for reaction in posted.reactions
        )
        extra.append(text("report.reactions", reactions=reactions))
    for line in extra:
        line = line[:MAX_CONTENT]
        if len(pieces[-1]) + 1 + len(line) <= MAX_CONTENT:
            pieces[-1] += f"\n{line}"
        else:
            pieces.append(line)
    return [body(piece) for piece in pieces]


def summary(posted: Posted) -> dict[str, str]:
    """The summary's parameters but its link, which is known once the report is posted."""
    typed = "\n".join([posted.content, *(snapshot.content for snapshot in posted.forwarded)])
    fences = typed.split(_CODE_FENCE)
    code = fences[1::2] if len(fences) > 2 else []
    counts = {
        "characters": len(typed.strip()),
        "words": len(typed.split()),
        "links": typed.count("http://") + typed.count("https://"),
        "code_lines": sum(len(block.strip("\n").split("\n")) for block in code),
        "attachments": len(posted.attachments)
        + sum(len(snapshot.attachments) for snapshot in posted.forwarded),
        "reactions": sum(reaction.count for reaction in posted.reactions),
    }
    said = [
        text(f"count.{name}", count=count)
        for name, count in counts.items()
        if count or name == "characters"
    ]
    return {
        "user": posted.author.id,
        "excerpt": excerpt(typed, EXCERPT) or text("report.no_text"),
        "counts": " · ".join(said),
    }


def summary_body(parameters: dict[str, str], link: str) -> dict[str, Any]:
    """The line in the mod log that leads to the report."""
    return body(text("report.summary", link=link, **parameters))


def forward_body(thread: ChannelId, message: MessageId) -> dict[str, Any]:
    """A native forward of the report's header."""
    return {
        "message_reference": {"type": 1, "channel_id": thread, "message_id": message},
        "allowed_mentions": {"parse": []},
    }


def starter_body(user: UserId, username: str) -> dict[str, Any]:
    """The message in the mod log from which the member's thread starts."""
    return body(text("thread.starter", user=user, username=escaped(username)))


def thread_name(user: UserId, username: str) -> str:
    """Within 100 characters (docs: resources/channel#start-thread-from-message)."""
    return text("thread.name", username=(username or user)[:90])


def _title(key: str, scored: Scored, case: CaseNumber, action: CaseAction) -> str:
    return text(
        key,
        tier=text(f"tier.{scored.tier}"),
        score=scored.score,
        case=case,
        action=text(f"action.{action}"),
    )


def _signal_lines(scored: Scored) -> list[str]:
    words = {
        "spam_keyword": scored.evidence.keywords,
        "safe_keyword": scored.evidence.safe_keywords,
    }
    lines = []
    for signal in scored.signals:
        name, points = text(f"signal.{signal.name}"), f"{signal.points:+d}"
        found = words.get(signal.name)
        if found:
            shown = ", ".join(escaped(word[:30]) for word in found[:_SHOWN_KEYWORDS])
            lines.append(text("report.signal_keywords", signal=name, words=shown, points=points))
        else:
            lines.append(text("report.signal", signal=name, points=points))
    return lines


def _poll_lines(posted: Posted) -> list[str]:
    if posted.poll is None:
        return []
    return [
        text("report.poll", question=escaped(posted.poll.question.text)),
        *(
            text("report.poll_answer", answer=escaped(answer.poll_media.text))
            for answer in posted.poll.answers
        ),
    ]


def _attachment_lines(posted: Posted) -> list[str]:
    attachments = [
        *posted.attachments,
        *(attachment for snapshot in posted.forwarded for attachment in snapshot.attachments),
    ]
    lines = [text("report.attachments")] if attachments else []
    for attachment in attachments:
        name, size = escaped(attachment.filename[:100]), file_size(attachment.size)
        if attachment.url and (attachment.content_type or "").startswith(_MEDIA):
            url = attachment.url[:1000]
            lines.append(text("report.attachment_link", name=name, size=size, url=url))
        else:
            lines.append(text("report.attachment", name=name, size=size))
    return lines
