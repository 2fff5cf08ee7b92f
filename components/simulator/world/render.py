"""Entities as the JSON Discord shows. Pure: the same entity gives the same object.

docs: resources/user, resources/guild, resources/channel, resources/message, resources/audit-log
"""

from typing import Any

from components.simulator.clock import Snowflake, iso
from components.simulator.world.entities import (
    THREAD_TYPES,
    Application,
    AuditEntry,
    Channel,
    ChannelType,
    Guild,
    Member,
    Message,
    Role,
    User,
)

Json = dict[str, Any]

# Privileged intents (presences, members, content) and the application flags that say that they
# are granted. docs: resources/application#application-object-application-flags (LIMITED ones)
_GRANTED_FLAGS = {1 << 8: 1 << 13, 1 << 1: 1 << 15, 1 << 15: 1 << 19}


def user(entity: User) -> Json:
    body: Json = {
        "id": str(entity.id),
        "username": entity.username,
        "discriminator": "0",
        "global_name": entity.global_name,
        "avatar": None,
        "banner": None,
        "accent_color": None,
        "avatar_decoration_data": None,
        "primary_guild": None,
        "public_flags": 0,
        "flags": 0,
    }
    if entity.bot:
        body["bot"] = True
    return body


def role(entity: Role) -> Json:
    body: Json = {
        "id": str(entity.id),
        "name": entity.name,
        "permissions": str(entity.permissions),
        "position": entity.position,
        "color": entity.color,
        "colors": {
            "primary_color": entity.color,
            "secondary_color": None,
            "tertiary_color": None,
        },
        "hoist": entity.hoist,
        "managed": entity.bot_id is not None,
        "mentionable": entity.mentionable,
        "icon": None,
        "unicode_emoji": None,
        "flags": 0,
    }
    if entity.bot_id is not None:
        body["tags"] = {"bot_id": str(entity.bot_id)}
    return body


def member_without_user(entity: Member) -> Json:
    until = entity.timeout_until_ms
    return {
        "roles": [str(role_id) for role_id in entity.roles],
        "nick": entity.nick,
        "avatar": None,
        "banner": None,
        "joined_at": iso(entity.joined_ms),
        "premium_since": None,
        "deaf": False,
        "mute": False,
        "flags": 0,
        "pending": entity.pending,
        "communication_disabled_until": None if until is None else iso(until),
    }


def member(entity: Member) -> Json:
    return {"user": user(entity.user), **member_without_user(entity)}


def channel(entity: Channel) -> Json:
    if entity.type in THREAD_TYPES:
        return thread(entity)
    body: Json = {
        "id": str(entity.id),
        "type": entity.type,
        "flags": 0,
        "guild_id": str(entity.guild_id),
        "name": entity.name,
        "position": entity.position,
        "parent_id": None if entity.parent_id is None else str(entity.parent_id),
        "nsfw": entity.nsfw,
        "permission_overwrites": [
            {"id": str(o.id), "type": o.type, "allow": str(o.allow), "deny": str(o.deny)}
            for o in entity.overwrites
        ],
    }
    if entity.type == ChannelType.GUILD_VOICE:
        body |= {"bitrate": 64000, "user_limit": 0, "rtc_region": None}
    if entity.type != ChannelType.GUILD_CATEGORY:
        last = entity.last_message_id
        body["topic"] = entity.topic
        body["rate_limit_per_user"] = entity.rate_limit_per_user
        body["last_message_id"] = None if last is None else str(last)
        if entity.default_auto_archive_minutes is not None:
            body["default_auto_archive_duration"] = entity.default_auto_archive_minutes
    return body


def thread(entity: Channel) -> Json:
    state = entity.thread
    assert state is not None
    last = entity.last_message_id
    metadata: Json = {
        "archived": state.archived,
        "auto_archive_duration": state.auto_archive_minutes,
        "archive_timestamp": iso(state.archive_ms),
        "locked": state.locked,
        "create_timestamp": iso(state.created_ms),
    }
    if entity.type == ChannelType.PRIVATE_THREAD:
        metadata["invitable"] = state.invitable
    return {
        "id": str(entity.id),
        "type": entity.type,
        "flags": 0,
        "guild_id": str(entity.guild_id),
        "parent_id": str(entity.parent_id),
        "name": entity.name,
        "owner_id": str(state.owner_id),
        "last_message_id": None if last is None else str(last),
        "rate_limit_per_user": entity.rate_limit_per_user,
        "message_count": len(entity.messages),
        "member_count": min(len(state.members), 50),
        "total_message_sent": state.total_message_sent,
        "thread_metadata": metadata,
    }


def dm_channel(entity: Channel, users: list[User]) -> Json:
    last = entity.last_message_id
    return {
        "id": str(entity.id),
        "type": int(ChannelType.DM),
        "flags": 0,
        "last_message_id": None if last is None else str(last),
        "recipients": [user(u) for u in users],
    }


def thread_member(channel_id: Snowflake, user_id: Snowflake, joined_ms: float) -> Json:
    return {
        "id": str(channel_id),
        "user_id": str(user_id),
        "join_timestamp": iso(joined_ms),
        "flags": 0,
    }


