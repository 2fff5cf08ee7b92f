"""Creating, editing and deleting messages.

docs: resources/message
"""

from typing import Any

from components.simulator import errors, permissions
from components.simulator.actions import audit, mentions
from components.simulator.actions.drafts import Draft, check_draft
from components.simulator.clock import Snowflake, created_ms
from components.simulator.world import render
from components.simulator.world.entities import THREAD_TYPES, Channel, Guild, Message
from components.simulator.world.store import Event, World

BULK_MIN, BULK_MAX = 2, 100
BULK_MAX_AGE_MS = 14 * 24 * 3600 * 1000
FORWARD = 1
_REPLY_TYPE = 19
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


def create(
    world: World,
    channel: Channel,
    actor: Snowflake,
    draft: Draft,
    *,
    kind: int | None = None,
    at_ms: float | None = None,
) -> Message:
    """Post a message. A repeated nonce with `enforce_nonce` returns the first message.

    `at_ms` dates it back, for the rules that depend on a message's age.

    docs: resources/message#create-message
    """
    guild, may = _require_may_send(world, channel, actor)
    repeated = _by_nonce(world, channel, actor, draft)
    if repeated is not None:
        return repeated
    reference, original, snapshots = _resolve_reference(world, channel, actor, draft)
    if not snapshots:
        check_draft(draft)
    found = mentions.find(
        guild,
        world.users,
        draft.content,
        may,
        draft.allowed_mentions,
        None if original is None else original.author_id,
    )
    message = Message(
        id=world.ids.next() if at_ms is None else world.ids.at(at_ms),
        channel_id=channel.id,
        guild_id=channel.guild_id,
        author_id=actor,
        content=draft.content,
        timestamp_ms=world.clock.now_ms() if at_ms is None else at_ms,
        type=kind if kind is not None else (_REPLY_TYPE if original is not None else 0),
        flags=draft.flags | (1 << 14 if snapshots else 0),  # HAS_SNAPSHOT
        tts=draft.tts,
        attachments=_attachments(world, channel, draft.attachments),
        embeds=[{"type": "rich", **embed} for embed in draft.embeds],
        components=draft.components,
        sticker_items=draft.sticker_items,
        mentions=found.users,
        mention_roles=found.roles,
        mention_everyone=found.everyone,
        nonce=draft.nonce,
        reference=reference,
        snapshots=snapshots,
        application_id=draft.application_id,
        webhook_id=draft.webhook_id,
        interaction_metadata=draft.interaction_metadata,
    )
    _unarchive(world, channel)
    store(world, channel, message)
    if draft.nonce is not None and draft.enforce_nonce:
        deadline = world.clock.monotonic() + world.settings.nonce_window_s
        world.nonces[channel.id, actor, str(draft.nonce)] = (message, deadline)
    return message


def store(world: World, channel: Channel, message: Message) -> None:
    """Put a message into its channel and tell the world."""
    channel.messages[message.id] = message
    channel.last_message_id = message.id
    channel.last_post_ms[message.author_id] = message.timestamp_ms
    if channel.thread is not None:
        channel.thread.total_message_sent += 1
        channel.thread.members.setdefault(message.author_id, message.timestamp_ms)
    if len(channel.messages) > world.settings.messages_per_channel:
        del channel.messages[next(iter(channel.messages))]
    tell(world, "MESSAGE_CREATE", channel, message)


def tell(world: World, name: str, channel: Channel, message: Message) -> None:
    """Emit MESSAGE_CREATE or MESSAGE_UPDATE, and record it with its content.

    docs: events/gateway-events#message-create
    """
    data = world.render_message(message)
    data["channel_type"] = channel.type
    guild = None
    if channel.guild_id is not None:
        guild = world.guilds[channel.guild_id]
        data["guild_id"] = str(guild.id)
        author = guild.members.get(message.author_id)
        if author is not None and message.webhook_id is None:
            data["member"] = render.member_without_user(author)
        for mention in data["mentions"]:
            mentioned = guild.members.get(Snowflake(int(mention["id"])))
            if mentioned is not None:
                mention["member"] = render.member_without_user(mentioned)
    world.record.add(
        name.lower(),
        {
            "id": str(message.id),
            "channel_id": str(channel.id),
            "guild_id": None if guild is None else str(guild.id),
            "author_id": str(message.author_id),
            "content": message.content,
            "nonce": message.nonce,
        },
    )
    world.emit(
        Event(
            name=name, guild=guild, channel=channel, message=message, data=data, subject=message.id
        )
    )


