"""Who waits for what in one guild: for a sequence to be applied, for the reply to a write."""

import asyncio
import heapq
import itertools

from components.gateway.engine.model import CommandReply
from contracts.ids import RequestId, Sequence


class Waiters:
    """The guild's progress, and the futures that depend on it."""

    def __init__(self) -> None:
        self.applied = Sequence(0)
        self._order = itertools.count()
        self._waiting: list[tuple[Sequence, int, asyncio.Future[None]]] = []
        self._replies: dict[RequestId, list[asyncio.Future[CommandReply]]] = {}

    def advance(self, sequence: Sequence) -> None:
        """Everything up to ``sequence`` is applied and committed."""
        self.applied = max(self.applied, sequence)
        while self._waiting and self._waiting[0][0] <= self.applied:
            _, _, future = heapq.heappop(self._waiting)
            if not future.done():
                future.set_result(None)

    async def applied_up_to(self, sequence: Sequence) -> None:
        """Wait until ``sequence`` is applied."""
        if sequence <= self.applied:
            return
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        heapq.heappush(self._waiting, (sequence, next(self._order), future))
        await future

    def expect_reply(self, request: RequestId) -> asyncio.Future[CommandReply]:
        """Done when the request's input is applied; several may wait for one request."""
        future: asyncio.Future[CommandReply] = asyncio.get_running_loop().create_future()
        waiting = self._replies.setdefault(request, [])
        waiting.append(future)
        future.add_done_callback(lambda done: self._forget(request, done))
        return future

    def replied(self, reply: CommandReply) -> None:
        """The engine's reply to a write."""
        for future in list(self._replies.get(reply.request_id, ())):
            if not future.done():
                future.set_result(reply)

    def cancel(self) -> None:
        """The guild is closed: nobody waits any more."""
        for _, _, future in self._waiting:
            future.cancel()
        self._waiting.clear()
        for futures in list(self._replies.values()):
            for reply in list(futures):
                reply.cancel()

    def _forget(self, request: RequestId, done: asyncio.Future[CommandReply]) -> None:
        waiting = self._replies.get(request)
        if waiting is not None and done in waiting:
            waiting.remove(done)
            if not waiting:
                del self._replies[request]
