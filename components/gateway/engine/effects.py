"""Effects: what the engine asks the shell to do outside, one payload type a kind.

The shell decodes a row of the outbox with `payload_of`. ``reason`` is an audit-log reason of 1
to 512 characters. An effect is of use for a limited time (`USEFUL_MS`); past it the shell appends
the result ``expired``, visibly. Results carry data: ``message_id`` (message.create, member.dm),
``thread_id`` (thread.create), ``reached`` and ``dm_claimed`` as ``"true"`` (signal.raise), and
``settled`` as `UNDONE_SINCE` for one in doubt that somebody had undone and that was not repeated.
"""

import hashlib
from base64 import b32encode
from typing import Any, ClassVar, Final, Literal, TypeAlias

import msgspec

from components.gateway.engine.model import EffectKind, Lane
from contracts.facts import SpamTier
from contracts.ids import (
    CaseNumber,
    ChannelId,
    GuildId,
    InteractionId,
    MessageId,
    RoleId,
    Sequence,
    UserId,
)
from contracts.message import decode

MINUTE_MS: Final = 60_000
HOUR_MS: Final = 60 * MINUTE_MS
DAY_MS: Final = 24 * HOUR_MS
UNDONE_SINCE: Final = "undone since"
MAX_REASON: Final = 512
"""Characters of an audit-log reason (docs: resources/audit-log)."""


class Payload(msgspec.Struct, frozen=True, kw_only=True):
    """Base of the payloads."""

    kind: ClassVar[EffectKind]
    lane: ClassVar[Lane]


class InteractionAnswerPayload(Payload, frozen=True, kw_only=True):
    """Answer an interaction: on the bus while the first responder waits, else as an edit."""

    kind: ClassVar[EffectKind] = "interaction.answer"
    lane: ClassVar[Lane] = "urgent"
    interaction: InteractionId
    application: str
    token: str
    """Leaves the database with the row, once the answer is given or expired."""
    answer_to: str
    type: int
    data: dict[str, Any]


class DeleteMessage(Payload, frozen=True, kw_only=True):
    """Delete a message; one that is gone already counts as done."""

    kind: ClassVar[EffectKind] = "message.delete"
    lane: ClassVar[Lane] = "urgent"
    channel: ChannelId
    message: MessageId
    reason: str


class CreateMessage(Payload, frozen=True, kw_only=True):
    """Post a message; ``body`` is Discord's, without the nonce. Result: ``message_id``."""

    kind: ClassVar[EffectKind] = "message.create"
    lane: ClassVar[Lane] = "posts"
    channel: ChannelId
    body: dict[str, Any]
    nonce: str


class CreateThread(Payload, frozen=True, kw_only=True):
    """Start a thread from a message, whose id it gets. Result: ``thread_id``."""

    kind: ClassVar[EffectKind] = "thread.create"
    lane: ClassVar[Lane] = "posts"
    channel: ChannelId
    message: MessageId
    name: str
    auto_archive_minutes: int


class TimeOutMember(Payload, frozen=True, kw_only=True):
    """Time a member out until a moment, so that doing it twice changes nothing."""

    kind: ClassVar[EffectKind] = "member.timeout"
    lane: ClassVar[Lane] = "urgent"
    user: UserId
    until_ms: int
    reason: str


class KickMember(Payload, frozen=True, kw_only=True):
    """Kick a member who joined no later than ``joined_before_ms``: one who came back meanwhile
    is not kicked again."""

    kind: ClassVar[EffectKind] = "member.kick"
    lane: ClassVar[Lane] = "urgent"
    user: UserId
    joined_before_ms: int
    reason: str


class BanMember(Payload, frozen=True, kw_only=True):
    """Ban a user and delete what they posted in the last ``delete_message_s``."""

    kind: ClassVar[EffectKind] = "member.ban"
    lane: ClassVar[Lane] = "urgent"
    user: UserId
    delete_message_s: int
    reason: str


