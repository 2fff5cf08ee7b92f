"""Deleting messages, one by one, in bulk, and with a ban.

docs: resources/message#delete-message, resources/message#bulk-delete-messages
"""

from components.simulator import errors, permissions
from components.simulator.actions import audit
from components.simulator.clock import Snowflake, created_ms
from components.simulator.world.entities import Channel, Guild, Message
from components.simulator.world.store import Event, World

BULK_MIN, BULK_MAX = 2, 100
BULK_MAX_AGE_MS = 14 * 24 * 3600 * 1000


def delete(world: World, channel: Channel, message: Message, actor: Snowflake) -> None:
    """Delete a message: one's own, or with MANAGE_MESSAGES another's.

    docs: resources/message#delete-message
    """
    if channel.guild_id is None:
        if message.author_id != actor:
            raise errors.DiscordError(403, 50003, "Cannot execute action on a DM channel")
        remove(world, None, channel, message, actor)
        return
    guild = world.guilds[channel.guild_id]
    own = message.author_id == actor
    bits = 0 if own else permissions.MANAGE_MESSAGES
    permissions.require_channel(guild, channel, actor, bits, world.clock.now_ms())
    remove(world, guild, channel, message, actor)
    audit.log_message_delete(world, guild, channel, actor, message)


def bulk_delete(
    world: World, channel: Channel, ids: list[Snowflake], actor: Snowflake, reason: str | None
) -> list[Snowflake]:
    """Delete 2 to 100 messages, none older than 14 days; unknown ids count and are skipped.

    docs: resources/message#bulk-delete-messages
    """
    if channel.guild_id is None:
        raise errors.DiscordError(403, 50003, "Cannot execute action on a DM channel")
    guild = world.guilds[channel.guild_id]
    now = world.clock.now_ms()
    permissions.require_channel(guild, channel, actor, permissions.MANAGE_MESSAGES, now)
    if not BULK_MIN <= len(ids) <= BULK_MAX:
        raise errors.bad_request(
            50016,
            "Provided too few or too many messages to delete. "
            "Must provide at least 2 and fewer than 100 messages to delete",
        )
    if len(set(ids)) != len(ids):
        raise errors.bad_request(50034, "You can only bulk delete messages that are unique")
    if any(created_ms(i) < now - BULK_MAX_AGE_MS for i in ids):
        raise errors.bad_request(
            50034, "You can only bulk delete messages that are under 14 days old"
        )
    gone = [i for i in ids if channel.messages.pop(i, None) is not None]
    if gone:
        _tell_bulk(world, guild, channel, gone, actor)
        audit.log(
            world,
            guild,
            audit.Action.MESSAGE_BULK_DELETE,
            actor,
            channel.id,
            reason,
            options={"count": str(len(gone))},
        )
    return gone


def delete_recent(world: World, guild: Guild, author: Snowflake, seconds: int) -> int:
    """Remove an author's messages of the last `seconds`, as a ban does. Returns how many.

    docs: resources/guild#create-guild-ban
    """
    oldest = world.clock.now_ms() - seconds * 1000
    total = 0
    for channel in guild.channels.values():
        gone: list[Snowflake] = []
        for message in reversed(channel.messages.values()):
            if message.timestamp_ms < oldest:
                break
            if message.author_id == author:
                gone.append(message.id)
        for message_id in gone:
            del channel.messages[message_id]
        if gone:
            _tell_bulk(world, guild, channel, gone, None)
            total += len(gone)
    return total


def _tell_bulk(
    world: World, guild: Guild, channel: Channel, ids: list[Snowflake], actor: Snowflake | None
) -> None:
    data = {
        "ids": [str(i) for i in ids],
        "channel_id": str(channel.id),
        "guild_id": str(guild.id),
    }
    by = None if actor is None else str(actor)
    for message_id in ids:
        world.record.add(
            "message_delete",
            {
                "id": str(message_id),
                "channel_id": str(channel.id),
                "guild_id": str(guild.id),
                "by": by,
                "bulk": True,
            },
        )
    world.emit(Event(name="MESSAGE_DELETE_BULK", guild=guild, channel=channel, data=data))


def remove(
    world: World, guild: Guild | None, channel: Channel, message: Message, actor: Snowflake
) -> None:
    """Take a message away and tell the world, whoever may."""
    del channel.messages[message.id]
    data = {"id": str(message.id), "channel_id": str(channel.id)}
    if guild is not None:
        data["guild_id"] = str(guild.id)
    world.record.add(
        "message_delete",
        {**data, "guild_id": data.get("guild_id"), "by": str(actor), "bulk": False},
    )
    world.emit(
        Event(name="MESSAGE_DELETE", guild=guild, channel=channel, data=data, subject=message.id)
    )
