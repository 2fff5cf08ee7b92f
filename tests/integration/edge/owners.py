"""A guild's owner as far as interactions go, made by hand over a real bus."""

import asyncio
import json

import msgspec
from nats.aio.msg import Msg

from components.bus.connection import Bus
from contracts import headers, subjects
from contracts.ids import Epoch, GuildId, InteractionId, Sequence
from contracts.inputs import InteractionReceived
from contracts.interactions import CHANNEL_MESSAGE, AnswerTaken, InteractionAnswer
from contracts.message import decode, encode
from tests.integration.edge.running import GUILD


def an_answer(interaction: str, sequence: int) -> bytes:
    return encode(
        InteractionAnswer(
            interaction=InteractionId(interaction),
            type=CHANNEL_MESSAGE,
            data=msgspec.Raw(b'{"content":"Case 7","flags":64}'),
            epoch=Epoch(1),
            sequence=Sequence(sequence),
        )
    )


class InteractionOwner:
    """Takes a guild's log as a pod does and answers the interactions on it, when told to."""

    def __init__(self, bus: Bus, guild: GuildId = GUILD) -> None:
        self._bus = bus
        self._guild = guild
        self.received: asyncio.Queue[tuple[Msg, InteractionReceived]] = asyncio.Queue()

    async def open(self) -> None:
        await self._bus.listen(subjects.live(self._guild), self._take)
        await self._bus.barrier()

    async def _take(self, message: Msg) -> None:
        await self.received.put((message, decode(message.data, InteractionReceived)))

    async def answer_next(self) -> bool:
        message, received = await self.received.get()
        interaction = json.loads(bytes(received.data))["id"]
        sequence = int((message.headers or {})[headers.SEQUENCE])
        reply = await self._bus.ask(received.answer_to, an_answer(interaction, sequence))
        return decode(reply.data, AnswerTaken).taken
