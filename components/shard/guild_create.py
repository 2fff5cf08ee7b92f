"""A GUILD_CREATE, trimmed to what moderation needs and split below the payload limit. Pure.

Every part is a GUILD_CREATE of its own, with the guild's name and owner and with some of the
roles, channels and threads; together the parts hold each of them once. A guild that fits is one
part. Raises `msgspec.MsgspecError` for what is not a guild.
"""

from collections.abc import Iterator
from typing import Final

import msgspec

from contracts.ids import UserId

HEAD: Final = ("id", "name", "owner_id", "unavailable")
LISTS: Final = {
    "roles": ("id", "name", "permissions", "position"),
    "channels": ("id", "name", "type", "parent_id", "position"),
    "threads": ("id", "parent_id", "name", "type"),
}


class Identity(msgspec.Struct, frozen=True, kw_only=True):
    """Who the bot is. READY is on no guild's log, so every snapshot of a guild says it."""

    user_id: UserId
    application_id: str


_decode_guild = msgspec.json.Decoder(dict[str, msgspec.Raw]).decode
_decode_items = msgspec.json.Decoder(list[dict[str, msgspec.Raw]] | None).decode


def parts_of(data: bytes, identity: Identity, limit: int) -> list[bytes]:
    """The parts, each at most ``limit`` bytes as far as its single items allow."""
    guild = _decode_guild(data)
    head: dict[str, bytes] = {name: bytes(guild[name]) for name in HEAD if name in guild}
    head["modbot"] = msgspec.json.encode(identity)
    parts: list[bytes] = []
    lists: dict[str, list[bytes]] = {}
    base = size = sum(len(name) + len(value) + 4 for name, value in head.items()) + 64
    for name, item in _items(guild):
        if size + len(item) + 1 > limit and lists:
            parts.append(_part(head, lists))
            lists, size = {}, base
        lists.setdefault(name, []).append(item)
        size += len(item) + 1
    if lists or not parts:
        parts.append(_part(head, lists))
    return parts


def _items(guild: dict[str, msgspec.Raw]) -> Iterator[tuple[str, bytes]]:
    for name, kept in LISTS.items():
        for item in _decode_items(guild.get(name, msgspec.Raw(b"null"))) or []:
            yield name, msgspec.json.encode({key: item[key] for key in kept if key in item})


def _part(head: dict[str, bytes], lists: dict[str, list[bytes]]) -> bytes:
    fields = [b'"%b":%b' % (name.encode(), value) for name, value in head.items()]
    fields += [b'"%b":[%b]' % (name.encode(), b",".join(items)) for name, items in lists.items()]
    return b"{%b}" % b",".join(fields)
