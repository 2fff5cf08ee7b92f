"""Messages that answer interactions: ephemeral or not, loading or not, and their edits.

docs: interactions/receiving-and-responding#interaction-response-object
"""

from typing import Any

from components.simulator import permissions
from components.simulator.actions import messages
from components.simulator.actions.drafts import Draft
from components.simulator.interactions.interaction import Interaction, Kind
from components.simulator.rest.messages import draft_of
from components.simulator.world import render
from components.simulator.world.entities import Message
from components.simulator.world.store import World

EPHEMERAL = 1 << 6
LOADING = 1 << 7
_CHAT_INPUT, _CONTEXT_MENU = 20, 23


def draft_of_answer(
    interaction: Interaction, fields: dict[str, Any], *, loading: bool = False
) -> Draft:
    """An answer's body as a draft, marked as this interaction's."""
    kind = 0
    if interaction.kind == Kind.COMMAND and interaction.original is None:
        kind = _CHAT_INPUT if interaction.data.get("type") == 1 else _CONTEXT_MENU
    application = interaction.application.id
    return draft_of(
        fields | ({"flags": int(fields.get("flags") or 0) | LOADING} if loading else {}),
        type=kind,
        application_id=application,
        webhook_id=application,
        interaction_metadata=_metadata(interaction),
    )


def post_message(
    world: World, interaction: Interaction, draft: Draft, *, loading: bool = False
) -> Message:
    """Post an answer. It needs no permission to send; an ephemeral one is told to nobody."""
    bot = interaction.application.bot.id
    message = messages.compose(
        world, interaction.channel, bot, draft, _may(interaction), allow_empty=loading
    )
    interaction.messages[message.id] = message
    if draft.flags & EPHEMERAL:
        message.ephemeral_to = interaction.user.id
    else:
        messages.store(world, interaction.channel, message)
    return message


def edit_message(
    world: World, interaction: Interaction, message: Message, fields: dict[str, Any]
) -> None:
    """Edit an answer or the pressed component's message; a loading one is complete then."""
    messages.apply_edit(world, interaction.channel, message, fields, _may(interaction))
    if message.flags & LOADING:
        message.flags &= ~LOADING
        interaction.loading = False
    else:
        message.edited_ms = world.clock.now_ms()
    if message.ephemeral_to is None:
        messages.tell(world, "MESSAGE_UPDATE", interaction.channel, message)


def _may(interaction: Interaction) -> int:
    guild = interaction.guild
    if guild is None:
        return permissions.ALL
    bot = guild.members.get(interaction.application.bot.id)
    if bot is None:
        return 0
    return permissions.channel_permissions(guild, interaction.channel, bot)


def _metadata(interaction: Interaction) -> dict[str, Any]:
    """docs: resources/message#message-interaction-metadata-object"""
    owners = {} if interaction.guild is None else {"0": str(interaction.guild.id)}
    metadata: dict[str, Any] = {
        "id": str(interaction.id),
        "type": int(interaction.kind),
        "user": render.user(interaction.user),
        "authorizing_integration_owners": owners,
    }
    if interaction.kind == Kind.COMPONENT and interaction.source is not None:
        metadata["interacted_message_id"] = str(interaction.source.id)
    if interaction.cause is not None:
        metadata["triggering_interaction_metadata"] = _metadata(interaction.cause)
    return metadata
