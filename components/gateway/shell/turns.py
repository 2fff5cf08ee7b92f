"""A few at a time, and whoever is in a hurry before the others."""

import asyncio
from collections import deque
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager


class Turns:
    """A semaphore with two queues, each in order of arrival."""

    def __init__(self, places: int = 1, *, calm: int | None = None) -> None:
        """``calm``: how many of the places those may take who are in no hurry; all by default."""
        self._free = places
        self._calm = places if calm is None else calm
        self._first: deque[asyncio.Future[bool]] = deque()
        self._rest: dict[asyncio.Future[bool], None] = {}
        self._named: dict[str, asyncio.Future[bool]] = {}

    @asynccontextmanager
    async def turn(self, *, first: bool, name: str = "") -> AsyncIterator[None]:
        """Wait for a turn and have it until the end of the block; ``name``: for `hurry`."""
        calm = await self._wait(name, first=first)
        try:
            yield
        finally:
            self._give_back(calm)

    def hurry(self, name: str) -> None:
        """Whoever waits under this name is in a hurry now."""
        mine = self._named.get(name)
        if mine in self._rest:
            del self._rest[mine]
            self._first.append(mine)
            self._hand_out()

    async def _wait(self, name: str, *, first: bool) -> bool:
        """Whether the place is one of the calm ones."""
        mine: asyncio.Future[bool] = asyncio.get_running_loop().create_future()
        if first:
            self._first.append(mine)
        else:
            self._rest[mine] = None
        if name:
            self._named[name] = mine
        self._hand_out()
        try:
            return await mine
        except asyncio.CancelledError:
            if mine.done() and not mine.cancelled():
                self._give_back(mine.result())  # it was given to us in the same moment
            raise
        finally:
            if self._named.get(name) is mine:
                del self._named[name]

    def _give_back(self, calm: bool) -> None:
        self._free += 1
        self._calm += calm
        self._hand_out()

    def _hand_out(self) -> None:
        while self._free:
            if self._first:
                mine, calm = self._first.popleft(), False
            elif self._rest and self._calm:
                mine, calm = next(iter(self._rest)), True
                del self._rest[mine]
            else:
                return
            if not mine.done():
                mine.set_result(calm)
                self._free -= 1
                self._calm -= calm
