"""One reading for all who ask for it while another one is under way.

Hundreds of guilds that are opened together each ask for the stream's bounds, as they are after they
asked. A reading that has begun is too old for whoever comes now; the next one serves them all.
"""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Generic, TypeVar

T = TypeVar("T")


class Shared(Generic[T]):
    """Readings of one thing, one at a time."""

    def __init__(self, read: Callable[[], Awaitable[T]]) -> None:
        self._read = read
        self._turn = asyncio.Lock()
        self._next: asyncio.Task[T] | None = None

    async def read(self) -> T:
        """A reading that begins after this call. Raises what reading raises."""
        if self._next is None:
            self._next = asyncio.create_task(self._once())
        # Who gives up does not take the reading from the others.
        return await asyncio.shield(self._next)

    async def _once(self) -> T:
        async with self._turn:
            self._next = None
            return await self._read()
