"""The bodies of the control API. Unknown fields are refused; ids are numbers or their digits."""

from typing import Any, Literal

import msgspec

from components.simulator import permissions
from components.simulator.clock import Snowflake
from components.simulator.gateway.protocol import PRIVILEGED


class Request(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Base of all control requests."""


class CreateApplication(Request, frozen=True, kw_only=True):
    token: str
    name: str = "bot"
    id: Snowflake | None = None
    privileged_intents: int = int(PRIVILEGED)
    interactions_endpoint_url: str | None = None


class UpdateApplication(Request, frozen=True, kw_only=True):
    token: str | None = None
    privileged_intents: int | None = None
    interactions_endpoint_url: str | msgspec.UnsetType | None = msgspec.UNSET


class NewRole(Request, frozen=True, kw_only=True):
    name: str
    permissions: int = 0
    position: int | None = None
    mentionable: bool = False


class NewOverwrite(Request, frozen=True, kw_only=True):
    role: str
    allow: int = 0
    deny: int = 0


class NewChannel(Request, frozen=True, kw_only=True):
    name: str
    type: int = 0
    topic: str | None = None
    rate_limit_per_user: int = 0
    overwrites: list[NewOverwrite] = []


class NewMember(Request, frozen=True, kw_only=True):
    """A member to be: an account that exists (`id`) or a new one, with its ages (ISO 8601)."""

    username: str = "member"
    id: Snowflake | None = None
    roles: list[str] = []
    created_at: str | None = None
    joined_at: str | None = None
    bot: bool = False


class CreateGuilds(Request, frozen=True, kw_only=True):
    """`count` guilds alike. `name` may hold `{n}`. `applications` are those whose bots join."""

    count: int = 1
    name: str = "guild-{n}"
    roles: list[NewRole] = []
    channels: list[NewChannel] = msgspec.field(default_factory=lambda: [NewChannel(name="general")])
    members: list[NewMember] = []
    member_count: int = 0
    everyone_permissions: int = permissions.EVERYONE_DEFAULT
    bot_permissions: int = permissions.BOT_DEFAULT
    applications: list[Snowflake] | None = None


class PostMessage(Request, frozen=True, kw_only=True):
    """A message by `author_id`. `created_at` dates it back. Stickers are names."""

    channel_id: Snowflake
    author_id: Snowflake
    content: str = ""
    attachments: list[dict[str, Any]] = []
    embeds: list[dict[str, Any]] = []
    components: list[dict[str, Any]] = []
    stickers: list[str] = []
    reply_to: Snowflake | None = None
    forward: "ForwardOf | None" = None
    allowed_mentions: dict[str, Any] | None = None
    created_at: str | None = None
    nonce: str | None = None


class ForwardOf(Request, frozen=True, kw_only=True):
    channel_id: Snowflake
    message_id: Snowflake


class PostMessages(Request, frozen=True, kw_only=True):
    messages: list[PostMessage]


class MessageRef(Request, frozen=True, kw_only=True):
    channel_id: Snowflake
    message_id: Snowflake
    actor_id: Snowflake


class EditMessage(MessageRef, frozen=True, kw_only=True):
    content: str | None = None
    embeds: list[dict[str, Any]] | None = None


class React(MessageRef, frozen=True, kw_only=True):
    emoji: str


class MemberAction(Request, frozen=True, kw_only=True):
    """Something `actor_id` (the owner, unless given) does to a member."""

    user_id: Snowflake
    actor_id: Snowflake | None = None
    reason: str | None = None
    delete_message_seconds: int = 0
    roles: list[Snowflake] | None = None
    nick: str | msgspec.UnsetType | None = msgspec.UNSET
    communication_disabled_until: str | msgspec.UnsetType | None = msgspec.UNSET


class GatewayFault(Request, frozen=True, kw_only=True):
    """`kind` happens to the connections of a session, a shard (`[id, count]`) or to all.

    `reconnect`: op 7. `invalid_session`: op 9 with `resumable`; not resumable ends the session.
    `drop`: the TCP connection is cut. `close`: with `code`. `request_heartbeat`: op 1.
    `withhold_acks`: heartbeats stay unanswered. `latency`: every payload is late by `latency_ms`.
    `restore`: ends the two before.
    """

    kind: Literal[
        "reconnect",
        "invalid_session",
        "drop",
        "close",
        "request_heartbeat",
        "withhold_acks",
        "latency",
        "restore",
    ]
    session: str | None = None
    shard: tuple[int, int] | None = None
    application_id: Snowflake | None = None
    code: int = 4000
    resumable: bool = False
    latency_ms: float = 0.0


class SetLimits(Request, frozen=True, kw_only=True):
    """`enabled` switches all limits, the gateway's too; `buckets` maps to [requests, seconds]."""

    enabled: bool | None = None
    buckets: dict[str, tuple[int, float]] = {}
    forgive: bool = False


class Rename(Request, frozen=True, kw_only=True):
    name: str


class Outage(Request, frozen=True, kw_only=True):
    unavailable: bool


class RunCommand(Request, frozen=True, kw_only=True):
    """`name` is the full path (`case view`); `options` are given by name.

    `type` 1 is a slash command, 2 one on a user, 3 one on a message (`target_id`).
    """

    channel_id: Snowflake
    user_id: Snowflake
    name: str
    type: int = 1
    options: dict[str, Any] = {}
    target_id: Snowflake | None = None
    application_id: Snowflake | None = None
    locale: str = "en-US"


class PressButton(Request, frozen=True, kw_only=True):
    """A press, or with `values` a choice in a select, on a component of a message."""

    channel_id: Snowflake
    message_id: Snowflake
    user_id: Snowflake
    custom_id: str
    values: list[str] | None = None
    locale: str = "en-US"


class SubmitModal(Request, frozen=True, kw_only=True):
    """The modal that answered `interaction_id`, filled in with `values` by custom id."""

    interaction_id: Snowflake
    values: dict[str, str] = {}
