"""Creating and editing messages.

docs: resources/message
"""

from typing import Any

from components.simulator import errors, permissions
from components.simulator.actions import mentions, references
from components.simulator.actions.components import kept_embed, numbered
from components.simulator.actions.drafts import Draft, check_draft
from components.simulator.clock import Snowflake
from components.simulator.world import render
from components.simulator.world.entities import THREAD_TYPES, Channel, Guild, Message
from components.simulator.world.store import Event, World

HAS_SNAPSHOT = 1 << 14
REPLY = 19  # docs: resources/message#message-object-message-types


def create(
    world: World,
    channel: Channel,
    actor: Snowflake,
    draft: Draft,
    *,
    at_ms: float | None = None,
) -> Message:
    """Post a message. A repeated nonce with `enforce_nonce` returns the first message.

    `at_ms` dates it back, for the rules that depend on a message's age.

    docs: resources/message#create-message
    """
    _, may = _require_may_send(world, channel, actor)
    repeated = _by_nonce(world, channel, actor, draft)
    if repeated is not None:
        return repeated
    message = compose(world, channel, actor, draft, may, at_ms)
    _unarchive(world, channel)
    store(world, channel, message)
    if draft.nonce is not None and draft.enforce_nonce:
        deadline = world.clock.monotonic() + world.settings.nonce_window_s
        world.nonces[channel.id, actor, str(draft.nonce)] = (message, deadline)
    return message


def compose(
    world: World,
    channel: Channel,
    actor: Snowflake,
    draft: Draft,
    may: int,
    at_ms: float | None = None,
    *,
    allow_empty: bool = False,
) -> Message:
    """A message as drafted, by someone who may `may` here, not yet posted."""
    reference, original, snapshots = references.resolve(world, channel, actor, draft)
    if not snapshots and not allow_empty:
        check_draft(draft)
    kind = draft.type if original is None else REPLY
    message = Message(
        id=world.ids.next() if at_ms is None else world.ids.at(at_ms),
        channel_id=channel.id,
        guild_id=channel.guild_id,
        author_id=actor,
        content=draft.content,
        timestamp_ms=world.clock.now_ms() if at_ms is None else at_ms,
        type=kind,
        flags=draft.flags | (HAS_SNAPSHOT if snapshots else 0),
        tts=draft.tts,
        attachments=_attachments(world, channel, draft.attachments),
        embeds=[kept_embed(embed) for embed in draft.embeds],
        components=numbered(draft.components),
        sticker_items=draft.sticker_items,
        nonce=draft.nonce,
        reference=reference,
        snapshots=snapshots,
        application_id=draft.application_id,
        webhook_id=draft.webhook_id,
        interaction_metadata=draft.interaction_metadata,
    )
    replied_to = None if original is None else original.author_id
    _mention(world, channel, message, may, draft.allowed_mentions, replied_to)
    return message


def edit(
    world: World, channel: Channel, message: Message, actor: Snowflake, changes: dict[str, Any]
) -> Message:
    """Edit one's own message. Others' may not be edited (50005).

    docs: resources/message#edit-message
    """
    may = permissions.ALL
    if channel.guild_id is not None:
        guild = world.guilds[channel.guild_id]
        member = permissions.require_channel(guild, channel, actor, 0, world.clock.now_ms())
        may = permissions.channel_permissions(guild, channel, member)
    if message.author_id != actor:
        raise errors.DiscordError(403, 50005, "Cannot edit a message authored by another user")
    apply_edit(world, channel, message, changes, may)
    message.edited_ms = world.clock.now_ms()
    tell(world, "MESSAGE_UPDATE", channel, message)
    return message


def apply_edit(
    world: World, channel: Channel, message: Message, changes: dict[str, Any], may: int
) -> None:
    """Change what `changes` names; the result must be a message that could be posted."""
    merged = Draft(
        content=message.content if "content" not in changes else changes["content"] or "",
        embeds=message.embeds if "embeds" not in changes else changes["embeds"] or [],
        components=(
            message.components if "components" not in changes else changes["components"] or []
        ),
        attachments=message.attachments,
        flags=message.flags if changes.get("flags") is None else int(changes["flags"]),
        sticker_items=message.sticker_items,
    )
    check_draft(merged)
    message.content = merged.content
    message.embeds = [kept_embed(embed) for embed in merged.embeds]
    message.components = numbered(merged.components)
    message.flags = merged.flags
    if "attachments" in changes:
        kept = {str(a["id"]) for a in changes["attachments"] or [] if "id" in a}
        message.attachments = [a for a in message.attachments if a["id"] in kept]
    _mention(world, channel, message, may, changes.get("allowed_mentions"), None)


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


def _mention(
    world: World,
    channel: Channel,
    message: Message,
    may: int,
    allowed: dict[str, Any] | None,
    replied_to: Snowflake | None,
) -> None:
    guild = None if channel.guild_id is None else world.guilds[channel.guild_id]
    found = mentions.find(guild, world.users, message.content, may, allowed, replied_to)
    message.mentions, message.mention_roles = found.users, found.roles
    message.mention_everyone = found.everyone


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
            break  # nearly in order of deadlines: the rest is looked at next time
        del world.nonces[key]
    found = world.nonces.get((channel.id, actor, str(draft.nonce)))
    return None if found is None or found[1] <= now else found[0]


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