def message(
    entity: Message,
    author: User,
    mentions: list[User],
    thread_channel: Channel | None = None,
    viewer: Snowflake | None = None,
) -> Json:
    """A message as in a REST answer. `viewer` decides the `me` of reactions."""
    body: Json = {
        "id": str(entity.id),
        "channel_id": str(entity.channel_id),
        "author": user(author),
        "content": entity.content,
        "timestamp": iso(entity.timestamp_ms),
        "edited_timestamp": None if entity.edited_ms is None else iso(entity.edited_ms),
        "tts": entity.tts,
        "mention_everyone": entity.mention_everyone,
        "mentions": [user(u) for u in mentions],
        "mention_roles": [str(r) for r in entity.mention_roles],
        "attachments": entity.attachments,
        "embeds": entity.embeds,
        "components": entity.components,
        "pinned": False,
        "type": entity.type,
        "flags": entity.flags,
    }
    if entity.nonce is not None:
        body["nonce"] = entity.nonce
    if entity.reference is not None:
        body["message_reference"] = entity.reference
    if entity.snapshots:
        body["message_snapshots"] = entity.snapshots
    if entity.sticker_items:
        body["sticker_items"] = entity.sticker_items
    if entity.webhook_id is not None:
        body["webhook_id"] = str(entity.webhook_id)
    if entity.application_id is not None:
        body["application_id"] = str(entity.application_id)
    if entity.interaction_metadata is not None:
        body["interaction_metadata"] = entity.interaction_metadata
    if entity.reactions:
        body["reactions"] = [
            {
                "emoji": r.emoji,
                "count": len(r.users),
                "count_details": {"burst": 0, "normal": len(r.users)},
                "burst_colors": [],
                "me": viewer in r.users,
                "me_burst": False,
            }
            for r in entity.reactions.values()
        ]
    if thread_channel is not None:
        body["thread"] = thread(thread_channel)
    return body


def guild(entity: Guild) -> Json:
    """The guild object of REST and of GUILD_UPDATE."""
    return {
        "id": str(entity.id),
        "name": entity.name,
        "icon": None,
        "description": None,
        "home_header": None,
        "splash": None,
        "discovery_splash": None,
        "banner": None,
        "features": [],
        "owner_id": str(entity.owner_id),
        "application_id": None,
        "region": "deprecated",
        "hub_type": None,
        "afk_channel_id": None,
        "afk_timeout": 300,
        "system_channel_id": None,
        "system_channel_flags": 0,
        "widget_enabled": False,
        "widget_channel_id": None,
        "verification_level": 1,
        "roles": [role(r) for r in entity.roles.values()],
        "default_message_notifications": 1,
        "mfa_level": 0,
        "explicit_content_filter": 2,
        "max_presences": None,
        "max_members": 500_000,
        "max_stage_video_channel_users": 50,
        "max_video_channel_users": 25,
        "vanity_url_code": None,
        "premium_tier": 0,
        "premium_subscription_count": 0,
        "premium_progress_bar_enabled": False,
        "preferred_locale": "en-US",
        "rules_channel_id": None,
        "safety_alerts_channel_id": None,
        "public_updates_channel_id": None,
        "nsfw": False,
        "nsfw_level": 0,
        "emojis": [],
        "stickers": [],
        "incidents_data": None,
    }


def guild_create(entity: Guild, bot_id: Snowflake, large_threshold: int, all_members: bool) -> Json:
    """GUILD_CREATE's data. Without the members intent, or in a large guild, only the bot is listed.

    docs: events/gateway-events#guild-create
    """
    large = len(entity.members) > large_threshold
    bot = entity.members[bot_id]
    shown = list(entity.members.values()) if all_members and not large else [bot]
    channels = [c for c in entity.channels.values() if c.thread is None]
    threads = [
        c for c in entity.channels.values() if c.thread is not None and not c.thread.archived
    ]
    return {
        **guild(entity),
        "joined_at": iso(bot.joined_ms),
        "large": large,
        "unavailable": False,
        "member_count": len(entity.members),
        "voice_states": [],
        "members": [member(m) for m in shown],
        "channels": [channel(c) for c in channels],
        "threads": [thread(c) for c in threads],
        "presences": [],
        "stage_instances": [],
        "guild_scheduled_events": [],
        "soundboard_sounds": [],
    }


def audit_entry(entity: AuditEntry) -> Json:
    body: Json = {
        "id": str(entity.id),
        "action_type": entity.action,
        "user_id": str(entity.user_id),
        "target_id": None if entity.target_id is None else str(entity.target_id),
    }
    if entity.reason is not None:
        body["reason"] = entity.reason
    if entity.changes:
        body["changes"] = entity.changes
    if entity.options:
        body["options"] = entity.options
    return body


def application_flags(entity: Application) -> int:
    """The flags that say which privileged intents are granted."""
    granted = entity.privileged_intents
    return sum(flag for intent, flag in _GRANTED_FLAGS.items() if granted & intent)
