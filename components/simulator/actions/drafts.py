"""What someone wants to post, and Discord's limits on it.

docs: resources/message#create-message, resources/message#embed-object-embed-limits
"""

from typing import Any

import msgspec

from components.simulator import errors
from components.simulator.clock import Snowflake

CONTENT_MAX = 2000
EMBEDS_MAX = 10
EMBED_TOTAL_MAX = 6000
NONCE_MAX = 25
COMPONENTS_V2 = 1 << 15
_EMBED_MAX = {"title": 256, "description": 4096}


class Draft(msgspec.Struct, frozen=True, kw_only=True):
    content: str = ""
    embeds: list[dict[str, Any]] = []
    components: list[dict[str, Any]] = []
    attachments: list[dict[str, Any]] = []
    sticker_items: list[dict[str, Any]] = []
    type: int = 0
    flags: int = 0
    tts: bool = False
    nonce: str | int | None = None
    enforce_nonce: bool = False
    reference: dict[str, Any] | None = None
    allowed_mentions: dict[str, Any] | None = None
    application_id: Snowflake | None = None
    webhook_id: Snowflake | None = None
    interaction_metadata: dict[str, Any] | None = None


def check_draft(draft: Draft) -> None:
    """Raise 50006 for an empty message and 50035 for one beyond a limit."""
    wrong: dict[str, tuple[str, str]] = {}
    if len(draft.content) > CONTENT_MAX:
        wrong["content"] = _too_long(CONTENT_MAX)
    if draft.nonce is not None and len(str(draft.nonce)) > NONCE_MAX:
        wrong["nonce"] = _too_long(NONCE_MAX)
    if len(draft.embeds) > EMBEDS_MAX:
        wrong["embeds"] = ("BASE_TYPE_MAX_LENGTH", "Must be 10 or fewer in length.")
    total = 0
    for i, embed in enumerate(draft.embeds):
        total += _check_embed(f"embeds.{i}", embed, wrong)
    if total > EMBED_TOTAL_MAX:
        wrong["embeds"] = (
            "MAX_EMBED_SIZE_EXCEEDED",
            f"Embed size exceeds maximum size of {EMBED_TOTAL_MAX}",
        )
    if draft.flags & COMPONENTS_V2 and (draft.content or draft.embeds):
        field = "content" if draft.content else "embeds"
        wrong[field] = (
            "MESSAGE_CANNOT_USE_LEGACY_FIELDS_WITH_COMPONENTS_V2",
            f"The '{field}' field cannot be used when using MessageFlags.IS_COMPONENTS_V2",
        )
    if wrong:
        raise errors.invalid_form(wrong)
    something = (
        draft.content.strip(),
        draft.embeds,
        draft.attachments,
        draft.sticker_items,
        draft.components,
    )
    if not any(something):
        raise errors.bad_request(50006, "Cannot send an empty message")


def _too_long(limit: int) -> tuple[str, str]:
    return ("BASE_TYPE_MAX_LENGTH", f"Must be {limit} or fewer in length.")


def _check_embed(path: str, embed: dict[str, Any], wrong: dict[str, tuple[str, str]]) -> int:
    parts: list[tuple[str, Any, int]] = [
        (f"{path}.{key}", embed.get(key), limit) for key, limit in _EMBED_MAX.items()
    ]
    parts.append((f"{path}.footer.text", (embed.get("footer") or {}).get("text"), 2048))
    parts.append((f"{path}.author.name", (embed.get("author") or {}).get("name"), 256))
    fields = embed.get("fields") or []
    if len(fields) > 25:
        wrong[f"{path}.fields"] = ("BASE_TYPE_MAX_LENGTH", "Must be 25 or fewer in length.")
    for i, field in enumerate(fields):
        for key, limit in (("name", 256), ("value", 1024)):
            if not field.get(key):
                wrong[f"{path}.fields.{i}.{key}"] = (
                    "BASE_TYPE_REQUIRED",
                    "This field is required",
                )
            parts.append((f"{path}.fields.{i}.{key}", field.get(key), limit))
    total = 0
    for where, text, limit in parts:
        length = len(text) if isinstance(text, str) else 0
        total += length
        if length > limit:
            wrong[where] = _too_long(limit)
    return total