class UnbanMember(Payload, frozen=True, kw_only=True):
    """Lift a ban. ``for_ban`` names the ban effect of a softban; it is asked for only once that
    ban is done."""

    kind: ClassVar[EffectKind] = "member.unban"
    lane: ClassVar[Lane] = "urgent"
    user: UserId
    reason: str
    for_ban: tuple[Sequence, int] | None = None


class AddRole(Payload, frozen=True, kw_only=True):
    """Give a member a role."""

    kind: ClassVar[EffectKind] = "member.role_add"
    lane: ClassVar[Lane] = "urgent"
    user: UserId
    role: RoleId
    reason: str


class SendDirectMessage(Payload, frozen=True, kw_only=True):
    """Write to a user. Result: ``message_id``."""

    kind: ClassVar[EffectKind] = "member.dm"
    lane: ClassVar[Lane] = "posts"
    user: UserId
    body: dict[str, Any]
    nonce: str


class RaiseSignal(Payload, frozen=True, kw_only=True):
    """Tell the sharing guilds. ``share`` and ``unshare`` keep this guild's own key; ``report``
    notes a spam report of ``user``, and with ``escalate`` counts the guilds that have one: at
    ``guild_count`` of them the others get a `GuildSignal` (result ``reached``), and whoever
    claims it first may warn the user (result ``dm_claimed``)."""

    kind: ClassVar[EffectKind] = "signal.raise"
    lane: ClassVar[Lane] = "posts"
    op: Literal["share", "unshare", "report"]
    guild_name: str
    guild_count: int
    user: UserId | None = None
    username: str = ""
    tier: SpamTier | None = None
    escalate: bool = False


AnyPayload: TypeAlias = (
    InteractionAnswerPayload
    | DeleteMessage
    | CreateMessage
    | CreateThread
    | TimeOutMember
    | KickMember
    | BanMember
    | UnbanMember
    | AddRole
    | SendDirectMessage
    | RaiseSignal
)
PAYLOADS: Final[dict[EffectKind, type[AnyPayload]]] = {
    payload.kind: payload
    for payload in (
        InteractionAnswerPayload,
        DeleteMessage,
        CreateMessage,
        CreateThread,
        TimeOutMember,
        KickMember,
        BanMember,
        UnbanMember,
        AddRole,
        SendDirectMessage,
        RaiseSignal,
    )
}

USEFUL_MS: Final[dict[EffectKind, int]] = {
    "interaction.answer": 14 * MINUTE_MS,  # the token lives 15 min; one is for the way
    "message.delete": DAY_MS,  # spam that is still there is still spam
    "member.timeout": DAY_MS,  # and never longer than the timeout itself lasts (policy)
    "member.role_add": DAY_MS,
    "member.kick": HOUR_MS,  # the raid is over; a late kick surprises everyone
    "member.ban": DAY_MS,
    "member.unban": 7 * DAY_MS,  # giving up would leave a softbanned member banned
    "message.create": DAY_MS,  # a report is read later too
    "thread.create": DAY_MS,
    "member.dm": HOUR_MS,  # advice about a hacked account is for now
    "signal.raise": DAY_MS,
}
SHARING_USEFUL_MS: Final = 30 * DAY_MS
"""``share`` and ``unshare`` are the member's choice and must not be lost to an outage."""


def payload_of(kind: EffectKind, data: bytes) -> AnyPayload:
    """The typed payload of an outbox row."""
    return decode(data, PAYLOADS[kind])


def nonce_of(guild: GuildId, sequence: Sequence, index: int) -> str:
    """Names one message creation to Discord, which drops a second one within minutes; 24 of the
    25 characters it takes."""
    digest = hashlib.blake2b(f"{guild}:{sequence}:{index}".encode(), digest_size=15).digest()
    return b32encode(digest).decode().lower()


def audit_reason(case: CaseNumber | None, words: str) -> str:
    """An audit-log reason that carries the case, by which an effect in doubt is found again."""
    prefix = "modbot" if case is None else f"modbot case #{case}"
    return f"{prefix}: {words}"[:MAX_REASON]
