"""The audit log and its gateway event.

docs: resources/audit-log, events/gateway-events#guild-audit-log-entry-create
"""

from enum import IntEnum
from typing import Any

from components.simulator import permissions
from components.simulator.clock import Snowflake, created_ms
from components.simulator.world import render
from components.simulator.world.entities import AuditEntry, Channel, Guild, Message
from components.simulator.world.store import Event, World


class Action(IntEnum):
    """docs: resources/audit-log#audit-log-entry-object-audit-log-events"""

    GUILD_UPDATE = 1
    CHANNEL_CREATE = 10
    CHANNEL_UPDATE = 11
    CHANNEL_DELETE = 12
    MEMBER_KICK = 20
    MEMBER_BAN_ADD = 22
    MEMBER_BAN_REMOVE = 23
    MEMBER_UPDATE = 24
    MEMBER_ROLE_UPDATE = 25
    ROLE_CREATE = 30
    ROLE_UPDATE = 31
    ROLE_DELETE = 32
    MESSAGE_DELETE = 72
    MESSAGE_BULK_DELETE = 73
    THREAD_CREATE = 110
    THREAD_UPDATE = 111
    THREAD_DELETE = 112


def log(
    world: World,
    guild: Guild,
    action: Action,
    actor: Snowflake,
    target: Snowflake | None,
    reason: str | None = None,
    changes: list[dict[str, Any]] | None = None,
    options: dict[str, str] | None = None,
) -> AuditEntry:
    """Append an entry and tell the bots that have VIEW_AUDIT_LOG."""
    entry = AuditEntry(
        id=world.ids.next(),
        action=action,
        user_id=actor,
        target_id=target,
        reason=reason,
        changes=changes or [],
        options=options or {},
    )
    guild.audit_log.append(entry)
    watchers = frozenset(
        user_id
        for application_id in guild.applications
        if (user_id := world.applications[application_id].bot.id) in guild.members
        and permissions.guild_permissions(guild, guild.members[user_id])
        & permissions.VIEW_AUDIT_LOG
    )
    world.emit(
        Event(
            name="GUILD_AUDIT_LOG_ENTRY_CREATE",
            guild=guild,
            data={"guild_id": str(guild.id), **render.audit_entry(entry)},
            recipients=watchers,
            subject=entry.id,
        )
    )
    return entry


def log_message_delete(
    world: World, guild: Guild, channel: Channel, actor: Snowflake, message: Message
) -> None:
    """Someone deleted another's message. Repeated ones are counted in one entry, silently.

    A deletion by the author leaves no entry, nor (observed, a setting) one by a bot.
    """
    bot = world.users[actor].bot
    if actor == message.author_id or (bot and not world.settings.audit_bot_deletes):
        return
    oldest = world.clock.now_ms() - world.settings.audit_merge_s * 1000
    for entry in reversed(guild.audit_log):
        if created_ms(entry.id) < oldest:
            break
        same = (entry.action, entry.user_id, entry.target_id)
        if same != (Action.MESSAGE_DELETE, actor, message.author_id):
            continue
        if entry.options["channel_id"] == str(channel.id):
            entry.options["count"] = str(int(entry.options["count"]) + 1)
            return
    options = {"channel_id": str(channel.id), "count": "1"}
    log(world, guild, Action.MESSAGE_DELETE, actor, message.author_id, options=options)


def change(key: str, old: Any, new: Any) -> dict[str, Any]:
    """One entry of `changes`; a value of None is left out, as Discord does."""
    body = {"key": key}
    if old is not None:
        body["old_value"] = old
    if new is not None:
        body["new_value"] = new
    return body
