"""Requests whose caller may turn a reply down and wait for the next one.

A guild subject is a plain subscription, so in the moment of a takeover two owners may answer one
request, the replaced one first. One inbox serves all requests of the process.
"""

import asyncio
from collections.abc import Callable, Mapping
from typing import Final, TypeVar

from nats.aio.msg import Msg

from components.bus.connection import Bus
from components.bus.errors import NoOwner, NotConnected, Unanswered

NO_RESPONDERS: Final = "503"

T = TypeVar("T")


class Replies:
    """The inbox. `start` it before the first `ask`."""

    def __init__(self, bus: Bus) -> None:
        self._bus = bus
        self._inbox = bus.client.new_inbox()
        self._asked = 0
        self._waiting: dict[str, asyncio.Queue[Msg]] = {}

    async def start(self) -> None:
        """Subscribe to the inbox. Raises `NotConnected`."""
        await self._bus.listen(f"{self._inbox}.*", self._arrived)

    async def ask(
        self,
        subject: str,
        data: bytes,
        headers: Mapping[str, str],
        accept: Callable[[Msg], T | None],
        *,
        timeout_s: float,
    ) -> T:
        """What ``accept`` makes of the first reply for which it does not return None. Raises what
        ``accept`` raises, `NotConnected`, `NoOwner`, and `Unanswered` at the deadline."""
        if not self._bus.connected:
            raise NotConnected
        self._asked += 1
        inbox = f"{self._inbox}.{self._asked}"
        # Two owners at most answer, so the queue needs no bound.
        arrived = self._waiting[inbox] = asyncio.Queue()
        try:
            async with asyncio.timeout(timeout_s):
                await self._bus.say(subject, data, headers, reply=inbox)
                while True:
                    message = await arrived.get()
                    if (message.headers or {}).get("Status") == NO_RESPONDERS:
                        raise NoOwner(subject)
                    accepted = accept(message)
                    if accepted is not None:
                        return accepted
        except TimeoutError as error:
            raise Unanswered(subject, timeout_s) from error
        finally:
            del self._waiting[inbox]

    async def _arrived(self, message: Msg) -> None:
        if (waiting := self._waiting.get(message.subject)) is not None:
            waiting.put_nowait(message)
