"""A message as the pipeline sees it: one shape for new ones, edits and forwards.

Pure functions of the message. The duplicate key says when two messages are copies; the hashes say
whether an edit changed anything.
"""

import hashlib
from collections.abc import Iterable

import msgspec

from components.gateway.engine.events import (
    UNSET,
    Attachment,
    Embed,
    Member,
    MessageCreated,
    MessageUpdated,
    Poll,
    Reaction,
    SnapshotContent,
    Sticker,
    User,
)
from contracts.ids import ChannelId, MessageId, snowflake_time_ms

REPLY = 19
FORWARD = 1


class Posted(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """A message with everything that scoring and reporting need."""

    id: MessageId
    channel: ChannelId
    author: User
    member: Member
    joined_ms: int | None
    content: str
    content_known: bool
    """False for a partial update that carries only embeds."""
    embeds: list[Embed]
    attachments: list[Attachment]
    mentioned: list[str]
    forwarded: list[SnapshotContent]
    poll: Poll | None
    reactions: list[Reaction]
    stickers: list[Sticker]
    edited: bool
    at_ms: int
    """When it was posted, or edited: by its own id or timestamp, not by when it reached us."""


def posted_of(
    event: MessageCreated | MessageUpdated,
    *,
    author: User,
    member: Member,
    joined_ms: int | None,
) -> Posted:
    """The message of a dispatch; a partial update lacks author and member, so they are given."""
    edited_at = getattr(event, "edited_timestamp", None)
    mentioned = [user.id for user in event.mentions] if event.type != REPLY else []
    reference = event.message_reference
    forwards = reference is not None and reference.type == FORWARD
    return Posted(
        id=MessageId(event.id),
        channel=ChannelId(event.channel_id),
        author=author,
        member=member,
        joined_ms=joined_ms,
        content=event.content if event.content is not UNSET else "",
        content_known=event.content is not UNSET,
        embeds=event.embeds if event.embeds is not UNSET else [],
        attachments=event.attachments if event.attachments is not UNSET else [],
        mentioned=mentioned,  # a reply mentions whom it answers without their name in the text
        forwarded=[snapshot.message for snapshot in event.message_snapshots] if forwards else [],
        poll=event.poll,
        reactions=event.reactions,
        stickers=event.sticker_items,
        edited=isinstance(event, MessageUpdated),
        at_ms=(
            snowflake_time_ms(event.id) if edited_at is None else int(edited_at.timestamp() * 1000)
        ),
    )


def analysed_text(posted: Posted) -> str:
    """Content and what its embeds say, of the message and of what it forwards."""
    parts = [posted.content, *_embed_texts(posted.embeds)]
    for snapshot in posted.forwarded:
        parts += [snapshot.content, *_embed_texts(snapshot.embeds)]
    return "\n".join(part for part in parts if part)


def duplicate_key(posted: Posted) -> str:
    """What copies of a message have in common; empty when there is nothing to compare.

    The preview of a link in the text is left out: Discord adds it when it likes, so it would tell
    apart two copies of which one has been unfurled."""
    content = posted.content.strip().lower()
    parts = [content] if content else []
    parts += _embed_identities(posted.embeds, content)
    parts += sorted(_attachment_identity(attachment) for attachment in posted.attachments)
    for snapshot in posted.forwarded:
        text = snapshot.content.strip().lower()
        parts += [text] if text else []
        parts += _embed_identities(snapshot.embeds, text)
        parts += sorted(_attachment_identity(attachment) for attachment in snapshot.attachments)
    return digest(parts) if parts else ""


def content_hash(posted: Posted) -> str:
    """Changes when the author changed the message."""
    return digest(
        [
            posted.content,
            *(attachment.id for attachment in posted.attachments),
            *(snapshot.content for snapshot in posted.forwarded),
        ]
    )


def embeds_hash(posted: Posted) -> str:
    """Changes when what the embeds say changed, e.g. a link's preview arrived."""
    return digest(_embed_texts(posted.embeds)) if posted.embeds else ""


def digest(parts: Iterable[str]) -> str:
    """A short name of a list of texts; lengths keep ``[ab, c]`` and ``[a, bc]`` apart."""
    texts = [part.encode() for part in parts]
    named = b"".join([b"%d:%b" % (len(text), text) for text in texts])
    return hashlib.blake2b(named, digest_size=12).hexdigest()


def _embed_texts(embeds: list[Embed]) -> list[str]:
    texts: list[str] = []
    for embed in embeds:
        texts += [embed.url or "", embed.title or "", embed.description or ""]
        if embed.footer is not None:
            texts.append(embed.footer.text)
        for field in embed.fields:
            texts += [field.name, field.value]
    return [text for text in texts if text]


def _embed_identities(embeds: list[Embed], content: str) -> list[str]:
    return [
        "\n".join((embed.url or "", embed.title or "", embed.description or "")).lower()
        for embed in embeds
        if embed.type == "rich" and not (embed.url and embed.url.lower() in content)
    ]


def _attachment_identity(attachment: Attachment) -> str:
    size = f"{attachment.width}x{attachment.height}"
    if attachment.placeholder:
        return f"hash:{attachment.placeholder}:{size}"
    return f"file:{attachment.filename}:{attachment.size}:{size}"
