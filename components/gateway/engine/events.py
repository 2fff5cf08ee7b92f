"""The Discord dispatches that the engine understands, decoded to what it needs of them.

Ids are checked to be snowflakes and times to carry a zone, so that nothing later can fail on
them; everything else that Discord sends is ignored. A dispatch of another shape raises
`InvalidInput`, an event that is not in `EVENTS` is none of the engine's business.
"""

from datetime import datetime
from typing import Annotated, Any, Final

import msgspec

from components.gateway.engine.errors import InvalidInput

Snowflake = Annotated[str, msgspec.Meta(pattern=r"^[1-9][0-9]{0,18}$")]
Moment = Annotated[datetime, msgspec.Meta(tz=True)]
Permissions = Annotated[str, msgspec.Meta(pattern=r"^[0-9]{1,30}$")]
UNSET = msgspec.UNSET
Unset = msgspec.UnsetType

ADMINISTRATOR: Final = 1 << 3


class Event(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """Base of the dispatches of one guild."""

    guild_id: Snowflake


class User(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    id: Snowflake
    username: str = ""
    bot: bool = False
    system: bool = False


class Member(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    roles: list[Snowflake] = []
    joined_at: Moment | None = None
    permissions: Permissions | None = None
    """Only in interactions."""
    user: User | None = None


class EmbedFooter(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    text: str = ""


class EmbedField(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    name: str = ""
    value: str = ""


class Embed(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    type: str = "rich"
    url: str | None = None
    title: str | None = None
    description: str | None = None
    footer: EmbedFooter | None = None
    fields: list[EmbedField] = []


class Attachment(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    id: Snowflake
    filename: str = ""
    size: int = 0
    width: int | None = None
    height: int | None = None
    content_type: str | None = None
    url: str = ""
    placeholder: str | None = None
    """Discord's ThumbHash: computed from the image's content, whatever the file is called."""


class MessageReference(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    type: int = 0
    """0 a reply, 1 a forward (docs: resources/message#message-reference-types)."""
    message_id: Snowflake | None = None
    channel_id: Snowflake | None = None


class SnapshotContent(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    content: str = ""
    embeds: list[Embed] = []
    attachments: list[Attachment] = []


class Snapshot(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    message: SnapshotContent = SnapshotContent()


class PollMedia(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    text: str = ""


class PollAnswer(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    poll_media: PollMedia = PollMedia()


class Poll(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    question: PollMedia = PollMedia()
    answers: list[PollAnswer] = []


class Emoji(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    name: str | None = None


class Reaction(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    emoji: Emoji = Emoji()
    count: int = 0


class Sticker(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    name: str = ""


class MessageCreated(Event, frozen=True, kw_only=True, gc=False):
    """MESSAGE_CREATE."""

    id: Snowflake
    channel_id: Snowflake
    author: User
    member: Member | None = None
    content: str = ""
    embeds: list[Embed] = []
    attachments: list[Attachment] = []
    mentions: list[User] = []
    type: int = 0
    webhook_id: Snowflake | None = None
    nonce: str | int | None = None
    message_reference: MessageReference | None = None
    message_snapshots: list[Snapshot] = []
    poll: Poll | None = None
    reactions: list[Reaction] = []
    sticker_items: list[Sticker] = []


class MessageUpdated(Event, frozen=True, kw_only=True, gc=False):
    """MESSAGE_UPDATE: the whole message, or (a link's preview arriving) only what changed."""

    id: Snowflake
    channel_id: Snowflake
    author: User | None = None
    member: Member | None = None
    content: str | Unset = UNSET
    embeds: list[Embed] | Unset = UNSET
    attachments: list[Attachment] | Unset = UNSET
    mentions: list[User] = []
    type: int = 0
    webhook_id: Snowflake | None = None
    edited_timestamp: Moment | None = None
    message_reference: MessageReference | None = None
    message_snapshots: list[Snapshot] = []
    poll: Poll | None = None
    reactions: list[Reaction] = []
    sticker_items: list[Sticker] = []


class Role(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    id: Snowflake
    name: str = ""
    permissions: Permissions = "0"
    position: int = 0


class Channel(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    id: Snowflake
    name: str | None = None
    type: int = 0
    parent_id: Snowflake | None = None


class BotIdentity(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """Who we are, added by the shard: READY is on no guild's log."""

    user_id: Snowflake
    application_id: Snowflake | None = None


class GuildSnapshot(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """GUILD_CREATE, trimmed by the shard and in parts when it is large; a part holds some of the
    roles and channels. ``unavailable``: an outage, nothing to learn."""

    id: Snowflake
    name: str = ""
    owner_id: Snowflake | None = None
    roles: list[Role] = []
    channels: list[Channel] = []
    modbot: BotIdentity | None = None
    unavailable: bool = False
    first_part: bool = True
    """Set by the engine from the dispatch's part."""


class GuildUpdated(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """GUILD_UPDATE."""

    id: Snowflake
    name: str = ""
    owner_id: Snowflake | None = None


class RoleChanged(Event, frozen=True, kw_only=True, gc=False):
    """GUILD_ROLE_CREATE and GUILD_ROLE_UPDATE."""

    role: Role


class RoleDeleted(Event, frozen=True, kw_only=True, gc=False):
    """GUILD_ROLE_DELETE."""

    role_id: Snowflake


class ChannelChanged(Event, frozen=True, kw_only=True, gc=False):
    """CHANNEL_CREATE, CHANNEL_UPDATE, CHANNEL_DELETE and the same of threads."""

    id: Snowflake
    name: str | None = None
    type: int = 0
    parent_id: Snowflake | None = None


class BanRemoved(Event, frozen=True, kw_only=True, gc=False):
    """GUILD_BAN_REMOVE."""

    user: User


class AuditChange(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    key: str
    new_value: Any = None


class AuditLogEntryCreated(Event, frozen=True, kw_only=True, gc=False):
    """GUILD_AUDIT_LOG_ENTRY_CREATE: who did what."""

    id: Snowflake | None = None
    action_type: int
    target_id: str | None = None
    user_id: Snowflake | None = None
    reason: str | None = None
    changes: list[AuditChange] = []


EVENTS: Final[dict[str, type[msgspec.Struct]]] = {
    "MESSAGE_CREATE": MessageCreated,
    "MESSAGE_UPDATE": MessageUpdated,
    "GUILD_CREATE": GuildSnapshot,
    "GUILD_UPDATE": GuildUpdated,
    "GUILD_ROLE_CREATE": RoleChanged,
    "GUILD_ROLE_UPDATE": RoleChanged,
    "GUILD_ROLE_DELETE": RoleDeleted,
    "CHANNEL_CREATE": ChannelChanged,
    "CHANNEL_UPDATE": ChannelChanged,
    "CHANNEL_DELETE": ChannelChanged,
    "THREAD_CREATE": ChannelChanged,
    "THREAD_UPDATE": ChannelChanged,
    "THREAD_DELETE": ChannelChanged,
    "GUILD_BAN_REMOVE": BanRemoved,
    "GUILD_AUDIT_LOG_ENTRY_CREATE": AuditLogEntryCreated,
}
_DECODERS: Final = {name: msgspec.json.Decoder(event) for name, event in EVENTS.items()}


class _Whereabouts(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    id: str | None = None
    guild_id: str | None = None


_WHEREABOUTS: Final = msgspec.json.Decoder(_Whereabouts)


def decode_event(event: str, data: msgspec.Raw) -> Any:
    """The dispatch as its type; None for an event the engine does not know."""
    decoder = _DECODERS.get(event)
    if decoder is None:
        return None
    try:
        return decoder.decode(data)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise InvalidInput(f"malformed {event}: {error}") from error


def guild_of(event: str, data: msgspec.Raw) -> str | None:
    """The guild that an event names, if it names one."""
    try:
        found = _WHEREABOUTS.decode(data)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise InvalidInput(f"malformed {event}: {error}") from error
    return found.id if event.startswith("GUILD_") and found.guild_id is None else found.guild_id
