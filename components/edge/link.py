"""Hearing that the bus is back: waiting for it with a deadline, or being called."""

import asyncio
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from components.bus.connection import Bus


class Link:
    """Tells those who wait when the bus is connected again."""

    def __init__(self, bus: Bus) -> None:
        self._bus = bus
        self._back = asyncio.Event()
        self._watchers: set[Callable[[], None]] = set()
        bus.on_connected(self._connected)

    async def wait(self, timeout_s: float) -> bool:
        """Whether the bus is connected, at the latest after ``timeout_s``."""
        if self._bus.connected:
            return True
        self._back.clear()
        try:
            async with asyncio.timeout(timeout_s):
                await self._back.wait()
        except TimeoutError:
            return False
        return True

    @contextmanager
    def watched(self, watcher: Callable[[], None]) -> Iterator[None]:
        """Call the watcher at every reconnect inside the block."""
        self._watchers.add(watcher)
        try:
            yield
        finally:
            self._watchers.discard(watcher)

    async def _connected(self) -> None:
        self._back.set()
        for watcher in tuple(self._watchers):
            watcher()
