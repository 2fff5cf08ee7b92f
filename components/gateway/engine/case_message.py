"""A case as an ephemeral Discord message: one embed, and a way to the member's thread."""

from typing import Any, Final

from components.gateway.engine.markdown import escaped
from components.gateway.engine.report_text import message_link
from components.gateway.engine.texts import duration, text
from contracts.interactions import EPHEMERAL
from contracts.requests import CaseView

_MAX_FIELD: Final = 1024
"""Characters of a field's value (docs: resources/message#embed-object-embed-limits)."""
_COLOURS: Final = {"pending": 0xF0B232, "done": 0x3BA55D, "failed": 0xED4245}
_NO_MENTIONS: Final[dict[str, list[str]]] = {"parse": []}
_ACTION_ROW, _BUTTON, _LINK = 1, 2, 5


def words_message(words: str) -> dict[str, Any]:
    """Plain words that only their caller sees."""
    return {"content": words, "flags": EPHEMERAL, "allowed_mentions": _NO_MENTIONS}


def case_message(case: CaseView, locale: str) -> dict[str, Any]:
    """Everything that is known of the case."""
    title = text(
        "case.title", locale, number=case.number, action=text(f"action.{case.action}", locale)
    )
    message: dict[str, Any] = {
        "embeds": [
            {
                "title": title,
                "color": _COLOURS[case.status],
                "fields": _fields(case, locale),
            }
        ],
        "flags": EPHEMERAL,
        "allowed_mentions": _NO_MENTIONS,
    }
    if case.thread is not None:
        button = {
            "type": _BUTTON,
            "style": _LINK,
            "label": text("case.thread", locale),
            "url": f"https://discord.com/channels/{case.guild}/{case.thread}",
        }
        message["components"] = [{"type": _ACTION_ROW, "components": [button]}]
    return message


def _fields(case: CaseView, locale: str) -> list[dict[str, Any]]:
    fields: list[dict[str, Any]] = []

    def add(name: str, value: str, *, inline: bool = False) -> None:
        if len(value) > _MAX_FIELD:
            value = value[: _MAX_FIELD - 1] + "…"
        fields.append({"name": text(f"case.{name}", locale), "value": value, "inline": inline})

    def say(key: str, **parameters: object) -> str:
        return text(f"case.{key}", locale, **parameters)

    add(
        "member",
        say("member_value", user=case.user, username=escaped(case.username)),
        inline=True,
    )
    add("moderator", _moderator(case, locale), inline=True)
    add("status", text(f"status.{case.status}", locale), inline=True)
    add("when", say("when_value", when=case.opened_ms // 1000), inline=True)
    if case.until_ms is not None:
        length = duration(round((case.until_ms - case.opened_ms) / 1000), locale)
        add("until", say("until_value", until=case.until_ms // 1000, duration=length), inline=True)
    if case.tier is not None:
        lines = [
            say("verdict_value", tier=text(f"tier.{case.tier}", locale), score=case.score),
            *(
                text(
                    "report.signal",
                    locale,
                    signal=text(f"signal.{signal.name}", locale),
                    points=f"{signal.points:+d}",
                )
                for signal in case.signals
            ),
        ]
        add("verdict", "\n".join(lines))
    if case.source_guild is not None:
        add("source", say("source_value", guild=case.source_guild))
    if case.reason:
        add("reason", escaped(case.reason))
    if case.error:
        add("error", escaped(case.error))
    if case.channel is not None and case.message is not None:
        add("message", message_link(case.guild, case.channel, case.message))
    return fields


def _moderator(case: CaseView, locale: str) -> str:
    if case.moderator_kind == "bot":
        return text("case.bot", locale)
    if case.moderator is None:
        return text("case.moderator_unknown", locale)
    return f"<@{case.moderator}>"
