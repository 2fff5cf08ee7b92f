"""Keeps what moderation needs of a guild: name, owner, roles, channels, and who the bot is.

A GUILD_CREATE replaces roles and channels with its first part and adds with the others. Our own
messages are noted by their nonce, by which a message in doubt is found.
"""

from typing import Final

from components.gateway.engine.effects import DAY_MS
from components.gateway.engine.events import (
    ADMINISTRATOR,
    Channel,
    ChannelChanged,
    GuildSnapshot,
    GuildUpdated,
    MessageCreated,
    Role,
    RoleChanged,
    RoleDeleted,
)
from components.gateway.engine.policy import Context, Policy

OWN_MESSAGES_KEPT_MS: Final = DAY_MS


def _snapshot(context: Context, event: GuildSnapshot) -> None:
    if event.unavailable:
        return
    if event.first_part:
        context.execute("DELETE FROM roles WHERE guild_id = ?", (context.guild,))
        context.execute("DELETE FROM channels WHERE guild_id = ?", (context.guild,))
    _name(context, event.name, event.owner_id)
    if event.modbot is not None:
        context.execute(
            "UPDATE guilds SET bot_user_id = ?2, application_id = coalesce(?3, application_id)"
            " WHERE guild_id = ?1",
            (context.guild, event.modbot.user_id, event.modbot.application_id),
        )
    for role in event.roles:
        _put_role(context, role)
    for channel in event.channels:
        _put_channel(context, channel)


def _update(context: Context, event: GuildUpdated) -> None:
    _name(context, event.name, event.owner_id)


def _role(context: Context, event: RoleChanged) -> None:
    _put_role(context, event.role)


def _role_gone(context: Context, event: RoleDeleted) -> None:
    context.execute(
        "DELETE FROM roles WHERE guild_id = ? AND role_id = ?", (context.guild, event.role_id)
    )


def _channel(context: Context, event: ChannelChanged) -> None:
    _put_channel(context, event)


def _channel_gone(context: Context, event: ChannelChanged) -> None:
    context.execute(
        "DELETE FROM channels WHERE guild_id = ? AND channel_id = ?", (context.guild, event.id)
    )


def _own_message(context: Context, event: MessageCreated) -> None:
    if event.nonce is None or event.author.id != context.bot_user_id:
        return
    context.execute(
        "INSERT OR REPLACE INTO own_messages VALUES (?, ?, ?, ?)",
        (context.guild, str(event.nonce), event.id, context.time_ms),
    )
    context.execute(
        "DELETE FROM own_messages WHERE guild_id = ? AND at_ms < ?",
        (context.guild, context.time_ms - OWN_MESSAGES_KEPT_MS),
    )


def _name(context: Context, name: str, owner: str | None) -> None:
    context.execute(
        "UPDATE guilds SET name = iif(?2 = '', name, ?2), owner_id = coalesce(?3, owner_id)"
        " WHERE guild_id = ?1",
        (context.guild, name, owner),
    )


def _put_role(context: Context, role: Role) -> None:
    context.execute(
        "INSERT OR REPLACE INTO roles VALUES (?, ?, ?, ?, ?, ?)",
        (
            context.guild,
            role.id,
            role.name,
            role.permissions,
            int(bool(int(role.permissions) & ADMINISTRATOR)),
            role.position,
        ),
    )


def _put_channel(context: Context, channel: Channel | ChannelChanged) -> None:
    context.execute(
        "INSERT OR REPLACE INTO channels VALUES (?, ?, ?, ?, ?)",
        (context.guild, channel.id, channel.name or "", channel.type, channel.parent_id or ""),
    )


POLICY = Policy(
    name="mirror",
    order=10,
    dispatches={
        "GUILD_CREATE": _snapshot,
        "GUILD_UPDATE": _update,
        "GUILD_ROLE_CREATE": _role,
        "GUILD_ROLE_UPDATE": _role,
        "GUILD_ROLE_DELETE": _role_gone,
        "CHANNEL_CREATE": _channel,
        "CHANNEL_UPDATE": _channel,
        "CHANNEL_DELETE": _channel_gone,
        "MESSAGE_CREATE": _own_message,
    },
)
