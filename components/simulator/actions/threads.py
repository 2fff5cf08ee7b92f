"""Threads: starting, changing, membership.

docs: topics/threads, resources/channel#start-thread-from-message
"""

from typing import Any

from components.simulator import errors, permissions
from components.simulator.actions import audit
from components.simulator.actions.messages import tell
from components.simulator.clock import Snowflake
from components.simulator.world import render
from components.simulator.world.entities import Channel, ChannelType, Guild, Message, Thread
from components.simulator.world.store import Event, World

AUTO_ARCHIVE_MINUTES = (60, 1440, 4320, 10080)
_HAS_THREAD = 1 << 5


def start(
    world: World,
    parent: Channel,
    actor: Snowflake,
    *,
    name: str,
    kind: int = ChannelType.PUBLIC_THREAD,
    message: Message | None = None,
    auto_archive_minutes: int | None = None,
    rate_limit_per_user: int = 0,
    invitable: bool = True,
    reason: str | None = None,
) -> Channel:
    """Start a thread. From a message it has the message's id, and a message can have only one."""
    if parent.guild_id is None:
        raise errors.DiscordError(403, 50003, "Cannot execute action on a DM channel")
    guild = world.guilds[parent.guild_id]
    now = world.clock.now_ms()
    if kind == ChannelType.PRIVATE_THREAD:
        bits = permissions.CREATE_PRIVATE_THREADS
    else:
        bits = permissions.CREATE_PUBLIC_THREADS
    if message is not None:
        bits |= permissions.READ_MESSAGE_HISTORY
    permissions.require_channel(guild, parent, actor, bits, now)
    if parent.type not in (ChannelType.GUILD_TEXT, ChannelType.GUILD_ANNOUNCEMENT):
        raise errors.bad_request(50024, "Cannot execute action on this channel type")
    if message is not None and message.thread_id is not None:
        raise errors.bad_request(160004, "A thread has already been created for this message")
    minutes = auto_archive_minutes or parent.default_auto_archive_minutes or 4320
    _check(name, minutes)
    if message is not None and parent.type == ChannelType.GUILD_ANNOUNCEMENT:
        kind = ChannelType.ANNOUNCEMENT_THREAD
    thread = Channel(
        id=world.ids.next() if message is None else message.id,
        guild_id=guild.id,
        type=kind,
        name=name,
        parent_id=parent.id,
        rate_limit_per_user=rate_limit_per_user,
        thread=Thread(
            owner_id=actor,
            created_ms=now,
            archive_ms=now,
            auto_archive_minutes=minutes,
            invitable=invitable,
            members={actor: now},
        ),
    )
    guild.channels[thread.id] = thread
    world.channels[thread.id] = thread
    data = {**render.thread(thread), "newly_created": True}
    _emit(world, "THREAD_CREATE", guild, thread, data)
    if message is not None:
        message.thread_id = thread.id
        message.flags |= _HAS_THREAD
        tell(world, "MESSAGE_UPDATE", parent, message)
    audit.log(
        world,
        guild,
        audit.Action.THREAD_CREATE,
        actor,
        thread.id,
        reason,
        [audit.change("name", None, name), audit.change("type", None, int(kind))],
    )
    return thread


def modify(
    world: World, thread: Channel, actor: Snowflake, changes: dict[str, Any], reason: str | None
) -> Channel:
    """Rename, archive, lock. Locking and what others own needs MANAGE_THREADS.

    docs: resources/channel#modify-channel-json-params-thread
    """
    state = thread.thread
    assert state is not None
    assert thread.guild_id is not None
    guild = world.guilds[thread.guild_id]
    now = world.clock.now_ms()
    opening = changes.get("archived") is False
    if state.archived and not opening and set(changes) - {"archived", "locked"}:
        raise errors.bad_request(50083, "Thread is archived")
    free = {"archived"} if opening and not state.locked else set()
    needs = permissions.MANAGE_THREADS
    if "locked" not in changes and (state.owner_id == actor or set(changes) <= free):
        needs = permissions.SEND_MESSAGES_IN_THREADS
    permissions.require_channel(guild, thread, actor, needs, now)
    name = changes.get("name", thread.name)
    minutes = changes.get("auto_archive_duration") or state.auto_archive_minutes
    _check(name, minutes)
    changed: list[dict[str, Any]] = []
    before = render.thread(thread)
    thread.name = name
    state.auto_archive_minutes = minutes
    if changes.get("rate_limit_per_user") is not None:
        thread.rate_limit_per_user = int(changes["rate_limit_per_user"])
    if changes.get("archived") is not None and state.archived != changes["archived"]:
        state.archived = bool(changes["archived"])
        state.archive_ms = now
    if changes.get("locked") is not None:
        state.locked = bool(changes["locked"])
    if changes.get("invitable") is not None:
        state.invitable = bool(changes["invitable"])
    after = render.thread(thread)
    for key, (old, new) in {
        "name": (before["name"], after["name"]),
        **{
            k: (before["thread_metadata"][k], after["thread_metadata"][k])
            for k in ("archived", "locked", "auto_archive_duration")
        },
    }.items():
        if old != new:
            changed.append(audit.change(key, old, new))
    _emit(world, "THREAD_UPDATE", guild, thread, after)
    if changed:
        audit.log(world, guild, audit.Action.THREAD_UPDATE, actor, thread.id, reason, changed)
    return thread


