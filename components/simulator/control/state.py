"""The world as the control API shows it: everything, to nobody in particular."""

from typing import Any

from components.simulator.clock import iso
from components.simulator.world import render
from components.simulator.world.entities import Guild, Message
from components.simulator.world.store import World


def guild_summary(world: World, guild: Guild) -> dict[str, Any]:
    """The ids one needs to act in a guild, by name where names are given."""
    bots = {world.applications[a].bot.id for a in guild.applications}
    return {
        "id": str(guild.id),
        "name": guild.name,
        "owner_id": str(guild.owner_id),
        "channels": {c.name: str(c.id) for c in guild.channels.values() if c.thread is None},
        "roles": {r.name: str(r.id) for r in guild.roles.values()},
        "members": [
            {"id": str(m.user.id), "username": m.user.username}
            for m in guild.members.values()
            if m.user.id not in bots and m.user.id != guild.owner_id
        ],
        "applications": [str(a) for a in guild.applications],
    }


def guild_state(world: World, guild: Guild) -> dict[str, Any]:
    """Everything in a guild, messages of channels and threads included."""
    return {
        **guild_summary(world, guild),
        "unavailable": guild.unavailable,
        "role_list": [render.role(r) for r in guild.roles.values()],
        "member_list": [render.member(m) for m in guild.members.values()],
        "bans": [{"user_id": str(b.user_id), "reason": b.reason} for b in guild.bans.values()],
        "audit_log": [render.audit_entry(e) for e in guild.audit_log],
        "channel_list": [
            {
                **render.channel(c),
                "messages": [message_state(world, m) for m in c.messages.values()],
            }
            for c in guild.channels.values()
            if c.thread is None
        ],
        "threads": [
            {
                **render.thread(c),
                "members": {str(u): iso(ms) for u, ms in c.thread.members.items()},
                "messages": [message_state(world, m) for m in c.messages.values()],
            }
            for c in guild.channels.values()
            if c.thread is not None
        ],
    }


def message_state(world: World, message: Message) -> dict[str, Any]:
    """A message as its author sees it."""
    body = world.render_message(message, message.author_id)
    if message.ephemeral_to is not None:
        body["ephemeral_to"] = str(message.ephemeral_to)
    return body
