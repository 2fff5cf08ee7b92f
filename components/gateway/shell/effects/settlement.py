"""How an effect in doubt is settled: one table, a row for every kind.

In doubt is an effect that may have happened although its result is not on the log: every one
that is pending when a guild is opened, and every attempt that got no answer. It is never blindly
repeated. A row's function finds out whether it happened, or repeats it in a way that changes
nothing visible twice, and returns the result's data; it raises what an executor raises, and
`Parked` where nothing can tell.

"Undone" is asked first where a later input may have lifted what the effect did: repeating it
would then overrule a moderator.
"""

from collections.abc import Awaitable, Callable
from datetime import datetime
from typing import Any, Final

import msgspec

from components.gateway.engine.effects import (
    AddRole,
    AnyPayload,
    BanMember,
    CreateMessage,
    CreateThread,
    KickMember,
    SendDirectMessage,
    TimeOutMember,
    UnbanMember,
)
from components.gateway.engine.model import EffectKind, UndoQuestion
from components.gateway.shell.effects import executors
from components.gateway.shell.effects.interactions import settle_answer
from components.gateway.shell.effects.outcomes import Parked, Refused
from components.gateway.shell.effects.signals import raise_signal
from components.gateway.shell.effects.work import Data, Work
from contracts.ids import DISCORD_EPOCH_MS, UserId

NONCE_WINDOW_MS: Final = 120_000
"""Discord compares nonces for "a few minutes" (docs: resources/message#create-message); this is
surely inside."""
CLOCK_SKEW_MS: Final = 10_000
"""Between the bus's clock, which stamped the effect, and Discord's, which stamps messages."""
PAGE: Final = 100
MAX_PAGES: Final = 10
UNDONE: Final[Data] = {"settled": "undone since"}


class Row(msgspec.Struct, frozen=True, kw_only=True):
    """``how``: the rule in words, for operators and the README."""

    how: str
    settle: Callable[[Work, Any], Awaitable[Data]]


async def settle_timeout(work: Work, payload: TimeOutMember) -> Data:
    if await _undone(work, payload.user):
        return UNDONE
    member: Any = await work.call(lambda http: http.get_member(work.effect.guild, payload.user))
    if _ms(member.get("communication_disabled_until")) == payload.until_ms:
        return {}
    return await executors.time_out(work, payload)


async def settle_kick(work: Work, payload: KickMember) -> Data:
    try:
        member: Any = await work.call(lambda http: http.get_member(work.effect.guild, payload.user))
    except Refused as refused:
        if refused.code == executors.UNKNOWN_MEMBER:
            return {}
        raise
    joined_ms = _ms(member.get("joined_at"))
    if joined_ms is not None and joined_ms > payload.joined_before_ms:
        return {"settled": "came back since"}
    return await executors.kick(work, payload)


async def settle_ban(work: Work, payload: BanMember) -> Data:
    if await _undone(work, payload.user):
        return UNDONE
    try:
        await work.call(lambda http: http.get_ban(payload.user, work.effect.guild))
    except Refused as refused:
        if refused.code != executors.UNKNOWN_BAN:
            raise
        return await executors.ban(work, payload)
    return {}


async def settle_unban(work: Work, payload: UnbanMember) -> Data:
    if await _undone(work, payload.user):
        return UNDONE
    return await executors.unban(work, payload)


async def settle_role(work: Work, payload: AddRole) -> Data:
    if await _undone(work, payload.user):
        return UNDONE
    return await executors.add_role(work, payload)


async def settle_thread(work: Work, payload: CreateThread) -> Data:
    try:
        await work.call(lambda http: http.get_channel(payload.message))
    except Refused as refused:
        if refused.code != executors.UNKNOWN_CHANNEL:
            raise
        return await executors.create_thread(work, payload)
    return {"thread_id": payload.message}


