"""Channel routes, direct channels and reactions."""

from urllib.parse import unquote

from components.simulator import errors
from components.simulator.actions import channels, reactions, threads
from components.simulator.clock import Snowflake
from components.simulator.rest.call import Call, Reply, Route, snowflake
from components.simulator.rest.messages import readable
from components.simulator.world import render


def get(call: Call) -> Reply:
    return Reply(200, call.world.render_channel(readable(call), call.me))


def modify(call: Call) -> Reply:
    channel = readable(call)
    if channel.guild_id is None:
        raise errors.DiscordError(403, 50003, "Cannot execute action on a DM channel")
    if channel.thread is not None:
        threads.modify(call.world, channel, call.me, call.fields(), call.reason)
    else:
        channels.modify(call.world, channel, call.me, call.fields(), call.reason)
    return Reply(200, render.channel(channel))


def delete(call: Call) -> Reply:
    channel = readable(call)
    shown = call.world.render_channel(channel, call.me)
    if channel.thread is not None:
        threads.delete(call.world, channel, call.me, call.reason)
    elif channel.guild_id is not None:
        channels.delete(call.world, channel, call.me, call.reason)
    return Reply(200, shown)


def create_direct(call: Call) -> Reply:
    fields = call.fields()
    if fields.get("recipient_id") is None:
        raise errors.required("recipient_id")
    recipient = snowflake(fields["recipient_id"], "recipient_id")
    channel = channels.direct(call.world, call.me, recipient)
    return Reply(200, call.world.render_channel(channel, call.me))


def _react(call: Call, user_id: Snowflake | None) -> Reply:
    channel = readable(call)
    message = call.world.message(channel, call.id("message_id"))
    emoji = unquote(call.path["emoji_name"])
    if user_id is None:
        reactions.add(call.world, channel, message, call.me, emoji)
    else:
        reactions.remove(call.world, channel, message, call.me, emoji, user_id)
    return Reply()


def add_reaction(call: Call) -> Reply:
    return _react(call, None)


def remove_own_reaction(call: Call) -> Reply:
    return _react(call, call.me)


def remove_reaction(call: Call) -> Reply:
    return _react(call, call.id("user_id"))


def list_reactions(call: Call) -> Reply:
    channel = readable(call)
    message = call.world.message(channel, call.id("message_id"))
    key, _ = reactions.parse_emoji(unquote(call.path["emoji_name"]))
    found = message.reactions.get(key)
    limit = call.list_limit(25, 100)
    after = snowflake(call.query.get("after", 0), "after")
    ids = sorted(i for i in (found.users if found else ()) if i > after)[:limit]
    return Reply(200, [render.user(call.world.user(i)) for i in ids])


_CHANNEL = "/channels/{channel_id}"
_REACTION = f"{_CHANNEL}/messages/{{message_id}}/reactions/{{emoji_name}}"
_C = "channel_id"
_DELETE_DOCS = "resources/channel#deleteclose-channel"
_R = "resources/message"
ROUTES = [
    Route("GET", _CHANNEL, get, "resources/channel#get-channel", "channel", _C),
    Route("PATCH", _CHANNEL, modify, "resources/channel#modify-channel", "channel.modify", _C),
    Route("DELETE", _CHANNEL, delete, _DELETE_DOCS, "channel.delete", _C),
    Route("POST", "/users/@me/channels", create_direct, "resources/user#create-dm", "dm.create"),
    Route("GET", _REACTION, list_reactions, f"{_R}#get-reactions", "reactions.list", _C),
    Route("PUT", f"{_REACTION}/@me", add_reaction, f"{_R}#create-reaction", "reactions", _C),
    Route(
        "DELETE",
        f"{_REACTION}/@me",
        remove_own_reaction,
        f"{_R}#delete-own-reaction",
        "reactions",
        _C,
    ),
    Route(
        "DELETE",
        f"{_REACTION}/{{user_id}}",
        remove_reaction,
        f"{_R}#delete-user-reaction",
        "reactions",
        _C,
    ),
]