def delete(world: World, thread: Channel, actor: Snowflake, reason: str | None) -> None:
    """docs: resources/channel#deleteclose-channel"""
    assert thread.guild_id is not None
    guild = world.guilds[thread.guild_id]
    permissions.require_channel(
        guild, thread, actor, permissions.MANAGE_THREADS, world.clock.now_ms()
    )
    del guild.channels[thread.id]
    del world.channels[thread.id]
    data = {
        "id": str(thread.id),
        "guild_id": str(guild.id),
        "parent_id": str(thread.parent_id),
        "type": thread.type,
    }
    parent = guild.channels.get(thread.parent_id) if thread.parent_id is not None else None
    world.emit(
        Event(name="THREAD_DELETE", guild=guild, channel=parent, data=data, subject=thread.id)
    )
    audit.log(
        world,
        guild,
        audit.Action.THREAD_DELETE,
        actor,
        thread.id,
        reason,
        [audit.change("name", thread.name, None)],
    )


def add_member(world: World, thread: Channel, actor: Snowflake, user_id: Snowflake) -> None:
    """Add a guild's member to a thread, or join it. docs: resources/channel#add-thread-member"""
    guild, now = _open(world, thread, actor)
    world.member(guild, user_id)
    assert thread.thread is not None
    if user_id in thread.thread.members:
        return
    thread.thread.members[user_id] = now
    added = render.thread_member(thread.id, user_id, now)
    added["member"] = render.member(guild.members[user_id])
    _members_update(world, guild, thread, {"added_members": [added | {"presence": None}]})


def remove_member(world: World, thread: Channel, actor: Snowflake, user_id: Snowflake) -> None:
    """Remove a member, or leave. Another's removal needs MANAGE_THREADS.

    docs: resources/channel#remove-thread-member
    """
    guild, now = _open(world, thread, actor)
    if user_id != actor:
        permissions.require_channel(guild, thread, actor, permissions.MANAGE_THREADS, now)
    assert thread.thread is not None
    if thread.thread.members.pop(user_id, None) is None:
        raise errors.unknown("member")
    _members_update(world, guild, thread, {"removed_member_ids": [str(user_id)]})


def _open(world: World, thread: Channel, actor: Snowflake) -> tuple[Guild, float]:
    if thread.thread is None or thread.guild_id is None:
        raise errors.bad_request(50024, "Cannot execute action on this channel type")
    guild = world.guilds[thread.guild_id]
    now = world.clock.now_ms()
    permissions.require_channel(guild, thread, actor, 0, now)
    if thread.thread.archived:
        raise errors.bad_request(50083, "Thread is archived")
    return guild, now


def _members_update(world: World, guild: Guild, thread: Channel, what: dict[str, Any]) -> None:
    assert thread.thread is not None
    data = {
        "id": str(thread.id),
        "guild_id": str(guild.id),
        "member_count": min(len(thread.thread.members), 50),
        **what,
    }
    _emit(world, "THREAD_MEMBERS_UPDATE", guild, thread, data)


def _check(name: str, minutes: int) -> None:
    if not 1 <= len(name) <= 100:
        raise errors.invalid_form(
            {"name": ("BASE_TYPE_BAD_LENGTH", "Must be between 1 and 100 in length.")}
        )
    if minutes not in AUTO_ARCHIVE_MINUTES:
        choices = ", ".join(str(m) for m in AUTO_ARCHIVE_MINUTES)
        raise errors.invalid_form(
            {
                "auto_archive_duration": (
                    "BASE_TYPE_CHOICES",
                    f"Value must be one of ({choices}).",
                )
            }
        )


def _emit(world: World, name: str, guild: Guild, thread: Channel, data: dict[str, Any]) -> None:
    world.emit(Event(name=name, guild=guild, channel=thread, data=data, subject=thread.id))
