"""One interaction: what was asked, and how far its answer has come.

docs: interactions/receiving-and-responding
"""

import asyncio
from enum import IntEnum
from typing import Any

import msgspec

from components.simulator.clock import Snowflake
from components.simulator.world.entities import Application, Channel, Guild, Message, User


class Kind(IntEnum):
    """docs: #interaction-object-interaction-type"""

    PING = 1
    COMMAND = 2
    COMPONENT = 3
    MODAL_SUBMIT = 5


class Answer(IntEnum):
    """docs: #interaction-response-object-interaction-callback-type"""

    PONG = 1
    MESSAGE = 4
    DEFERRED_MESSAGE = 5
    DEFERRED_UPDATE = 6
    UPDATE_MESSAGE = 7
    MODAL = 9


# Which answers fit which interaction. An update needs a message to update.
FITTING: dict[Kind, frozenset[Answer]] = {
    Kind.COMMAND: frozenset({Answer.MESSAGE, Answer.DEFERRED_MESSAGE, Answer.MODAL}),
    Kind.COMPONENT: frozenset(set(Answer) - {Answer.PONG}),
    Kind.MODAL_SUBMIT: frozenset(set(Answer) - {Answer.PONG, Answer.MODAL}),
}


class Interaction(msgspec.Struct, kw_only=True):
    id: Snowflake
    token: str
    kind: Kind
    application: Application
    guild: Guild | None
    channel: Channel
    user: User
    data: dict[str, Any]
    locale: str
    created: float  # steady seconds
    cause: "Interaction | None" = None  # whose modal was submitted
    source: Message | None = None  # whose component was pressed
    command_name: str | None = None
    answer: Answer | None = None
    answered_over: str | None = None
    original: Message | None = None
    loading: bool = False
    modal: dict[str, Any] | None = None
    messages: dict[Snowflake, Message] = {}  # the original and all follow-ups
    failure: str | None = None
    settled: asyncio.Event = msgspec.field(default_factory=asyncio.Event)

    def describe(self) -> dict[str, Any]:
        """For the record and the control API."""
        return {
            "id": str(self.id),
            "token": self.token,
            "kind": int(self.kind),
            "application_id": str(self.application.id),
            "guild_id": None if self.guild is None else str(self.guild.id),
            "channel_id": str(self.channel.id),
            "user_id": str(self.user.id),
            "name": self.command_name or self.data.get("custom_id"),
            "answer": None if self.answer is None else int(self.answer),
            "answered_over": self.answered_over,
            "loading": self.loading,
            "modal": self.modal,
            "failure": self.failure,
            "original_id": None if self.original is None else str(self.original.id),
        }