async def settle_message(work: Work, payload: CreateMessage) -> Data:
    known = await work.applier.read(
        lambda engine: engine.message_of_nonce(work.effect.guild, payload.nonce)
    )
    if known is not None:
        return {"message_id": known}
    if _nonce_holds(work):
        return await executors.create_message(work, payload)
    found = await _look_up(work, payload.channel, payload.body)
    if found is not None:
        return {"message_id": found}
    return await executors.create_message(work, payload)


async def settle_direct_message(work: Work, payload: SendDirectMessage) -> Data:
    if not _nonce_holds(work):
        channel = await executors.direct_channel(work, payload.user)
        found = await _look_up(work, channel, payload.body)
        if found is not None:
            return {"message_id": found}
    return await executors.send_direct_message(work, payload)


TABLE: Final[dict[EffectKind, Row]] = {
    "interaction.answer": Row(
        how="by its token: an edit of the response, or the first response if there is none",
        settle=settle_answer,
    ),
    "message.delete": Row(
        how="by state: deleting what is gone counts as done", settle=executors.delete_message
    ),
    "message.create": Row(
        how="by the nonce: on the log, then at Discord in its window, then in the channel",
        settle=settle_message,
    ),
    "thread.create": Row(how="by look-up: its id is its message's", settle=settle_thread),
    "member.timeout": Row(
        how="by state: the end is absolute; not if somebody lifted it since", settle=settle_timeout
    ),
    "member.kick": Row(
        how="by look-up: not if the member is gone or joined later", settle=settle_kick
    ),
    "member.ban": Row(
        how="by state: banned or not; not if somebody lifted it since", settle=settle_ban
    ),
    "member.unban": Row(
        how="by state: lifting what is not there counts as done", settle=settle_unban
    ),
    "member.role_add": Row(
        how="by state: adding twice changes nothing; not if somebody took it since",
        settle=settle_role,
    ),
    "member.dm": Row(
        how="by the nonce within its window, then by look-up in the channel with the user",
        settle=settle_direct_message,
    ),
    "signal.raise": Row(
        how="by its keys and ids: written with the same values again", settle=raise_signal
    ),
}


async def settle(work: Work, payload: AnyPayload) -> Data:
    """Settle an effect in doubt by its row."""
    return await TABLE[work.effect.kind].settle(work, payload)


async def _undone(work: Work, user: UserId) -> bool:
    question = UndoQuestion(
        guild=work.effect.guild,
        kind=work.effect.kind,
        user=user,
        since=work.effect.sequence,
    )
    return await work.applier.read(lambda engine: engine.undone(question))


def _nonce_holds(work: Work) -> bool:
    """The first attempt was not before the effect was asked for, so the window is still open."""
    return work.now_ms - work.effect.asked_ms < NONCE_WINDOW_MS


async def _look_up(work: Work, channel: str, body: dict[str, Any]) -> str | None:
    """Our own message with this body, posted since the effect was asked for."""
    after = _snowflake(work.effect.asked_ms - CLOCK_SKEW_MS)
    for _ in range(MAX_PAGES):
        start = after
        page: list[Any] = list(
            await work.call(lambda http: http.logs_from(channel, PAGE, after=start))  # noqa: B023
        )
        for message in page:
            if message["author"]["id"] == work.rest.user_id and _same(message, body):
                return str(message["id"])
        if len(page) < PAGE:
            return None
        after = max(int(message["id"]) for message in page)
    raise Parked(f"more than {PAGE * MAX_PAGES} messages since; look in the channel by hand")


def _same(message: dict[str, Any], body: dict[str, Any]) -> bool:
    reference = (body.get("message_reference") or {}).get("message_id")
    found = (message.get("message_reference") or {}).get("message_id")
    return (
        str(message.get("content", "")).strip() == str(body.get("content", "")).strip()
        and str(found or "") == str(reference or "")
        and len(message.get("embeds", [])) == len(body.get("embeds", []))
    )


def _snowflake(at_ms: int) -> int:
    return max(0, at_ms - DISCORD_EPOCH_MS) << 22


def _ms(moment: str | None) -> int | None:
    return None if moment is None else round(datetime.fromisoformat(moment).timestamp() * 1000)
