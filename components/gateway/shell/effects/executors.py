"""How each kind of effect is done, one function a kind; `EXECUTE` is the table.

Each returns the result's data and raises an `AttemptError` or `GateClosed`. What is already as
the effect wants it counts as done: the message is gone, the user is not banned.
"""

from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from typing import Any, Final

from discord.http import Route

from components.gateway.engine.effects import (
    AddRole,
    BanMember,
    CreateMessage,
    CreateThread,
    DeleteMessage,
    KickMember,
    SendDirectMessage,
    TimeOutMember,
    UnbanMember,
)
from components.gateway.engine.model import EffectKind
from components.gateway.shell.effects.interactions import answer_interaction
from components.gateway.shell.effects.outcomes import Expired, Refused
from components.gateway.shell.effects.signals import raise_signal
from components.gateway.shell.effects.work import Data, Work

UNKNOWN_CHANNEL: Final = 10003
UNKNOWN_MEMBER: Final = 10007
UNKNOWN_MESSAGE: Final = 10008
UNKNOWN_BAN: Final = 10026
THREAD_EXISTS: Final = 160004
"""docs: topics/opcodes-and-status-codes#json"""


async def delete_message(work: Work, payload: DeleteMessage) -> Data:
    try:
        await work.call(
            lambda http: http.delete_message(
                payload.channel, payload.message, reason=payload.reason
            )
        )
    except Refused as refused:
        if refused.code not in (UNKNOWN_MESSAGE, UNKNOWN_CHANNEL):
            raise
    return {}


async def create_message(work: Work, payload: CreateMessage) -> Data:
    return {"message_id": await post(work, payload.channel, payload.body, payload.nonce)}


async def create_thread(work: Work, payload: CreateThread) -> Data:
    """A thread has the id of the message it is started from."""
    try:
        await work.call(
            lambda http: http.start_thread_with_message(
                payload.channel,
                payload.message,
                name=payload.name,
                auto_archive_duration=payload.auto_archive_minutes,  # type: ignore[arg-type]
            )
        )
    except Refused as refused:
        if refused.code != THREAD_EXISTS:
            raise
    return {"thread_id": payload.message}


async def time_out(work: Work, payload: TimeOutMember) -> Data:
    if payload.until_ms <= work.now_ms:
        raise Expired("the timeout would have ended already")
    until = datetime.fromtimestamp(payload.until_ms / 1000, UTC).isoformat()
    await work.call(
        lambda http: http.edit_member(
            work.effect.guild,
            payload.user,
            reason=payload.reason,
            communication_disabled_until=until,
        )
    )
    return {}


async def kick(work: Work, payload: KickMember) -> Data:
    await work.call(lambda http: http.kick(payload.user, work.effect.guild, reason=payload.reason))
    return {}


async def ban(work: Work, payload: BanMember) -> Data:
    await work.call(
        lambda http: http.ban(
            payload.user, work.effect.guild, payload.delete_message_s, reason=payload.reason
        )
    )
    return {}


async def unban(work: Work, payload: UnbanMember) -> Data:
    try:
        await work.call(
            lambda http: http.unban(payload.user, work.effect.guild, reason=payload.reason)
        )
    except Refused as refused:
        if refused.code != UNKNOWN_BAN:
            raise
    return {}


async def add_role(work: Work, payload: AddRole) -> Data:
    await work.call(
        lambda http: http.add_role(
            work.effect.guild, payload.user, payload.role, reason=payload.reason
        )
    )
    return {}


async def send_direct_message(work: Work, payload: SendDirectMessage) -> Data:
    channel = await direct_channel(work, payload.user)
    return {"message_id": await post(work, channel, payload.body, payload.nonce)}


async def direct_channel(work: Work, user: str) -> str:
    """The channel with the user; asking again returns the same one."""
    opened: Any = await work.call(lambda http: http.start_private_message(user))
    return str(opened["id"])


async def post(work: Work, channel: str, body: dict[str, Any], nonce: str) -> str:
    """Create a message; a second one with the nonce within minutes returns the first."""
    full = {**body, "nonce": nonce, "enforce_nonce": True}
    made: Any = await work.call(
        lambda http: http.request(
            Route("POST", "/channels/{channel_id}/messages", channel_id=channel), json=full
        )
    )
    return str(made["id"])


Execute = Callable[[Work, Any], Awaitable[Data]]

EXECUTE: Final[dict[EffectKind, Execute]] = {
    "interaction.answer": answer_interaction,
    "message.delete": delete_message,
    "message.create": create_message,
    "thread.create": create_thread,
    "member.timeout": time_out,
    "member.kick": kick,
    "member.ban": ban,
    "member.unban": unban,
    "member.role_add": add_role,
    "member.dm": send_direct_message,
    "signal.raise": raise_signal,
}
