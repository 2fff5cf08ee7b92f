"""Which of Discord's permissions the bot needs for what it does, and the link that asks for them.

Names and bits: docs, topics/permissions#permissions-bitwise-permission-flags.
"""

from collections.abc import Iterable, Mapping
from typing import Final
from urllib.parse import urlencode

KICK_MEMBERS: Final = 1 << 1
BAN_MEMBERS: Final = 1 << 2
VIEW_AUDIT_LOG: Final = 1 << 7
VIEW_CHANNEL: Final = 1 << 10
SEND_MESSAGES: Final = 1 << 11
MANAGE_MESSAGES: Final = 1 << 13
EMBED_LINKS: Final = 1 << 14
READ_MESSAGE_HISTORY: Final = 1 << 16
MANAGE_ROLES: Final = 1 << 28
CREATE_PUBLIC_THREADS: Final = 1 << 35
SEND_MESSAGES_IN_THREADS: Final = 1 << 38
MODERATE_MEMBERS: Final = 1 << 40

READING: Final = VIEW_CHANNEL | READ_MESSAGE_HISTORY | VIEW_AUDIT_LOG
"""See what is posted, what it answered, and who did what."""

OF_EFFECT: Final[Mapping[str, int]] = {
    "interaction.answer": 0,
    "message.delete": MANAGE_MESSAGES,
    "message.create": SEND_MESSAGES | SEND_MESSAGES_IN_THREADS | EMBED_LINKS,
    "thread.create": CREATE_PUBLIC_THREADS | SEND_MESSAGES_IN_THREADS,
    "member.timeout": MODERATE_MEMBERS,
    "member.kick": KICK_MEMBERS,
    "member.ban": BAN_MEMBERS,
    "member.unban": BAN_MEMBERS,
    "member.role_add": MANAGE_ROLES,
    "member.dm": 0,
    "signal.raise": 0,
}
"""Every kind of effect the engine knows; a test compares the two."""


def needed(effects: Iterable[str] = OF_EFFECT) -> int:
    """The permissions for these kinds of effect, and for reading."""
    permissions = READING
    for kind in effects:
        permissions |= OF_EFFECT[kind]
    return permissions


def invite_link(application_id: str, permissions: int) -> str:
    """Where a server's owner invites the bot (docs: topics/oauth2#bot-authorization-flow)."""
    query = {
        "client_id": application_id,
        "scope": "bot applications.commands",
        "permissions": str(permissions),
    }
    return f"https://discord.com/oauth2/authorize?{urlencode(query)}"
