"""Reactions.

docs: resources/message#create-reaction
"""

from typing import Any

from components.simulator import errors, permissions
from components.simulator.clock import Snowflake
from components.simulator.world import render
from components.simulator.world.entities import Channel, Message, Reaction
from components.simulator.world.store import Event, World


def parse_emoji(text: str) -> tuple[str, dict[str, Any]]:
    """`name:id` or a Unicode emoji, as a key and as Discord's emoji object."""
    name, _, emoji_id = text.removeprefix("a:").rpartition(":")
    if name and emoji_id.isdigit():
        return f"{name}:{emoji_id}", {"id": emoji_id, "name": name}
    if text.isascii():
        raise errors.unknown("emoji")
    return text, {"id": None, "name": text}


def add(world: World, channel: Channel, message: Message, actor: Snowflake, emoji: str) -> None:
    """React. The first of an emoji needs ADD_REACTIONS; a repeated one changes nothing."""
    key, shown = parse_emoji(emoji)
    existing = message.reactions.get(key)
    bits = permissions.READ_MESSAGE_HISTORY
    if existing is None:
        bits |= permissions.ADD_REACTIONS
    _require(world, channel, actor, bits)
    if existing is None:
        existing = message.reactions[key] = Reaction(emoji=shown)
    if actor in existing.users:
        return
    existing.users[actor] = None
    data = _data(channel, message, actor, shown)
    data["message_author_id"] = str(message.author_id)
    if channel.guild_id is not None:
        member = world.guilds[channel.guild_id].members.get(actor)
        if member is not None:
            data["member"] = render.member(member)
    _emit(world, "MESSAGE_REACTION_ADD", channel, message, data)


def remove(
    world: World,
    channel: Channel,
    message: Message,
    actor: Snowflake,
    emoji: str,
    user_id: Snowflake,
) -> None:
    """Take back one's own reaction, or with MANAGE_MESSAGES another's."""
    key, shown = parse_emoji(emoji)
    bits = 0 if user_id == actor else permissions.MANAGE_MESSAGES
    _require(world, channel, actor, bits)
    existing = message.reactions.get(key)
    if existing is None or user_id not in existing.users:
        return
    del existing.users[user_id]
    if not existing.users:
        del message.reactions[key]
    _emit(
        world, "MESSAGE_REACTION_REMOVE", channel, message, _data(channel, message, user_id, shown)
    )


def _require(world: World, channel: Channel, actor: Snowflake, bits: int) -> None:
    if channel.guild_id is not None:
        guild = world.guilds[channel.guild_id]
        permissions.require_channel(guild, channel, actor, bits, world.clock.now_ms())


def _data(
    channel: Channel, message: Message, user_id: Snowflake, emoji: dict[str, Any]
) -> dict[str, Any]:
    data: dict[str, Any] = {
        "user_id": str(user_id),
        "channel_id": str(channel.id),
        "message_id": str(message.id),
        "emoji": emoji,
        "burst": False,
        "type": 0,
    }
    if channel.guild_id is not None:
        data["guild_id"] = str(channel.guild_id)
    return data


def _emit(
    world: World, name: str, channel: Channel, message: Message, data: dict[str, Any]
) -> None:
    guild = None if channel.guild_id is None else world.guilds[channel.guild_id]
    world.emit(Event(name=name, guild=guild, channel=channel, data=data, subject=message.id))
