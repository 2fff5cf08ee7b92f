"""Channels of a guild.

docs: resources/channel#modify-channel, resources/guild#create-guild-channel
"""

from typing import Any

from components.simulator import errors, permissions
from components.simulator.actions import audit
from components.simulator.clock import Snowflake
from components.simulator.world import render
from components.simulator.world.entities import Channel, ChannelType, Guild, Overwrite
from components.simulator.world.store import Event, World

SLOWMODE_MAX_S = 21_600
_CREATABLE = frozenset(
    {
        ChannelType.GUILD_TEXT,
        ChannelType.GUILD_VOICE,
        ChannelType.GUILD_CATEGORY,
        ChannelType.GUILD_ANNOUNCEMENT,
        ChannelType.GUILD_FORUM,
    }
)


def create(
    world: World, guild: Guild, actor: Snowflake, fields: dict[str, Any], reason: str | None
) -> Channel:
    permissions.require_guild(guild, actor, permissions.MANAGE_CHANNELS)
    kind = int(fields.get("type") or 0)
    if kind not in _CREATABLE:
        raise errors.invalid_form({"type": ("BASE_TYPE_CHOICES", "Invalid channel type.")})
    channel = Channel(
        id=world.ids.next(),
        guild_id=guild.id,
        type=kind,
        position=sum(1 for c in guild.channels.values() if c.thread is None),
    )
    _apply(guild, channel, fields)
    add(world, guild, channel)
    changes = [audit.change("name", None, channel.name), audit.change("type", None, kind)]
    audit.log(world, guild, audit.Action.CHANNEL_CREATE, actor, channel.id, reason, changes)
    return channel


def add(world: World, guild: Guild, channel: Channel) -> None:
    """Put a channel into a guild as it is."""
    guild.channels[channel.id] = channel
    world.channels[channel.id] = channel
    _tell(world, "CHANNEL_CREATE", guild, channel)


def modify(
    world: World, channel: Channel, actor: Snowflake, fields: dict[str, Any], reason: str | None
) -> Channel:
    """Change a channel. Overwrites need MANAGE_ROLES besides MANAGE_CHANNELS."""
    assert channel.guild_id is not None
    guild = world.guilds[channel.guild_id]
    bits = permissions.MANAGE_CHANNELS
    if "permission_overwrites" in fields:
        bits |= permissions.MANAGE_ROLES
    permissions.require_channel(guild, channel, actor, bits, world.clock.now_ms())
    before = render.channel(channel)
    _apply(guild, channel, fields)
    after = render.channel(channel)
    changes = [
        audit.change(key, before.get(key), after.get(key))
        for key in after
        if before.get(key) != after.get(key)
    ]
    if changes:
        _tell(world, "CHANNEL_UPDATE", guild, channel)
        audit.log(world, guild, audit.Action.CHANNEL_UPDATE, actor, channel.id, reason, changes)
    return channel


def delete(world: World, channel: Channel, actor: Snowflake, reason: str | None) -> None:
    """Delete a channel and its threads."""
    assert channel.guild_id is not None
    guild = world.guilds[channel.guild_id]
    permissions.require_channel(
        guild, channel, actor, permissions.MANAGE_CHANNELS, world.clock.now_ms()
    )
    for thread in [c for c in guild.channels.values() if c.parent_id == channel.id]:
        if thread.thread is not None:
            del guild.channels[thread.id]
            del world.channels[thread.id]
    _tell(world, "CHANNEL_DELETE", guild, channel)
    del guild.channels[channel.id]
    del world.channels[channel.id]
    changes = [audit.change("name", channel.name, None)]
    audit.log(world, guild, audit.Action.CHANNEL_DELETE, actor, channel.id, reason, changes)


def direct(world: World, one: Snowflake, other: Snowflake) -> Channel:
    """The direct channel of two users, made when they first need it.

    docs: resources/user#create-dm
    """
    world.user(other)
    for channel in world.channels.values():
        if channel.type == ChannelType.DM and set(channel.recipients) == {one, other}:
            return channel
    channel = Channel(
        id=world.ids.next(), guild_id=None, type=ChannelType.DM, recipients=[one, other]
    )
    world.channels[channel.id] = channel
    return channel


def _apply(guild: Guild, channel: Channel, fields: dict[str, Any]) -> None:
    wrong: dict[str, tuple[str, str]] = {}
    name = fields.get("name", channel.name) or ""
    if not 1 <= len(name) <= 100:
        wrong["name"] = ("BASE_TYPE_BAD_LENGTH", "Must be between 1 and 100 in length.")
    slowmode = int(fields.get("rate_limit_per_user") or 0)
    if not 0 <= slowmode <= SLOWMODE_MAX_S:
        wrong["rate_limit_per_user"] = (
            "NUMBER_TYPE_MAX",
            f"int value should be less than or equal to {SLOWMODE_MAX_S}.",
        )
    parent = fields.get("parent_id")
    if parent is not None and Snowflake(int(parent)) not in guild.channels:
        wrong["parent_id"] = ("CHANNEL_PARENT_INVALID", "Category does not exist")
    if wrong:
        raise errors.invalid_form(wrong)
    channel.name = name
    if "rate_limit_per_user" in fields:
        channel.rate_limit_per_user = slowmode
    if "parent_id" in fields:
        channel.parent_id = None if parent is None else Snowflake(int(parent))
    if "topic" in fields:
        channel.topic = fields["topic"]
    if fields.get("nsfw") is not None:
        channel.nsfw = bool(fields["nsfw"])
    if fields.get("position") is not None:
        channel.position = int(fields["position"])
    if "default_auto_archive_duration" in fields:
        channel.default_auto_archive_minutes = fields["default_auto_archive_duration"]
    if fields.get("permission_overwrites") is not None:
        channel.overwrites = [
            Overwrite(
                id=Snowflake(int(o["id"])),
                type=int(o.get("type") or 0),
                allow=int(o.get("allow") or 0),
                deny=int(o.get("deny") or 0),
            )
            for o in fields["permission_overwrites"]
        ]


def _tell(world: World, name: str, guild: Guild, channel: Channel) -> None:
    world.emit(
        Event(
            name=name,
            guild=guild,
            channel=channel,
            data=render.channel(channel),
            subject=channel.id,
        )
    )
