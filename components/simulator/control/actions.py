"""What each control route does. Everything made is answered with its ids."""

from collections.abc import Callable
from typing import Any

import msgspec

from components.simulator import errors
from components.simulator.actions import (
    deletions,
    messages,
    reactions,
)
from components.simulator.actions.drafts import Draft
from components.simulator.actions.references import FORWARD
from components.simulator.clock import Snowflake, parse_iso
from components.simulator.control import requests as rq
from components.simulator.control.gateway_faults import inject
from components.simulator.control.guilds import GuildActions
from components.simulator.control.people import People
from components.simulator.control.state import guild_summary
from components.simulator.faults import Faults, RestFault
from components.simulator.gateway.server import Gateway
from components.simulator.interactions.service import Interactions
from components.simulator.ratelimits import RateLimits
from components.simulator.rest.applications import verify_key
from components.simulator.world.entities import Application, Channel, User
from components.simulator.world.store import World, signing_seed

_UNVERIFIED = (
    "APPLICATION_INTERACTIONS_ENDPOINT_URL_INVALID",
    "The specified interactions endpoint URL could not be verified.",
)

Post = tuple[str, type[Any] | None, Callable[..., Any]]


class Actions:
    def __init__(
        self,
        world: World,
        gateway: Gateway,
        limits: RateLimits,
        faults: Faults,
        interactions: Interactions,
    ) -> None:
        self.world = world
        self.gateway = gateway
        self.limits = limits
        self.faults = faults
        self.guild_actions = GuildActions(world)
        self.people = People(world, interactions)
        self._endpoint = interactions.endpoint

    def posts(self) -> list[Post]:
        """(path, body, action) of every POST."""
        application = "/applications/{application_id}"
        return [
            ("/applications", rq.CreateApplication, self.create_application),
            (application, rq.UpdateApplication, self.update_application),
            *self.guild_actions.posts(),
            ("/messages", rq.PostMessage, self.post_message),
            ("/messages/bulk", rq.PostMessages, self.post_messages),
            ("/messages/edit", rq.EditMessage, self.edit_message),
            ("/messages/delete", rq.MessageRef, self.delete_message),
            ("/reactions", rq.React, self.react),
            ("/reactions/remove", rq.React, self.unreact),
            ("/interactions/command", rq.RunCommand, self.people.run_command),
            ("/interactions/component", rq.PressButton, self.people.press),
            ("/interactions/modal", rq.SubmitModal, self.people.submit),
            (f"{application}/probe", None, self.probe),
            ("/faults", RestFault, self.add_fault),
            ("/gateway-faults", rq.GatewayFault, self.gateway_fault),
            ("/limits", rq.SetLimits, self.set_limits),
        ]

    def health(self) -> dict[str, Any]:
        return {
            "guilds": len(self.world.guilds),
            "sessions": len(self.gateway.sessions),
            "connections": len(self.gateway.connections),
        }

    def applications(self) -> list[dict[str, Any]]:
        return [_application(a) for a in self.world.applications.values()]

    def sessions(self) -> list[dict[str, Any]]:
        return [s.describe() for s in self.gateway.sessions.values()]

    def guilds(self) -> list[dict[str, Any]]:
        return [guild_summary(self.world, g) for g in self.world.guilds.values()]

    def limits_state(self) -> dict[str, Any]:
        return {
            "enabled": self.limits.enabled,
            "buckets": self.limits.numbers,
            "invalid": self.limits.invalid(),
            "global_429": self.limits.refused_globally,
            "banned": self.limits.banned(),
        }

    def create_application(self, asked: rq.CreateApplication) -> dict[str, Any]:
        application_id = asked.id or self.world.ids.next()
        if application_id in self.world.applications or self.world.by_token(asked.token):
            raise ValueError("an application has this id or token")
        application = new_application(
            self.world, application_id, asked.name, asked.token, asked.privileged_intents
        )
        application.interactions_endpoint_url = asked.interactions_endpoint_url
        return _application(application)

    async def update_application(
        self, asked: rq.UpdateApplication, application_id: int
    ) -> dict[str, Any]:
        """Change what is given. An endpoint that fails its probe is not taken (50035)."""
        application = self.world.applications[Snowflake(application_id)]
        if asked.token is not None:
            self.world.set_token(application, asked.token)
            self.gateway.budget.forget(application.id)
        if asked.privileged_intents is not None:
            application.privileged_intents = asked.privileged_intents
        if asked.interactions_endpoint_url is not msgspec.UNSET:
            application.interactions_endpoint_url = asked.interactions_endpoint_url
            given = asked.interactions_endpoint_url is not None
            if given and not await self._endpoint.probe(application):
                raise errors.invalid_form({"interactions_endpoint_url": _UNVERIFIED})
        return _application(application)

    async def probe(self, application_id: int) -> dict[str, Any]:
        """Probe an application's endpoint now, as Discord does at times."""
        application = self.world.applications[Snowflake(application_id)]
        return {"passed": await self._endpoint.probe(application), **_application(application)}

    def post_message(self, asked: rq.PostMessage) -> dict[str, Any]:
        reference: dict[str, Any] | None = None
        if asked.forward is not None:
            forward = asked.forward
            reference = {
                "type": FORWARD,
                "channel_id": forward.channel_id,
                "message_id": forward.message_id,
            }
        elif asked.reply_to is not None:
            reference = {"message_id": asked.reply_to}
        draft = Draft(
            content=asked.content,
            attachments=asked.attachments,
            embeds=asked.embeds,
            components=asked.components,
            sticker_items=[
                {"id": str(self.world.ids.next()), "name": name, "format_type": 1}
                for name in asked.stickers
            ],
            reference=reference,
            allowed_mentions=asked.allowed_mentions,
            nonce=asked.nonce,
        )
        message = messages.create(
            self.world,
            self.world.channel(asked.channel_id),
            asked.author_id,
            draft,
            at_ms=None if asked.created_at is None else parse_iso(asked.created_at),
        )
        return {"id": str(message.id), "channel_id": str(message.channel_id)}

    def post_messages(self, asked: rq.PostMessages) -> dict[str, Any]:
        return {"messages": [self.post_message(one) for one in asked.messages]}

    def edit_message(self, asked: rq.EditMessage) -> dict[str, Any]:
        channel, message = self._message(asked)
        changes: dict[str, Any] = {}
        if asked.content is not None:
            changes["content"] = asked.content
        if asked.embeds is not None:
            changes["embeds"] = asked.embeds
        messages.edit(self.world, channel, message, asked.actor_id, changes)
        return {"id": str(message.id)}

    def delete_message(self, asked: rq.MessageRef) -> dict[str, Any]:
        channel, message = self._message(asked)
        deletions.delete(self.world, channel, message, asked.actor_id)
        return {"id": str(message.id)}

    def react(self, asked: rq.React) -> dict[str, Any]:
        channel, message = self._message(asked)
        reactions.add(self.world, channel, message, asked.actor_id, asked.emoji)
        return {"id": str(message.id)}

    def unreact(self, asked: rq.React) -> dict[str, Any]:
        channel, message = self._message(asked)
        actor = asked.actor_id
        reactions.remove(self.world, channel, message, actor, asked.emoji, actor)
        return {"id": str(message.id)}

    def add_fault(self, asked: RestFault) -> dict[str, Any]:
        return {"id": self.faults.add(asked)}

    def gateway_fault(self, asked: rq.GatewayFault) -> dict[str, Any]:
        return {"connections": inject(self.gateway, asked)}

    def set_limits(self, asked: rq.SetLimits) -> dict[str, Any]:
        if asked.enabled is not None:
            self.limits.enabled = asked.enabled
        self.limits.numbers.update(asked.buckets)
        if asked.forgive:
            self.limits.forgive()
        return self.limits_state()

    def _message(self, asked: rq.MessageRef) -> tuple[Channel, Any]:
        channel = self.world.channel(asked.channel_id)
        return channel, self.world.message(channel, asked.message_id)


def new_application(
    world: World, application_id: Snowflake, name: str, token: str, privileged_intents: int
) -> Application:
    """Register an application with its bot user, which has the same id, as on Discord."""
    application = Application(
        id=application_id,
        name=name,
        token=token,
        bot=User(id=application_id, username=name, bot=True),
        signing_seed=signing_seed(world.settings.seed, application_id),
        privileged_intents=privileged_intents,
    )
    world.add_application(application)
    return application


def _application(application: Application) -> dict[str, Any]:
    return {
        "id": str(application.id),
        "name": application.name,
        "token": application.token,
        "public_key": verify_key(application),
        "bot_id": str(application.bot.id),
        "privileged_intents": application.privileged_intents,
        "interactions_endpoint_url": application.interactions_endpoint_url,
    }
