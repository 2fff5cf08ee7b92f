"""Replies and forwards: what a message refers to.

docs: resources/message#message-reference-types
"""

from typing import Any

from components.simulator import errors, permissions
from components.simulator.actions.drafts import Draft
from components.simulator.clock import Snowflake
from components.simulator.world.entities import Channel, Message
from components.simulator.world.store import World

FORWARD = 1
_SNAPSHOT_FIELDS = (
    "content",
    "embeds",
    "attachments",
    "timestamp",
    "edited_timestamp",
    "flags",
    "type",
    "mentions",
    "mention_roles",
    "components",
    "sticker_items",
)


def resolve(
    world: World, channel: Channel, actor: Snowflake, draft: Draft
) -> tuple[dict[str, Any] | None, Message | None, list[dict[str, Any]]]:
    """The stored reference, the message replied to (if a reply), snapshots (if a forward).

    docs: resources/message#message-reference-types
    """
    asked = draft.reference
    if asked is None:
        return None, None, []
    source = world.channels.get(Snowflake(int(asked.get("channel_id") or channel.id)))
    message = None
    if source is not None:
        message = source.messages.get(Snowflake(int(asked["message_id"])))
    forward = asked.get("type") == FORWARD
    if source is None or message is None or (not forward and source is not channel):
        if not forward and asked.get("fail_if_not_exists") is False:
            return None, None, []
        raise errors.invalid_form(
            {"message_reference": ("REPLIES_UNKNOWN_MESSAGE", "Unknown message")}
        )
    if source.guild_id is not None:
        guild = world.guilds[source.guild_id]
        permissions.require_channel(
            guild, source, actor, permissions.READ_MESSAGE_HISTORY, world.clock.now_ms()
        )
    reference: dict[str, Any] = {
        "type": FORWARD if forward else 0,
        "channel_id": str(source.id),
        "message_id": str(message.id),
    }
    if source.guild_id is not None:
        reference["guild_id"] = str(source.guild_id)
    if not forward:
        return reference, message, []
    shown = world.render_message(message)
    snapshot = {key: shown[key] for key in _SNAPSHOT_FIELDS if key in shown}
    return reference, None, [{"message": snapshot}]
