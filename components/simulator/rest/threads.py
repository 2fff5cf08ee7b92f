"""Thread routes."""

from typing import Any

from components.simulator import errors, permissions
from components.simulator.actions import threads
from components.simulator.clock import Snowflake
from components.simulator.rest.call import Call, Reply, Route
from components.simulator.rest.messages import readable
from components.simulator.world import render
from components.simulator.world.entities import Channel, ChannelType


def _options(fields: dict[str, Any]) -> dict[str, Any]:
    if not isinstance(fields.get("name"), str):
        raise errors.required("name")
    return {
        "name": fields["name"],
        "auto_archive_minutes": fields.get("auto_archive_duration"),
        "rate_limit_per_user": int(fields.get("rate_limit_per_user") or 0),
    }


def start_from_message(call: Call) -> Reply:
    channel = readable(call)
    message = call.world.message(channel, call.id("message_id"))
    thread = threads.start(
        call.world,
        channel,
        call.me,
        message=message,
        reason=call.reason,
        **_options(call.fields()),
    )
    return Reply(201, _shown(call, thread))


def start(call: Call) -> Reply:
    channel = readable(call)
    fields = call.fields()
    kind = int(fields.get("type") or ChannelType.PRIVATE_THREAD)
    if kind not in (ChannelType.PUBLIC_THREAD, ChannelType.PRIVATE_THREAD):
        raise errors.invalid_form({"type": ("BASE_TYPE_CHOICES", "Invalid thread type.")})
    thread = threads.start(
        call.world,
        channel,
        call.me,
        kind=kind,
        invitable=fields.get("invitable") is not False,
        reason=call.reason,
        **_options(fields),
    )
    return Reply(201, _shown(call, thread))


def active(call: Call) -> Reply:
    guild = call.world.guild(call.id("guild_id"))
    member = permissions.require_guild(guild, call.me, 0)
    shown: list[Channel] = []
    for channel in guild.channels.values():
        if channel.thread is None or channel.thread.archived:
            continue
        if permissions.channel_permissions(guild, channel, member) & permissions.VIEW_CHANNEL:
            shown.append(channel)
    own = [c for c in shown if c.thread is not None and call.me in c.thread.members]
    body = {
        "threads": [render.thread(c) for c in shown],
        "members": [_member(c, call.me) for c in own],
        "has_more": False,
    }
    return Reply(200, body)


def list_members(call: Call) -> Reply:
    thread = readable(call)
    if thread.thread is None:
        raise errors.bad_request(50024, "Cannot execute action on this channel type")
    return Reply(200, [_member(thread, user_id) for user_id in thread.thread.members])


def join(call: Call) -> Reply:
    threads.add_member(call.world, readable(call), call.me, call.me)
    return Reply()


def leave(call: Call) -> Reply:
    threads.remove_member(call.world, readable(call), call.me, call.me)
    return Reply()


def add_member(call: Call) -> Reply:
    threads.add_member(call.world, readable(call), call.me, call.id("user_id"))
    return Reply()


def remove_member(call: Call) -> Reply:
    threads.remove_member(call.world, readable(call), call.me, call.id("user_id"))
    return Reply()


def _member(thread: Channel, user_id: Snowflake) -> dict[str, Any]:
    assert thread.thread is not None
    return render.thread_member(thread.id, user_id, thread.thread.members[user_id])


def _shown(call: Call, thread: Channel) -> dict[str, Any]:
    return render.thread(thread) | {"member": _member(thread, call.me)}


_START = "/channels/{channel_id}/threads"
_FROM = "/channels/{channel_id}/messages/{message_id}/threads"
_MEMBERS = "/channels/{channel_id}/thread-members"
_ME = f"{_MEMBERS}/@me"
_USER = f"{_MEMBERS}/{{user_id}}"
_DOCS = "resources/channel"
_ACTIVE_DOCS = "resources/guild#list-active-guild-threads"
_ACTIVE = "/guilds/{guild_id}/threads/active"
_MAJOR = "channel_id"
_CHANGE = "threads.members.change"
ROUTES = [
    Route(
        "POST",
        _FROM,
        start_from_message,
        f"{_DOCS}#start-thread-from-message",
        "threads.create",
        _MAJOR,
    ),
    Route("POST", _START, start, f"{_DOCS}#start-thread-without-message", "threads.create", _MAJOR),
    Route(
        "GET",
        "/guilds/{guild_id}/threads/active",
        active,
        _ACTIVE_DOCS,
        "threads.active",
        "guild_id",
    ),
    Route("GET", _MEMBERS, list_members, f"{_DOCS}#list-thread-members", "threads.members", _MAJOR),
    Route("PUT", _ME, join, f"{_DOCS}#join-thread", _CHANGE, _MAJOR),
    Route("DELETE", _ME, leave, f"{_DOCS}#leave-thread", _CHANGE, _MAJOR),
    Route("PUT", _USER, add_member, f"{_DOCS}#add-thread-member", _CHANGE, _MAJOR),
    Route("DELETE", _USER, remove_member, f"{_DOCS}#remove-thread-member", _CHANGE, _MAJOR),
]
