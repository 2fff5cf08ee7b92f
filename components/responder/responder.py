"""Waits for owners' answers to interactions and tells each owner what became of its answer.

Promise: every answer is decided exactly once. Either `Pending.wait` returns it, the receiver gives
it to Discord and its owner hears ``taken=True``, or the owner hears ``taken=False`` and edits the
original response. Owners hear it when the receiver has spoken to Discord: their edit cannot
overtake the deferral, and an answer whose receiver died with it was never called taken. An answer
of an owner that has been replaced (a lower epoch than one seen) is never taken.

Fails softly: an answer that nobody waits for, a malformed one and one beyond `MAX_PENDING` is
refused, and the owner edits.

The name of a replica must be its own: two processes of one name would refuse each other's answers.
"""

import asyncio
import logging
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Final

from nats.aio.msg import Msg

from components.bus.connection import Bus
from components.bus.errors import NotConnected
from components.responder.epochs import Epochs
from components.telemetry.traces import carry, span
from contracts import headers, subjects
from contracts.ids import GuildId, InteractionId
from contracts.interactions import AnswerTaken, InteractionAnswer
from contracts.message import MalformedMessage, decode, encode

log = logging.getLogger(__name__)

MAX_PENDING: Final = 10_000
"""Interactions that wait at a time, about 1 s each. Beyond it nobody waits: the interaction is
deferred at once, which keeps Discord's 3 s."""
MAX_OFFERS: Final = 8
"""Answers to one interaction: an owner's, its repetitions, those of its successors."""


class Pending:
    """An interaction whose owner's answer is awaited. Made by `Responder.expect`."""

    def __init__(
        self,
        responder: "Responder",
        interaction: InteractionId,
        guild: GuildId | None,
        *,
        waits: bool,
    ) -> None:
        self.answer_to = subjects.answer(responder.component, responder.replica, interaction)
        """Goes into `InteractionReceived.answer_to`."""
        self._responder = responder
        self._guild = guild
        self._undecided = waits
        self._best: InteractionAnswer | None = None
        self._arrived = asyncio.Event()
        self._taken: InteractionAnswer | None = None
        self._unanswered: list[tuple[InteractionAnswer, Msg]] = []

    async def wait(self, timeout_s: float) -> InteractionAnswer | None:
        """The owner's answer, which is thereby taken, or None: then nothing will be taken any
        more, and the receiver defers. Call it once, and give Discord what it returned, or the
        deferral, inside the ``async with`` block."""
        if self._undecided and self._best is None and timeout_s > 0:
            try:
                async with asyncio.timeout(timeout_s):
                    await self._arrived.wait()
            except TimeoutError:
                log.debug("no answer from the owner in time on %s", self.answer_to)
        # Nothing else runs between these two lines: this is the decision.
        self._undecided = False
        self._taken = self._best
        return self._taken

    def withdraw(self) -> None:
        """The answer could not be given to Discord: its owner will hear ``taken=False``."""
        self._taken = None

    async def offer(self, answer: InteractionAnswer, message: Msg) -> None:
        """An owner's answer arrived. Its owner hears at the end of the block what became of it,
        or at once that it was not taken, when it has been replaced or asks too often."""
        if self._guild is not None and not self._responder.epochs.is_current(
            self._guild, answer.epoch
        ):
            log.warning("answer of a replaced owner (epoch %d) on %s", answer.epoch, self.answer_to)
            await self._responder.reply(message, taken=False)
            return
        if len(self._unanswered) >= MAX_OFFERS:
            await self._responder.reply(message, taken=False)
            return
        self._unanswered.append((answer, message))
        if self._undecided and (self._best is None or answer.epoch > self._best.epoch):
            self._best = answer
            self._arrived.set()

    async def close(self) -> None:
        """Tell every owner that offered an answer whether it was given. The same input has the
        same answer, so whoever offered the one that was given hears that it was."""
        for answer, message in self._unanswered:
            given = self._taken is not None and self._taken.sequence == answer.sequence
            await self._responder.reply(message, taken=given)


class Responder:
    """One process's waiting room for answers. `start` it before the first `expect`."""

    def __init__(self, bus: Bus, *, component: str, replica: str, limit: int = MAX_PENDING) -> None:
        self.component = component
        self.replica = re.sub(r"[^A-Za-z0-9_-]", "_", replica)
        """As a subject token."""
        self.epochs = Epochs()
        self._bus = bus
        self._limit = limit
        self._pending: dict[InteractionId, Pending] = {}
        self._started = False

    @property
    def ready(self) -> bool:
        """Whether answers can arrive now."""
        return self._started and self._bus.connected

    async def start(self) -> None:
        """Subscribe to this replica's answers. Raises `NotConnected`."""
        await self._bus.listen(subjects.answers(self.component, self.replica), self._answered)
        self._started = True

    @asynccontextmanager
    async def expect(
        self, interaction: InteractionId, guild: GuildId | None = None
    ) -> AsyncIterator[Pending]:
        """Wait for an interaction's answer from before it is appended until the block ends.

        With ``guild`` an answer is also measured by the epochs seen in the guild's other answers.
        A block that raises has given no answer. When too many wait, or this interaction is waited
        for already, `Pending.wait` returns None at once.
        """
        room = len(self._pending) < self._limit and interaction not in self._pending
        pending = Pending(self, interaction, guild, waits=room)
        if room:
            self._pending[interaction] = pending
        else:
            log.warning("no room to wait for an answer on %s", pending.answer_to)
        try:
            yield pending
        except BaseException:
            pending.withdraw()
            raise
        finally:
            if room:
                del self._pending[interaction]
            await pending.close()

    async def reply(self, message: Msg, *, taken: bool) -> None:
        """Tell an owner what became of its answer. Without a connection it will ask again, or
        edit what is there already: both end the same."""
        if not message.reply:
            return
        parent = (message.headers or {}).get(headers.TRACEPARENT, "")
        try:
            with span("answer settled", parent=parent):
                await self._bus.say(message.reply, encode(AnswerTaken(taken=taken)), carry())
        except NotConnected:
            log.warning("could not tell the owner taken=%s on %s", taken, message.subject)

    async def _answered(self, message: Msg) -> None:
        interaction = InteractionId(message.subject.rpartition(".")[2])
        try:
            answer = decode(message.data, InteractionAnswer)
        except MalformedMessage as error:
            log.warning("answer on %s: %s", message.subject, error)
            await self.reply(message, taken=False)
            return
        pending = self._pending.get(interaction)
        if pending is None or answer.interaction != interaction:
            await self.reply(message, taken=False)
            return
        await pending.offer(answer, message)
