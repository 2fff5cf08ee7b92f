"""The things Discord consists of, as mutable records. Ids are integers inside, strings on the wire.

docs: resources/guild, resources/channel, resources/message, resources/user
"""

from enum import IntEnum
from typing import Any

import msgspec

from components.simulator.clock import Snowflake


class ChannelType(IntEnum):
    """docs: resources/channel#channel-object-channel-types"""

    GUILD_TEXT = 0
    DM = 1
    GUILD_VOICE = 2
    GUILD_CATEGORY = 4
    GUILD_ANNOUNCEMENT = 5
    ANNOUNCEMENT_THREAD = 10
    PUBLIC_THREAD = 11
    PRIVATE_THREAD = 12
    GUILD_FORUM = 15


THREAD_TYPES = frozenset(
    {ChannelType.ANNOUNCEMENT_THREAD, ChannelType.PUBLIC_THREAD, ChannelType.PRIVATE_THREAD}
)


class User(msgspec.Struct, kw_only=True):
    id: Snowflake
    username: str
    global_name: str | None = None
    bot: bool = False


class Role(msgspec.Struct, kw_only=True):
    id: Snowflake
    name: str
    permissions: int = 0
    position: int = 1
    color: int = 0
    hoist: bool = False
    mentionable: bool = False
    bot_id: Snowflake | None = None


class Overwrite(msgspec.Struct, kw_only=True):
    id: Snowflake
    type: int  # 0 role, 1 member
    allow: int = 0
    deny: int = 0


class Reaction(msgspec.Struct, kw_only=True):
    emoji: dict[str, Any]
    users: dict[Snowflake, None] = {}


class Message(msgspec.Struct, kw_only=True):
    id: Snowflake
    channel_id: Snowflake
    guild_id: Snowflake | None
    author_id: Snowflake
    content: str = ""
    timestamp_ms: float
    edited_ms: float | None = None
    type: int = 0
    flags: int = 0
    tts: bool = False
    attachments: list[dict[str, Any]] = []
    embeds: list[dict[str, Any]] = []
    components: list[dict[str, Any]] = []
    sticker_items: list[dict[str, Any]] = []
    mentions: list[Snowflake] = []
    mention_roles: list[Snowflake] = []
    mention_everyone: bool = False
    nonce: str | int | None = None
    reference: dict[str, Any] | None = None
    snapshots: list[dict[str, Any]] = []
    reactions: dict[str, Reaction] = {}
    application_id: Snowflake | None = None
    webhook_id: Snowflake | None = None
    interaction_metadata: dict[str, Any] | None = None
    thread_id: Snowflake | None = None
    ephemeral_to: Snowflake | None = None


class Thread(msgspec.Struct, kw_only=True):
    """What a channel has in addition when it is a thread."""

    owner_id: Snowflake
    created_ms: float
    archived: bool = False
    archive_ms: float
    locked: bool = False
    invitable: bool = True
    auto_archive_minutes: int = 4320
    members: dict[Snowflake, float] = {}
    total_message_sent: int = 0


class Channel(msgspec.Struct, kw_only=True):
    id: Snowflake
    guild_id: Snowflake | None
    type: int
    name: str = ""
    position: int = 0
    parent_id: Snowflake | None = None
    topic: str | None = None
    nsfw: bool = False
    rate_limit_per_user: int = 0
    default_auto_archive_minutes: int | None = None
    overwrites: list[Overwrite] = []
    messages: dict[Snowflake, Message] = {}
    last_message_id: Snowflake | None = None
    last_post_ms: dict[Snowflake, float] = {}
    recipients: list[Snowflake] = []
    thread: Thread | None = None


class Member(msgspec.Struct, kw_only=True):
    user: User
    joined_ms: float
    roles: list[Snowflake] = []
    nick: str | None = None
    timeout_until_ms: float | None = None
    pending: bool = False


class Ban(msgspec.Struct, kw_only=True):
    user_id: Snowflake
    reason: str | None = None


class AuditEntry(msgspec.Struct, kw_only=True):
    id: Snowflake
    action: int
    user_id: Snowflake
    target_id: Snowflake | None
    reason: str | None = None
    changes: list[dict[str, Any]] = []
    options: dict[str, str] = {}


class Guild(msgspec.Struct, kw_only=True):
    id: Snowflake
    name: str
    owner_id: Snowflake
    roles: dict[Snowflake, Role] = {}
    channels: dict[Snowflake, Channel] = {}  # threads too
    members: dict[Snowflake, Member] = {}
    bans: dict[Snowflake, Ban] = {}
    audit_log: list[AuditEntry] = []
    applications: dict[Snowflake, None] = {}  # whose bot is here, in order of joining
    unavailable: bool = False


class Application(msgspec.Struct, kw_only=True):
    """A bot: its token, what Discord has granted it, and its registered commands."""

    id: Snowflake
    name: str
    token: str | None  # None after Discord reset it
    bot: User
    signing_seed: bytes
    privileged_intents: int
    interactions_endpoint_url: str | None = None
    commands: dict[Snowflake | None, list[dict[str, Any]]] = {}  # by guild, None is global
