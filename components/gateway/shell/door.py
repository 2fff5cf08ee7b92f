"""The way in for requests to one guild, ``modbot.rpc.<guild>.<verb>``.

It opens when the pod is named as the guild's owner, before the pod may answer: what comes until
then waits here inside its deadline, and a handoff is a pause for whoever asks, not a row of
attempts. `lead_to` names who answers. A plain subscription, never a queue group; a request that
nobody here will answer is told that the guild moved (`ErrorCode.MOVED`): ask again.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Mapping
from typing import Final

from nats.aio.msg import Msg
from nats.aio.subscription import Subscription
from nats.errors import Error as NatsError

from components.bus.connection import Bus
from components.bus.errors import BusError
from components.telemetry.traces import carry
from contracts import headers, subjects
from contracts.errors import ErrorCode, ServiceError
from contracts.ids import GuildId
from contracts.message import encode

log = logging.getLogger(__name__)

DEFAULT_DEADLINE_S: Final = 5.0
LONGEST_DEADLINE_S: Final = 30.0
MOST_WAITING: Final = 64
"""Requests of one guild that wait; one more is told to ask again."""

Answer = Callable[[Msg], Awaitable[None]]


class Door:
    """The subscription to one guild's requests, for one tenure."""

    def __init__(
        self, bus: Bus, guild: GuildId, knocked: Callable[[], None] = lambda: None
    ) -> None:
        """``knocked``: somebody waits for the guild to be served."""
        self._bus = bus
        self._guild = guild
        self._knocked = knocked
        self._lock = asyncio.Lock()
        self._subscription: Subscription | None = None
        self._answer: Answer | None = None
        self._waiting: list[tuple[Msg, float]] = []
        """Requests, and until when their callers wait, on the loop's clock."""
        self._closed = False

    @property
    def awaited(self) -> bool:
        """Whether a request waits."""
        return bool(self._waiting)

    async def open(self) -> None:
        """Let requests in; nothing happens if they are, or if the door was closed."""
        async with self._lock:
            if self._subscription is None and not self._closed:
                subject = subjects.requests(self._guild)
                self._subscription = await self._bus.listen(subject, self._received)

    async def lead_to(self, answer: Answer) -> None:
        """Hand over what waits, and from now on all that comes."""
        self._answer = answer
        now_s = asyncio.get_running_loop().time()
        for message, until_s in self._take():
            if until_s > now_s:
                await answer(message)

    async def close(self) -> None:
        """Let nothing more in; what waits or is still on its way is turned away."""
        self._closed = True
        for message, _ in self._take():
            await self.turn_away(message)
        async with self._lock:
            subscription, self._subscription = self._subscription, None
        if subscription is not None:
            # Not `unsubscribe`: callers whose request was queued here would wait in vain.
            await self._bus.finish(subscription)

    async def turn_away(self, message: Msg) -> None:
        """Tell the caller to ask again. Says nothing of the guild, so it needs no right to act."""
        words = "this pod may not answer for the guild any more; ask again"
        moved = ServiceError(ErrorCode.MOVED, words)
        fields = {
            headers.SERVICE_ERROR: moved.description,
            headers.SERVICE_ERROR_CODE: str(moved.code),
        }
        try:
            await self._bus.say(message.reply, encode(moved.body()), carry(fields))
        except (BusError, NatsError) as error:
            log.info("a caller was not told that the guild moved: %s", error)

    async def _received(self, message: Msg) -> None:
        if not message.reply:
            return
        if self._answer is not None:
            await self._answer(message)
        elif self._closed or len(self._waiting) >= MOST_WAITING:
            await self.turn_away(message)
        else:
            until_s = asyncio.get_running_loop().time() + deadline_s(message.headers or {})
            self._waiting.append((message, until_s))
            self._knocked()

    def _take(self) -> list[tuple[Msg, float]]:
        waiting, self._waiting = self._waiting, []
        return waiting


def deadline_s(fields: Mapping[str, str]) -> float:
    """How long the caller waits, in seconds; what it does not say, or says wrongly, is 5."""
    value = fields.get(headers.DEADLINE_MS, "")
    if not (value.isascii() and value.isdigit() and len(value) < 19):
        return DEFAULT_DEADLINE_S
    return max(0.001, min(LONGEST_DEADLINE_S, int(value) / 1000))
