"""Every word that a Discord user sees, by id and locale.

`text` falls back to English for a locale or an id that has no translation; an id that English
lacks, or a parameter that is missing, is a bug and raises `KeyError`.
"""

from typing import Final

ENGLISH: Final[dict[str, str]] = {
    "action.flag": "Flagged",
    "action.delete_message": "Message deleted",
    "action.restrict": "Message deleted, member restricted",
    "action.timeout": "Timed out",
    "action.remove_timeout": "Timeout lifted",
    "action.kick": "Kicked",
    "action.ban": "Banned",
    "action.softban": "Softbanned",
    "action.unban": "Unbanned",
    "tier.low": "low",
    "tier.medium": "medium",
    "tier.high": "high",
    "tier.honeypot": "honeypot",
    "signal.honeypot_channel": "posted in a honeypot channel",
    "signal.spam_keyword": "spam keywords",
    "signal.mass_ping": "mass ping",
    "signal.high_mention_density": "many mentions",
    "signal.zalgo": "zalgo text",
    "signal.safe_keyword": "safe keyword",
    "signal.account_age_1d": "account younger than a day",
    "signal.account_age_7d": "account younger than a week",
    "signal.account_age_30d": "account younger than a month",
    "signal.tenure_1h": "joined less than an hour before",
    "signal.tenure_24h": "joined less than a day before",
    "signal.tenure_7d": "joined less than a week before",
    "signal.cross_channel_spam": "same message across channels",
    "signal.channel_hop_fast": "several channels within a minute",
    "signal.channel_hop_slow": "many channels within minutes",
    "signal.duplicates": "repeated message",
    "signal.rapid_fire": "many messages at once",
    "status.pending": "in progress",
    "status.done": "done",
    "status.failed": "failed",
    "duration.days": "{count} d",
    "duration.hours": "{count} h",
    "duration.minutes": "{count} min",
    "duration.seconds": "{count} s",
    "audit.spam": "spam ({tier}, {score} points)",
    "audit.softban_end": "end of the softban",
    "audit.signal": "spammed in {guilds} servers that share signals, last in {source}",
    "thread.name": "{username} logs",
    "thread.starter": "Reports and actions about <@{user}> ({username}) are in this thread.",
    "report.title": "**Spam, {tier} · {score} points** · case #{case}: {action}",
    "report.title_edited": "**Spam in an edit, {tier} · {score} points** · case #{case}: {action}",
    "report.author": "<@{user}> ({username}, `{user}`) in <#{channel}> <t:{when}:f> · {link}",
    "report.forwarded": "The message forwards another one.",
    "report.signal": "- {signal}: {points}",
    "report.signal_keywords": "- {signal} ({words}): {points}",
    "report.account": "Account made <t:{account}:R>.",
    "report.tenure": "Account made <t:{account}:R>, joined <t:{joined}:R>.",
    "report.attachments": "**Attachments**",
    "report.attachment": "- {name} ({size})",
    "report.attachment_link": "- {name} ({size}): <{url}>",
    "report.stickers": "**Stickers**: {names}",
    "report.reactions": "**Reactions**: {reactions}",
    "report.poll": "**Poll**: {question}",
    "report.poll_answer": "- {answer}",
    "report.no_text": "*no text*",
    "report.summary": "<@{user}>: {excerpt}\n-# {counts} · [report]({link})",
    "report.again": "**Flagged again, {tier} · {score} points** · case #{case}: {action}",
    "report.signal_from": (
        "**Timed out on a signal from {source}** · case #{case}\n"
        "<@{user}> ({username}, `{user}`) spammed in {guilds} servers that share signals."
        " The timeout ends <t:{until}:R>."
    ),
    "count.characters": "{count} characters",
    "count.words": "{count} words",
    "count.links": "{count} links",
    "count.code_lines": "{count} lines of code",
    "count.attachments": "{count} attachments",
    "count.reactions": "{count} reactions",
    "size.bytes": "{count} B",
    "size.kib": "{count} KiB",
    "size.mib": "{count} MiB",
    "dm.spam": (
        "Your account posted spam in several servers, last in **{guild}**. If that was not you,"
        " somebody else has access to your account. Please:\n"
        "1. change your password, which ends all other sessions;\n"
        "2. turn on two-factor authentication;\n"
        "3. remove apps you do not know under Settings → Authorized Apps.\n"
        "Then write to the moderators of the servers that timed you out."
    ),
    "case.not_repeated": "put back; what it asked for is not done again",
    "case.title": "Case #{number} · {action}",
    "case.member": "Member",
    "case.moderator": "Moderator",
    "case.status": "Status",
    "case.when": "When",
    "case.until": "Until",
    "case.reason": "Reason",
    "case.verdict": "Verdict",
    "case.source": "Signal from",
    "case.error": "What went wrong",
    "case.message": "Message",
    "case.thread": "Open the member's thread",
    "case.bot": "modbot",
    "case.undone": "somebody undid it before it could be seen to have happened",
    "case.moderator_unknown": "unknown",
    "case.member_value": "<@{user}>\n{username} `{user}`",
    "case.when_value": "<t:{when}:f> (<t:{when}:R>)",
    "case.until_value": "<t:{until}:f> (<t:{until}:R>)\n{duration}",
    "case.verdict_value": "{tier}, {score} points",
    "case.source_value": "server `{guild}`",
    "case.none": "There is no case #{number} in this server.",
    "case.not_allowed": "Only moderators of this server may look at its cases.",
    "command.unknown": "modbot does not know this command. It may have been removed.",
}
LOCALES: Final[dict[str, dict[str, str]]] = {"en": ENGLISH}


def text(key: str, locale: str = "en", **parameters: object) -> str:
    """The words of ``key`` in a locale such as ``en-GB``, with its parameters filled in."""
    language = locale.partition("-")[0]
    words = LOCALES.get(language, ENGLISH).get(key) or ENGLISH[key]
    return words.format(**parameters)


def duration(seconds: int, locale: str = "en") -> str:
    """A length of time in the largest unit that divides it."""
    for unit, length in (("days", 86400), ("hours", 3600), ("minutes", 60)):
        if seconds >= length and seconds % length == 0:
            return text(f"duration.{unit}", locale, count=seconds // length)
    return text("duration.seconds", locale, count=seconds)


def file_size(count: int, locale: str = "en") -> str:
    """A size in bytes for people."""
    for unit, length in (("mib", 1 << 20), ("kib", 1 << 10)):
        if count >= length:
            return text(f"size.{unit}", locale, count=f"{count / length:.1f}")
    return text("size.bytes", locale, count=count)
