"""Starting interactions, and the rules of answering them: 3 s, once, 15 min.

docs: interactions/receiving-and-responding
"""

import asyncio
import logging
import secrets
from typing import Any

import aiohttp
import msgspec

from components.simulator import errors
from components.simulator.actions import deletions
from components.simulator.clock import Snowflake
from components.simulator.errors import DiscordError
from components.simulator.interactions import payload as payloads
from components.simulator.interactions.endpoint import Endpoint
from components.simulator.interactions.interaction import FITTING, Answer, Interaction, Kind
from components.simulator.interactions.responses import draft_of_answer, edit_message, post_message
from components.simulator.world.entities import Application, Channel, Message, User
from components.simulator.world.store import Event, World

log = logging.getLogger(__name__)


class Interactions:
    def __init__(self, world: World, endpoint: Endpoint) -> None:
        self.endpoint = endpoint
        self._world = world
        self._by_id: dict[Snowflake, Interaction] = {}
        self._by_token: dict[str, Interaction] = {}
        self._deliveries: set[asyncio.Task[None]] = set()

    async def close(self) -> None:
        """End deliveries under way."""
        for task in list(self._deliveries):
            task.cancel()
        await asyncio.gather(*self._deliveries, return_exceptions=True)
        await self.endpoint.close()

    def find(self, interaction_id: Snowflake) -> Interaction:
        """10062 when there is no such interaction."""
        found = self._by_id.get(interaction_id)
        if found is None:
            raise errors.unknown("interaction")
        return found

    def start(
        self,
        application: Application,
        channel: Channel,
        user: User,
        kind: Kind,
        data: dict[str, Any],
        locale: str,
        *,
        source: Message | None = None,
        cause: Interaction | None = None,
        command_name: str | None = None,
    ) -> Interaction:
        """A person does something; the bot hears of it, by its endpoint if it has one."""
        world = self._world
        guild = None if channel.guild_id is None else world.guilds[channel.guild_id]
        interaction = Interaction(
            id=world.ids.next(),
            token=secrets.token_urlsafe(96),
            kind=kind,
            application=application,
            guild=guild,
            channel=channel,
            user=user,
            data=data,
            locale=locale,
            created=world.clock.monotonic(),
            source=source,
            cause=cause,
            command_name=command_name,
        )
        self._by_id[interaction.id] = interaction
        self._by_token[interaction.token] = interaction
        self._forget_old()
        self._note(interaction, "created")
        body = payloads.payload(world, interaction)
        if application.interactions_endpoint_url is None:
            event = Event(
                name="INTERACTION_CREATE",
                guild=guild,
                data=body,
                recipients=frozenset({application.bot.id}),
                subject=interaction.id,
            )
            world.emit(event)
        else:
            task = asyncio.create_task(self._deliver(interaction, body))
            self._deliveries.add(task)
            task.add_done_callback(self._deliveries.discard)
        asyncio.get_running_loop().call_later(world.settings.ack_s, self._check, interaction)
        return interaction

    def respond(
        self, interaction_id: Snowflake, token: str, body: dict[str, Any], over: str = "rest"
    ) -> Interaction:
        """The first answer. docs: #create-interaction-response"""
        interaction = self._by_id.get(interaction_id)
        if interaction is None or interaction.token != token:
            raise errors.unknown("interaction")
        if interaction.answer is not None:
            self._note(interaction, "refused", code=40060, over=over)
            raise errors.bad_request(40060, "Interaction has already been acknowledged.")
        if self._age(interaction) > self._world.settings.ack_s or interaction.failure is not None:
            self._note(interaction, "refused", code=10062, over=over)
            raise errors.unknown("interaction")
        answer = _fitting(interaction, body)
        self._apply(interaction, answer, body.get("data") or {})
        interaction.answer = answer
        interaction.answered_over = over
        interaction.settled.set()
        self._note(interaction, "answered")
        return interaction

    def by_webhook(self, application_id: Snowflake, token: str) -> Interaction:
        """The answered interaction of a token: 10015 when there is none, 50027 past 15 minutes."""
        interaction = self._by_token.get(token)
        if interaction is None or interaction.application.id != application_id:
            raise errors.unknown("webhook")
        if self._age(interaction) > self._world.settings.token_s:
            raise DiscordError(401, 50027, "Invalid Webhook Token")
        if interaction.answer is None:
            raise errors.unknown("webhook")
        return interaction

    def message_of(self, interaction: Interaction, message_id: str) -> Message:
        """`@original` or a follow-up's id, if it was not deleted since."""
        if message_id == "@original":
            found = interaction.original
        else:
            found = interaction.messages.get(Snowflake(int(message_id)))
        if found is None:
            raise errors.unknown("message")
        if found.ephemeral_to is None and found.id not in interaction.channel.messages:
            raise errors.unknown("message")
        return found

    def follow_up(self, interaction: Interaction, fields: dict[str, Any]) -> Message:
        """A further message. After a deferral the first one takes the place of "thinking".

        docs: #create-followup-message; that the first fills the original is undocumented.
        """
        deferred = interaction.answer == Answer.DEFERRED_MESSAGE
        if deferred and interaction.loading and interaction.original is not None:
            edit_message(self._world, interaction, interaction.original, fields)
            return interaction.original
        draft = draft_of_answer(interaction, fields)
        return post_message(self._world, interaction, draft)

    def edit(self, interaction: Interaction, message: Message, fields: dict[str, Any]) -> Message:
        """docs: #edit-original-interaction-response"""
        edit_message(self._world, interaction, message, fields)
        return message

    def delete(self, interaction: Interaction, message: Message) -> None:
        """docs: #delete-original-interaction-response"""
        if message.ephemeral_to is None:
            guild = interaction.guild
            deletions.remove(
                self._world, guild, interaction.channel, message, interaction.application.bot.id
            )
        interaction.messages.pop(message.id, None)
        if message is interaction.original:
            interaction.original = None

    def ephemeral(self, channel: Channel, message_id: Snowflake) -> Message | None:
        """A message only its reader sees."""
        for interaction in self._by_id.values():
            found = interaction.messages.get(message_id)
            if found is not None and found.channel_id == channel.id:
                return found
        return None

    def _apply(self, interaction: Interaction, answer: Answer, data: dict[str, Any]) -> None:
        world = self._world
        if answer == Answer.MESSAGE:
            draft = draft_of_answer(interaction, data)
            interaction.original = post_message(world, interaction, draft)
        elif answer == Answer.DEFERRED_MESSAGE:
            draft = draft_of_answer(interaction, data, loading=True)
            interaction.original = post_message(world, interaction, draft, loading=True)
            interaction.loading = True
        elif answer in (Answer.UPDATE_MESSAGE, Answer.DEFERRED_UPDATE):
            interaction.original = interaction.source
            if answer == Answer.UPDATE_MESSAGE and interaction.source is not None:
                edit_message(world, interaction, interaction.source, data)
        elif answer == Answer.MODAL:
            if not data.get("custom_id") or not data.get("title") or not data.get("components"):
                raise errors.required("data.custom_id")
            interaction.modal = data

    async def _deliver(self, interaction: Interaction, body: dict[str, Any]) -> None:
        """Over HTTP: what the endpoint answers is the first answer, unless it says 202."""
        try:
            status, raw = await self.endpoint.post(interaction.application, body)
            self._note(interaction, "delivered", status=status)
            if status == 200:
                answer = msgspec.json.decode(raw)
                self.respond(interaction.id, interaction.token, answer, over="http")
            elif status != 202:
                self._fail(interaction, f"the endpoint answered {status}")
        except (aiohttp.ClientError, TimeoutError, msgspec.DecodeError) as error:
            self._fail(interaction, f"{type(error).__name__}: {error}")
        except DiscordError as error:
            if interaction.answer is None:
                self._fail(interaction, str(error))

    def _check(self, interaction: Interaction) -> None:
        if interaction.answer is None:
            self._fail(interaction, "not answered in time")

    def _fail(self, interaction: Interaction, why: str) -> None:
        if interaction.failure is None and interaction.answer is None:
            interaction.failure = why
            interaction.settled.set()
            self._note(interaction, "failed")

    def _age(self, interaction: Interaction) -> float:
        return self._world.clock.monotonic() - interaction.created

    def _note(self, interaction: Interaction, what: str, **details: Any) -> None:
        data = {"what": what, **interaction.describe(), **details}
        del data["token"]
        self._world.record.add("interaction", data)

    def _forget_old(self) -> None:
        """Keep tokens twice as long as they are valid, so that late use is told from unknown."""
        for interaction in list(self._by_id.values()):
            if self._age(interaction) < 2 * self._world.settings.token_s:
                break
            del self._by_id[interaction.id]
            del self._by_token[interaction.token]


def _fitting(interaction: Interaction, body: dict[str, Any]) -> Answer:
    """The answer's type, if it fits the interaction (50035 otherwise)."""
    try:
        answer = Answer(body.get("type", 0))
    except ValueError:
        answer = Answer.PONG
    updates = answer in (Answer.UPDATE_MESSAGE, Answer.DEFERRED_UPDATE)
    if answer not in FITTING[interaction.kind] or (updates and interaction.source is None):
        choices = ", ".join(str(int(a)) for a in sorted(FITTING[interaction.kind]))
        raise errors.invalid_form(
            {"type": ("BASE_TYPE_CHOICES", f"Value must be one of ({choices}).")}
        )
    return answer
