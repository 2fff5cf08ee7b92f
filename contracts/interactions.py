"""First responses to interactions: what a receiver may do before, or without, the owner.

Discord wants an answer within 3 s from whoever received the interaction. The receiver (shard or
edge) appends the interaction to the guild's log, waits `OWNER_WAIT_S` for the owner's
`InteractionAnswer`, and otherwise defers as `deferral_of` says; the owner's answer then becomes
an edit. ``COMMANDS`` is also what is deployed to Discord.
"""

from typing import Any, Final, Literal

import msgspec

from contracts.ids import Epoch, InteractionId, Sequence
from contracts.message import Message

OWNER_WAIT_S: Final = 1.0
EPHEMERAL: Final = 1 << 6
"""Message flag (docs: resources/message#message-object-message-flags)."""

PONG: Final = 1
CHANNEL_MESSAGE: Final = 4
DEFERRED_CHANNEL_MESSAGE: Final = 5
DEFERRED_UPDATE_MESSAGE: Final = 6
UPDATE_MESSAGE: Final = 7
"""Callback types (docs: interactions/receiving-and-responding)."""

MANAGE_MESSAGES: Final = 1 << 13


class CommandOption(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """An option of a command, as Discord takes it."""

    type: int
    name: str
    description: str
    required: bool = False
    min_value: int | None = None
    options: tuple["CommandOption", ...] = ()


class DiscordCommand(msgspec.Struct, frozen=True, kw_only=True):
    """A command that modbot deploys, and how it is deferred."""

    name: str
    description: str
    default_member_permissions: int
    options: tuple[CommandOption, ...] = ()
    ephemeral: bool = True

    def as_discord(self) -> dict[str, Any]:
        """The body of one element of bulk overwrite (docs: interactions/application-commands)."""
        return {
            "type": 1,
            "name": self.name,
            "description": self.description,
            "default_member_permissions": str(self.default_member_permissions),
            "contexts": [0],
            "options": msgspec.to_builtins(self.options),
        }


COMMANDS: Final = (
    DiscordCommand(
        name="case",
        description="Look at the moderation cases of this server",
        default_member_permissions=MANAGE_MESSAGES,
        options=(
            CommandOption(
                type=1,
                name="view",
                description="Show one case",
                options=(
                    CommandOption(
                        type=4,
                        name="number",
                        description="The case's number",
                        required=True,
                        min_value=1,
                    ),
                ),
            ),
        ),
    ),
)


class Deferral(msgspec.Struct, frozen=True, kw_only=True):
    """The first response that buys the owner time."""

    type: Literal[5, 6]
    ephemeral: bool

    def as_discord(self) -> dict[str, Any]:
        """The callback's body."""
        if self.ephemeral:
            return {"type": self.type, "data": {"flags": EPHEMERAL}}
        return {"type": self.type}


def deferral_of(interaction_type: int, name: str) -> Deferral:
    """How an interaction is deferred: ``name`` is a command's name or a component's custom id.

    A component is deferred as an update of its message; a command, known or not, as a message
    that only its caller sees unless the command says otherwise.
    """
    if interaction_type == 3:
        return Deferral(type=DEFERRED_UPDATE_MESSAGE, ephemeral=False)
    for command in COMMANDS:
        if command.name == name:
            return Deferral(type=DEFERRED_CHANNEL_MESSAGE, ephemeral=command.ephemeral)
    return Deferral(type=DEFERRED_CHANNEL_MESSAGE, ephemeral=True)


class InteractionAnswer(Message, frozen=True, kw_only=True):
    """The owner's answer, sent as a request to the subject on which the receiver waits."""

    interaction: InteractionId
    type: int
    """Callback type."""
    data: msgspec.Raw
    """Callback data: a message."""
    epoch: Epoch
    sequence: Sequence
    """The input that held the interaction."""


class AnswerTaken(Message, frozen=True, kw_only=True):
    """The receiver's reply: ``taken`` means it gave the answer to Discord as the first response;
    otherwise it has deferred and the owner edits the original response."""

    taken: bool
