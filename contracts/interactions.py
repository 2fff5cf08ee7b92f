"""First responses to interactions: what a receiver may do before, or without, the owner.

Discord wants an answer within 3 s from whoever received the interaction. The receiver (shard or
edge) appends the interaction to the guild's log, waits `OWNER_WAIT_S` for the owner's
`InteractionAnswer`, and otherwise defers as `deferral_of` says; the owner's answer then becomes
an edit. ``COMMANDS`` is also what is deployed to Discord.

Components carry custom ids of the form ``mb1:<guild>:<name>:<argument>`` (`custom_id`), so that
a press in a direct message still says whose log it belongs to. That is a route, not a right: the
guild's owner checks the interaction like any input.
"""

import re
from typing import Any, Final, Literal

import msgspec

from contracts.ids import Epoch, GuildId, InteractionId, Sequence, is_snowflake
from contracts.message import Message, decode

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

PING: Final = 1
COMMAND: Final = 2
COMPONENT: Final = 3
"""Interaction types (docs: interactions/receiving-and-responding#interaction-object)."""

CUSTOM_ID_VERSION: Final = "mb1"
MAX_CUSTOM_ID: Final = 100
"""Characters of a custom id (docs: components/reference#anatomy-of-a-component-custom-id)."""
_CUSTOM_ID_NAME: Final = re.compile(r"[a-z0-9_.-]+", re.ASCII)


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
    if interaction_type == COMPONENT:
        return Deferral(type=DEFERRED_UPDATE_MESSAGE, ephemeral=False)
    for command in COMMANDS:
        if command.name == name:
            return Deferral(type=DEFERRED_CHANNEL_MESSAGE, ephemeral=command.ephemeral)
    return Deferral(type=DEFERRED_CHANNEL_MESSAGE, ephemeral=True)


class CustomId(msgspec.Struct, frozen=True, kw_only=True):
    """What a component's custom id says."""

    guild: GuildId
    name: str
    argument: str = ""

    def __str__(self) -> str:
        """The custom id as Discord stores it."""
        return f"{CUSTOM_ID_VERSION}:{self.guild}:{self.name}:{self.argument}"


def custom_id(guild: GuildId, name: str, argument: str = "") -> str:
    """A component's custom id. Raises `ValueError` for a guild that is no id, a name outside
    ``[a-z0-9_.-]`` and more than 100 characters in all."""
    text = str(CustomId(guild=guild, name=name, argument=argument))
    if not is_snowflake(guild):
        raise ValueError(f"not a guild id: {guild!r}")
    if not _CUSTOM_ID_NAME.fullmatch(name):
        raise ValueError(f"not a component's name: {name!r}")
    if len(text) > MAX_CUSTOM_ID:
        raise ValueError(f"custom id of {len(text)} characters; Discord takes {MAX_CUSTOM_ID}")
    return text


def parse_custom_id(text: str) -> CustomId | None:
    """What the custom id says; None when it is not one of ours."""
    version, *parts = text.split(":", 3)
    if version != CUSTOM_ID_VERSION or len(parts) != 3 or len(text) > MAX_CUSTOM_ID:
        return None
    guild, name, argument = parts
    if not is_snowflake(guild) or not _CUSTOM_ID_NAME.fullmatch(name):
        return None
    return CustomId(guild=GuildId(guild), name=name, argument=argument)


class InteractionTarget(Message, frozen=True, kw_only=True):
    """What an interaction is about: a command's name or a component's custom id."""

    name: str = ""
    custom_id: str = ""


class InteractionHead(Message, frozen=True, kw_only=True):
    """The part of Discord's interaction object that its receiver needs."""

    id: InteractionId
    type: int
    guild_id: GuildId | None = None
    data: InteractionTarget | None = None

    @property
    def name(self) -> str:
        """A command's name or a component's custom id, as `deferral_of` takes it."""
        if self.data is None:
            return ""
        return self.data.name or self.data.custom_id


def read_interaction(data: bytes) -> InteractionHead:
    """The head of an interaction; `MalformedMessage` when it is none."""
    return decode(data, InteractionHead)


def guild_of_interaction(interaction: InteractionHead) -> GuildId | None:
    """The guild whose log takes the interaction: where it happened, else the one that its custom
    id names; None when there is neither, and the receiver answers in words."""
    if interaction.guild_id is not None:
        return interaction.guild_id if is_snowflake(interaction.guild_id) else None
    named = parse_custom_id(interaction.data.custom_id) if interaction.data else None
    return named.guild if named else None


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
