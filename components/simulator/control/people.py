"""People using the bot: commands, buttons, selects, modals.

What their client could not send is a ValueError, what Discord refuses them a DiscordError.
"""

import asyncio
import contextlib
from typing import Any

from components.simulator import errors, permissions
from components.simulator.clock import Snowflake
from components.simulator.control import requests as rq
from components.simulator.control.state import message_state
from components.simulator.interactions.interaction import Interaction, Kind
from components.simulator.interactions.payload import (
    context_data,
    find_command,
    require_may_use,
    slash_data,
)
from components.simulator.interactions.service import Interactions
from components.simulator.world.entities import Application, Channel, Guild, User
from components.simulator.world.store import World

_BUTTON = 2


class People:
    def __init__(self, world: World, interactions: Interactions) -> None:
        self._world = world
        self._interactions = interactions

    def run_command(self, asked: rq.RunCommand) -> dict[str, Any]:
        channel, guild, user = self._place(asked.channel_id, asked.user_id)
        application = self._application(guild, asked.application_id)
        if asked.type == 1:
            name, *path = asked.name.split(" ")
        else:
            name, path = asked.name, []
        command = find_command(application, guild, name, asked.type)
        if guild is not None:
            require_may_use(guild, user.id, command)
            permissions.require_channel(
                guild,
                channel,
                user.id,
                permissions.USE_APPLICATION_COMMANDS,
                self._world.clock.now_ms(),
            )
        if asked.type == 1:
            data = slash_data(self._world, guild, command, path, asked.options)
        else:
            if asked.target_id is None:
                raise ValueError("target_id is missing")
            data = context_data(
                self._world, guild, channel, command, asked.target_id, application.bot.id
            )
        interaction = self._interactions.start(
            application,
            channel,
            user,
            Kind.COMMAND,
            data,
            asked.locale,
            command_name=asked.name,
        )
        return _made(interaction)

    def press(self, asked: rq.PressButton) -> dict[str, Any]:
        channel, guild, user = self._place(asked.channel_id, asked.user_id)
        message = channel.messages.get(asked.message_id)
        if message is None:
            message = self._interactions.ephemeral(channel, asked.message_id)
        if message is None or message.ephemeral_to not in (None, user.id):
            raise errors.unknown("message")
        if guild is not None:
            now = self._world.clock.now_ms()
            permissions.require_channel(guild, channel, user.id, 0, now)
        component = _component(message.components, asked.custom_id)
        if component.get("disabled"):
            raise ValueError(f"component {asked.custom_id!r} is disabled")
        data: dict[str, Any] = {
            "custom_id": asked.custom_id,
            "component_type": component["type"],
            "id": component["id"],
        }
        if component["type"] != _BUTTON:
            data["values"] = asked.values or []
        application = self._world.by_bot(message.author_id)
        if application is None:
            raise ValueError("the message is not a bot's")
        interaction = self._interactions.start(
            application, channel, user, Kind.COMPONENT, data, asked.locale, source=message
        )
        return _made(interaction)

    def submit(self, asked: rq.SubmitModal) -> dict[str, Any]:
        """Fill in the modal that answered an interaction and send it off."""
        before = self._interactions.find(asked.interaction_id)
        if before.modal is None:
            raise ValueError("the interaction was not answered with a modal")
        data = {
            "custom_id": before.modal["custom_id"],
            "components": [_filled(row, asked.values) for row in before.modal["components"]],
        }
        interaction = self._interactions.start(
            before.application,
            before.channel,
            before.user,
            Kind.MODAL_SUBMIT,
            data,
            before.locale,
            source=before.source,
            cause=before,
        )
        return _made(interaction)

    async def outcome(self, interaction_id: int, wait_s: float) -> dict[str, Any]:
        """How an interaction stands, after waiting up to `wait_s` for its first answer."""
        interaction = self._interactions.find(Snowflake(interaction_id))
        with contextlib.suppress(TimeoutError):  # the answer says how it stands
            await asyncio.wait_for(interaction.settled.wait(), wait_s)
        shown = [message_state(self._world, m) for m in interaction.messages.values()]
        return {**interaction.describe(), "messages": shown}

    def _place(
        self, channel_id: Snowflake, user_id: Snowflake
    ) -> tuple[Channel, Guild | None, User]:
        channel = self._world.channel(channel_id)
        if channel.guild_id is None:
            return channel, None, self._world.user(user_id)
        guild = self._world.guilds[channel.guild_id]
        return channel, guild, self._world.member(guild, user_id).user

    def _application(self, guild: Guild | None, wanted: Snowflake | None) -> Application:
        present = self._world.applications if guild is None else guild.applications
        chosen = next(iter(present), None) if wanted is None else wanted
        if chosen is None or chosen not in present:
            raise ValueError("no such application here")
        return self._world.applications[chosen]


def _made(interaction: Interaction) -> dict[str, Any]:
    return {"id": str(interaction.id), "token": interaction.token}


def _component(components: list[dict[str, Any]], custom_id: str) -> dict[str, Any]:
    found = _find(components, custom_id)
    if found is None:
        raise ValueError(f"the message has no component {custom_id!r}")
    return found


def _find(components: list[dict[str, Any]], custom_id: str) -> dict[str, Any] | None:
    for component in components:
        if component.get("custom_id") == custom_id:
            return component
        inside = list(component.get("components") or [])
        if component.get("accessory"):
            inside.append(component["accessory"])
        found = _find(inside, custom_id)
        if found is not None:
            return found
    return None


def _filled(component: dict[str, Any], values: dict[str, str]) -> dict[str, Any]:
    """A modal's component as submitted: rows and labels keep their shape.

    docs: components/reference#text-input-text-input-interaction-response-structure
    """
    kind = component["type"]
    out: dict[str, Any] = {"type": kind, "id": component.get("id", 0)}
    if kind == 1:
        out["components"] = [_filled(c, values) for c in component["components"]]
    elif kind == 18:  # a label
        out["component"] = _filled(component["component"], values)
    elif "custom_id" in component:
        custom_id = component["custom_id"]
        if component.get("required", True) and not values.get(custom_id):
            raise ValueError(f"{custom_id!r} must be filled in")
        out["custom_id"] = custom_id
        text = values.get(custom_id, "")
        if kind == 4:
            out["value"] = text
        else:
            out["values"] = [text] if text else []
    return out
