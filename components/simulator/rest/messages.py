"""Message routes."""

from typing import Any

from components.simulator import errors, permissions
from components.simulator.actions import deletions, messages
from components.simulator.actions.drafts import Draft
from components.simulator.clock import Snowflake
from components.simulator.gateway.fanout import BLANKED
from components.simulator.gateway.protocol import Intent
from components.simulator.rest.call import Call, Reply, Route, snowflake
from components.simulator.world.entities import Channel, Message

_MAJOR = "channel_id"


def show(call: Call, message: Message) -> dict[str, Any]:
    """A message as this bot may read it: without the content intent, only what is its business.

    docs: events/gateway#message-content-intent
    """
    body = call.world.render_message(message, call.me)
    allowed = call.app.privileged_intents & Intent.MESSAGE_CONTENT
    own = message.author_id == call.me or call.me in message.mentions
    if allowed or own or message.guild_id is None:
        return body
    return body | BLANKED


def draft_of(fields: dict[str, Any], **more: Any) -> Draft:
    """A message body of REST as a draft."""
    reference = fields.get("message_reference")
    if reference is not None and "message_id" not in reference:
        raise errors.required("message_reference.message_id")
    return Draft(
        content=str(fields.get("content") or ""),
        embeds=fields.get("embeds") or [],
        components=fields.get("components") or [],
        attachments=[_attachment(a) for a in fields.get("attachments") or []],
        sticker_items=[
            {"id": str(i), "name": "sticker", "format_type": 1}
            for i in fields.get("sticker_ids") or []
        ],
        flags=int(fields.get("flags") or 0),
        tts=bool(fields.get("tts")),
        nonce=fields.get("nonce"),
        enforce_nonce=bool(fields.get("enforce_nonce")),
        reference=reference,
        allowed_mentions=fields.get("allowed_mentions"),
        **more,
    )


def readable(call: Call) -> Channel:
    """The channel of the path, if the bot may read its history."""
    channel = call.world.channel(call.id("channel_id"))
    if channel.guild_id is None:
        if call.me not in channel.recipients:
            raise errors.missing_access()
        return channel
    guild = call.world.guild(channel.guild_id)
    permissions.require_channel(guild, channel, call.me, 0, call.world.clock.now_ms())
    return channel


def _attachment(fields: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in fields.items() if key != "id"}


def create(call: Call) -> Reply:
    channel = call.world.channel(call.id("channel_id"))
    message = messages.create(call.world, channel, call.me, draft_of(call.fields()))
    return Reply(200, show(call, message))


def get(call: Call) -> Reply:
    channel = readable(call)
    return Reply(200, show(call, call.world.message(channel, call.id("message_id"))))


def list_(call: Call) -> Reply:
    """Newest first. Without READ_MESSAGE_HISTORY the list is empty."""
    channel = readable(call)
    if channel.guild_id is not None:
        guild = call.world.guild(channel.guild_id)
        have = permissions.channel_permissions(guild, channel, guild.members[call.me])
        if not have & permissions.READ_MESSAGE_HISTORY:
            return Reply(200, [])
    limit = call.list_limit(50, 100)
    ids = sorted(channel.messages, reverse=True)
    if "around" in call.query:
        middle = snowflake(call.query["around"], "around")
        newer = [i for i in ids if i > middle][-(limit // 2) :]
        ids = (newer + [i for i in ids if i <= middle])[:limit]
    elif "after" in call.query:
        after = snowflake(call.query["after"], "after")
        ids = [i for i in ids if i > after][-limit:]
    elif "before" in call.query:
        before = snowflake(call.query["before"], "before")
        ids = [i for i in ids if i < before]
    return Reply(200, [show(call, channel.messages[i]) for i in ids[:limit]])


def edit(call: Call) -> Reply:
    channel = readable(call)
    message = call.world.message(channel, call.id("message_id"))
    messages.edit(call.world, channel, message, call.me, call.fields())
    return Reply(200, show(call, message))


def delete(call: Call) -> Reply:
    channel = readable(call)
    message = call.world.message(channel, call.id("message_id"))
    deletions.delete(call.world, channel, message, call.me)
    return Reply()


def bulk_delete(call: Call) -> Reply:
    channel = readable(call)
    given = call.fields().get("messages")
    if not isinstance(given, list):
        raise errors.required("messages")
    ids: list[Snowflake] = [snowflake(i, "messages") for i in given]
    deletions.bulk_delete(call.world, channel, ids, call.me, call.reason)
    return Reply()


_LIST = "/channels/{channel_id}/messages"
_ONE = "/channels/{channel_id}/messages/{message_id}"
_DOCS = "resources/message"
ROUTES = [
    Route("GET", _LIST, list_, f"{_DOCS}#get-channel-messages", "messages.list", _MAJOR),
    Route("POST", _LIST, create, f"{_DOCS}#create-message", "messages.create", _MAJOR),
    Route(
        "POST",
        f"{_LIST}/bulk-delete",
        bulk_delete,
        f"{_DOCS}#bulk-delete-messages",
        "messages.bulk_delete",
        _MAJOR,
    ),
    Route("GET", _ONE, get, f"{_DOCS}#get-channel-message", "messages.get", _MAJOR),
    Route("PATCH", _ONE, edit, f"{_DOCS}#edit-message", "messages.edit", _MAJOR),
    Route("DELETE", _ONE, delete, f"{_DOCS}#delete-message", "messages.delete", _MAJOR),
]
