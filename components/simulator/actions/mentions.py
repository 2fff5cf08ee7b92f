"""Which users and roles a text mentions, given who wrote it and what they allow.

docs: reference#message-formatting, resources/message#allowed-mentions-object
"""

import re
from typing import Any

import msgspec

from components.simulator import permissions
from components.simulator.clock import Snowflake
from components.simulator.world.entities import Guild

_USER = re.compile(r"<@!?(\d{15,21})>")
_ROLE = re.compile(r"<@&(\d{15,21})>")
_EVERYONE = re.compile(r"@(?:everyone|here)\b")


class Mentions(msgspec.Struct, frozen=True, kw_only=True):
    users: list[Snowflake] = []
    roles: list[Snowflake] = []
    everyone: bool = False


def find(
    guild: Guild | None,
    known_users: dict[Snowflake, Any],
    text: str,
    may: int,
    allowed: dict[str, Any] | None,
    replied_to: Snowflake | None,
) -> Mentions:
    """The mentions that take effect. `may` are the author's permissions in the channel."""
    parse = None if allowed is None else set(allowed.get("parse") or [])
    users: list[Snowflake] = []
    if "<@" in text:
        for text_id in _USER.findall(text):
            user_id = Snowflake(int(text_id))
            new = user_id in known_users and user_id not in users
            if new and _allows(parse, allowed, "users", user_id):
                users.append(user_id)
    reply_pings = allowed is None or bool(allowed.get("replied_user", False))
    if replied_to is not None and reply_pings and replied_to not in users:
        users.append(replied_to)
    if guild is None:
        return Mentions(users=users)
    roles: list[Snowflake] = []
    if "<@&" in text:
        for text_id in _ROLE.findall(text):
            role = guild.roles.get(Snowflake(int(text_id)))
            if role is None or role.id in roles:
                continue
            pingable = role.mentionable or may & permissions.MENTION_EVERYONE
            if pingable and _allows(parse, allowed, "roles", role.id):
                roles.append(role.id)
    everyone = (
        bool(may & permissions.MENTION_EVERYONE)
        and (parse is None or "everyone" in parse)
        and _EVERYONE.search(text) is not None
    )
    return Mentions(users=users, roles=roles, everyone=everyone)


def _allows(
    parse: set[str] | None, allowed: dict[str, Any] | None, kind: str, one: Snowflake
) -> bool:
    if parse is None or allowed is None or kind in parse:
        return True
    return str(one) in [str(i) for i in allowed.get(kind) or []]
