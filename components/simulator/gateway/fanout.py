"""Who hears of an event: shard, intents, visibility, and content only for those who may read it.

An event is encoded once per variant, not once per session. Order: every session gets events in the
order in which the world emitted them.
docs: events/gateway#gateway-intents, events/gateway#message-content-intent
"""

from collections.abc import Callable
from typing import Any

import msgspec

from components.simulator import permissions
from components.simulator.clock import Snowflake
from components.simulator.gateway.protocol import INTENT_OF, Intent
from components.simulator.gateway.session import Session
from components.simulator.record import Record
from components.simulator.world import render
from components.simulator.world.entities import Application, Message
from components.simulator.world.store import Event

BLANKED: dict[str, Any] = {"content": "", "embeds": [], "attachments": [], "components": []}

_encode = msgspec.json.encode


class Fanout:
    def __init__(self, record: Record, check: Callable[[str, dict[str, Any]], None]) -> None:
        self._record = record
        self.check = check
        self.sessions: dict[str, Session] = {}

    def publish(self, event: Event) -> None:
        """Give an event to every session that hears of it."""
        if not self.sessions:
            return
        if event.name != "GUILD_CREATE":
            self.check(event.name, event.data)
        encoded: dict[tuple[bool, bool], bytes] = {}
        for session in self.sessions.values():
            if not self._hears(session, event):
                continue
            if event.name == "GUILD_CREATE":
                self.guild_create(session, event)
                continue
            message = event.message
            variant = (False, True)
            if message is not None:
                own = message.author_id == session.application.bot.id
                variant = (not may_read(session, message), own or message.nonce is None)
            if variant not in encoded:
                encoded[variant] = _encode(_variant(event, *variant))
            self.send(session, event.name, encoded[variant], event)

    def guild_create(self, session: Session, event: Event) -> None:
        """GUILD_CREATE, which differs by session. docs: events/gateway-events#guild-create"""
        guild = event.guild
        assert guild is not None
        data = render.guild_create(
            guild,
            session.application.bot.id,
            session.large_threshold,
            bool(session.intents & Intent.GUILD_MEMBERS),
        )
        self.check("GUILD_CREATE", data)
        self.send(session, "GUILD_CREATE", _encode(data), event)

    def send(self, session: Session, name: str, data: bytes, event: Event | None = None) -> None:
        """Dispatch to one session and record it."""
        seq = session.dispatch(name, data)
        guild = None if event is None or event.guild is None else str(event.guild.id)
        subject = None if event is None or event.subject is None else str(event.subject)
        self._record.add(
            "dispatch",
            {
                "session": session.id,
                "seq": seq,
                "event": name,
                "guild_id": guild,
                "subject_id": subject,
                "sent": session.send is not None,
            },
        )

    def _hears(self, session: Session, event: Event) -> bool:
        application = session.application
        bot = application.bot.id
        guild = event.guild
        in_guild, in_direct = INTENT_OF[event.name]
        needed = in_guild if guild is not None else in_direct
        # A bot's own member is told about without the members intent.
        about_itself = event.name == "GUILD_MEMBER_UPDATE" and event.subject == bot
        if needed and not session.intents & needed and not about_itself:
            return False
        if event.name == "THREAD_MEMBERS_UPDATE" and not session.intents & Intent.GUILD_MEMBERS:
            # docs: events/gateway#list-of-intents: without it, only about the bot itself
            about_itself = str(bot) in _whom(event.data)
            if not about_itself:
                return False
        if not session.wants(guild):
            return False
        if event.recipients is not None:
            return bot in event.recipients
        if guild is None:
            return event.channel is not None and bot in event.channel.recipients
        if application.id not in guild.applications:
            return False
        return event.channel is None or _sees(application, event)


def may_read(session: Session, message: Message) -> bool:
    """Content is for the intent, the author, the mentioned, and direct messages."""
    bot = session.application.bot.id
    return (
        bool(session.intents & Intent.MESSAGE_CONTENT)
        or message.guild_id is None
        or message.author_id == bot
        or bot in message.mentions
    )


def _sees(application: Application, event: Event) -> bool:
    guild, channel = event.guild, event.channel
    assert guild is not None
    assert channel is not None
    member = guild.members.get(Snowflake(application.bot.id))
    if member is None:
        return False
    bits = permissions.channel_permissions(guild, channel, member)
    if not bits & permissions.VIEW_CHANNEL:
        return False
    if channel.type == 12 and channel.thread is not None:  # a private thread
        return bool(bits & permissions.MANAGE_THREADS) or member.user.id in channel.thread.members
    return True


def _whom(data: dict[str, Any]) -> set[str]:
    added = {str(member["user_id"]) for member in data.get("added_members", [])}
    return added | set(data.get("removed_member_ids", []))


def _variant(event: Event, blank: bool, with_nonce: bool) -> dict[str, Any]:
    data = event.data
    if not with_nonce:  # a nonce is its sender's business
        data = {key: value for key, value in data.items() if key != "nonce"}
    if blank:
        data = {**data, **BLANKED}
        if "message_snapshots" in data:
            data["message_snapshots"] = [
                {"message": {**snapshot["message"], **BLANKED}}
                for snapshot in data["message_snapshots"]
            ]
        if data.get("referenced_message"):
            data["referenced_message"] = {**data["referenced_message"], **BLANKED}
    return data
