"""The world: everything that exists, its look-ups, and where its events go.

Changes are made by `components.simulator.actions`; each tells the sink what happened.
Look-ups raise the DiscordError of the thing that is missing.
"""

import hashlib
from collections.abc import Callable
from typing import Any

import msgspec

from components.simulator import errors
from components.simulator.clock import Clock, Snowflake, Snowflakes
from components.simulator.record import Record
from components.simulator.settings import Settings
from components.simulator.world import render
from components.simulator.world.entities import Application, Channel, Guild, Member, Message, User


class Event(msgspec.Struct, frozen=True, kw_only=True):
    """Something Discord tells bots about. Who hears of it is the gateway's matter.

    `channel` limits it to bots that see the channel; `recipients` to these bots' users, whatever
    their intents say (interactions, READY-like events); `subject` is the id that the record names.
    """

    name: str
    guild: Guild | None
    data: dict[str, Any]
    channel: Channel | None = None
    message: Message | None = None
    recipients: frozenset[Snowflake] | None = None
    subject: Snowflake | None = None


class World:
    def __init__(self, settings: Settings, clock: Clock, record: Record) -> None:
        self.settings = settings
        self.clock = clock
        self.record = record
        self.ids = Snowflakes(clock, settings.seed)
        self.guilds: dict[Snowflake, Guild] = {}
        self.users: dict[Snowflake, User] = {}
        self.channels: dict[Snowflake, Channel] = {}
        self.applications: dict[Snowflake, Application] = {}
        self.nonces: dict[tuple[Snowflake, Snowflake, str], tuple[Message, float]] = {}
        self._by_token: dict[str, Application] = {}
        self._by_bot: dict[Snowflake, Application] = {}
        self.sink: Callable[[Event], None] = lambda event: None

    def emit(self, event: Event) -> None:
        """Hand an event to the gateway, before any later change is made."""
        self.sink(event)

    def add_application(self, application: Application) -> None:
        """Register an application and its bot user."""
        self.applications[application.id] = application
        self.users[application.bot.id] = application.bot
        self._by_bot[application.bot.id] = application
        if application.token is not None:
            self._by_token[application.token] = application

    def set_token(self, application: Application, token: str | None) -> None:
        """Give an application another token; None leaves it without one, as a reset does."""
        if application.token is not None:
            self._by_token.pop(application.token, None)
        application.token = token
        if token is not None:
            self._by_token[token] = application

    def by_token(self, token: str) -> Application | None:
        return self._by_token.get(token)

    def by_bot(self, user_id: Snowflake) -> Application | None:
        return self._by_bot.get(user_id)

    def guild(self, guild_id: Snowflake) -> Guild:
        found = self.guilds.get(guild_id)
        if found is None:
            raise errors.unknown("guild")
        return found

    def channel(self, channel_id: Snowflake) -> Channel:
        found = self.channels.get(channel_id)
        if found is None:
            raise errors.unknown("channel")
        return found

    def guild_channel(self, channel_id: Snowflake) -> tuple[Guild, Channel]:
        """A channel of a guild. A direct channel is no guild channel: 10003."""
        channel = self.channel(channel_id)
        if channel.guild_id is None:
            raise errors.unknown("channel")
        return self.guild(channel.guild_id), channel

    def user(self, user_id: Snowflake) -> User:
        found = self.users.get(user_id)
        if found is None:
            raise errors.unknown("user")
        return found

    def member(self, guild: Guild, user_id: Snowflake) -> Member:
        """10007 when not a member, 10013 when there is no such account."""
        found = guild.members.get(user_id)
        if found is None:
            raise errors.unknown("member" if user_id in self.users else "user")
        return found

    def message(self, channel: Channel, message_id: Snowflake) -> Message:
        found = channel.messages.get(message_id)
        if found is None:
            raise errors.unknown("message")
        return found

    def render_message(self, message: Message, viewer: Snowflake | None = None) -> dict[str, Any]:
        """A message as REST shows it, with what it refers to."""
        body = self._render_one(message, viewer)
        reference = message.reference
        if message.type == 19 and reference is not None:  # a reply
            channel = self.channels.get(Snowflake(int(reference["channel_id"])))
            original = None
            if channel is not None:
                original = channel.messages.get(Snowflake(int(reference["message_id"])))
            body["referenced_message"] = (
                None if original is None else self._render_one(original, viewer)
            )
        return body

    def render_channel(self, channel: Channel, viewer: Snowflake) -> dict[str, Any]:
        if channel.guild_id is None:
            others = [self.users[u] for u in channel.recipients if u != viewer]
            return render.dm_channel(channel, others)
        return render.channel(channel)

    def _render_one(self, message: Message, viewer: Snowflake | None) -> dict[str, Any]:
        thread = None if message.thread_id is None else self.channels.get(message.thread_id)
        return render.message(
            message,
            self.users[message.author_id],
            [self.users[u] for u in message.mentions],
            thread,
            viewer,
        )


def signing_seed(seed: int, application_id: int) -> bytes:
    """An application's Ed25519 seed: the same after a restart, so that a stored key still fits."""
    return hashlib.sha256(f"simulator {seed} {application_id}".encode()).digest()