def edit(
    world: World, channel: Channel, message: Message, actor: Snowflake, changes: dict[str, Any]
) -> Message:
    """Edit one's own message. Others' may not be edited (50005).

    docs: resources/message#edit-message
    """
    guild = None
    may = permissions.ALL
    if channel.guild_id is not None:
        guild = world.guilds[channel.guild_id]
        member = permissions.require_channel(guild, channel, actor, 0, world.clock.now_ms())
        may = permissions.channel_permissions(guild, channel, member)
    if message.author_id != actor:
        raise errors.DiscordError(403, 50005, "Cannot edit a message authored by another user")
    merged = Draft(
        content=message.content if "content" not in changes else changes["content"] or "",
        embeds=message.embeds if "embeds" not in changes else changes["embeds"] or [],
        components=(
            message.components if "components" not in changes else changes["components"] or []
        ),
        attachments=message.attachments,
        flags=message.flags if changes.get("flags") is None else int(changes["flags"]),
        sticker_items=message.sticker_items,
        allowed_mentions=changes.get("allowed_mentions"),
    )
    check_draft(merged)
    message.content = merged.content
    message.embeds = [{"type": "rich", **embed} for embed in merged.embeds]
    message.components = merged.components
    message.flags = merged.flags
    if "attachments" in changes:
        kept = {str(a["id"]) for a in changes["attachments"] or []}
        message.attachments = [a for a in message.attachments if a["id"] in kept]
    found = mentions.find(guild, world.users, message.content, may, merged.allowed_mentions, None)
    message.mentions, message.mention_roles = found.users, found.roles
    message.mention_everyone = found.everyone
    message.edited_ms = world.clock.now_ms()
    tell(world, "MESSAGE_UPDATE", channel, message)
    return message


def delete(world: World, channel: Channel, message: Message, actor: Snowflake) -> None:
    """Delete a message: one's own, or with MANAGE_MESSAGES another's.

    docs: resources/message#delete-message
    """
    if channel.guild_id is None:
        if message.author_id != actor:
            raise errors.DiscordError(403, 50003, "Cannot execute action on a DM channel")
        _remove(world, None, channel, message, actor)
        return
    guild = world.guilds[channel.guild_id]
    own = message.author_id == actor
    bits = 0 if own else permissions.MANAGE_MESSAGES
    permissions.require_channel(guild, channel, actor, bits, world.clock.now_ms())
    _remove(world, guild, channel, message, actor)
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


def _remove(
    world: World, guild: Guild | None, channel: Channel, message: Message, actor: Snowflake
) -> None:
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


def _require_may_send(world: World, channel: Channel, actor: Snowflake) -> tuple[Guild | None, int]:
    if channel.guild_id is None:
        if actor not in channel.recipients:
            raise errors.missing_access()
        return None, permissions.ALL
    guild = world.guilds[channel.guild_id]
    now = world.clock.now_ms()
    is_thread = channel.type in THREAD_TYPES
    bit = permissions.SEND_MESSAGES_IN_THREADS if is_thread else permissions.SEND_MESSAGES
    member = permissions.require_channel(guild, channel, actor, bit, now)
    if channel.type in (4, 15):  # a category or a forum holds no messages
        raise errors.bad_request(50008, "Cannot send messages in a non-text channel")
    may = permissions.channel_permissions(guild, channel, member, now)
    locked = channel.thread is not None and channel.thread.locked
    if locked and not may & permissions.MANAGE_THREADS:
        raise errors.bad_request(160005, "Thread is locked")
    if channel.rate_limit_per_user and not may & (
        permissions.MANAGE_MESSAGES | permissions.MANAGE_CHANNELS | permissions.BYPASS_SLOWMODE
    ):
        last = channel.last_post_ms.get(actor)
        if last is not None and now < last + channel.rate_limit_per_user * 1000:
            raise errors.DiscordError(
                429, 20016, "This action cannot be performed due to slowmode rate limit"
            )
    return guild, may


def _by_nonce(world: World, channel: Channel, actor: Snowflake, draft: Draft) -> Message | None:
    if draft.nonce is None or not draft.enforce_nonce:
        return None
    now = world.clock.monotonic()
    for key, (_, deadline) in list(world.nonces.items()):
        if deadline > now:
            break  # ordered by deadline
        del world.nonces[key]
    found = world.nonces.get((channel.id, actor, str(draft.nonce)))
    return None if found is None else found[0]


def _resolve_reference(
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


def _attachments(
    world: World, channel: Channel, given: list[dict[str, Any]]
) -> list[dict[str, Any]]:
    out: list[dict[str, Any]] = []
    for one in given:
        attachment_id = one.get("attachment_id") or world.ids.next()
        name = one.get("filename", "file")
        url = f"https://cdn.discordapp.com/attachments/{channel.id}/{attachment_id}/{name}"
        body = {key: value for key, value in one.items() if key != "attachment_id"}
        defaults = {
            "size": 1,
            "url": url,
            "proxy_url": url.replace("cdn.discordapp.com", "media.discordapp.net"),
        }
        out.append({**defaults, **body, "id": str(attachment_id), "filename": name})
    return out


def _unarchive(world: World, channel: Channel) -> None:
    """A post into an archived thread opens it. docs: topics/threads#active--archived-threads"""
    if channel.thread is not None and channel.thread.archived and channel.guild_id is not None:
        channel.thread.archived = False
        channel.thread.archive_ms = world.clock.now_ms()
        world.emit(
            Event(
                name="THREAD_UPDATE",
                guild=world.guilds[channel.guild_id],
                channel=channel,
                data=render.thread(channel),
                subject=channel.id,
            )
        )
