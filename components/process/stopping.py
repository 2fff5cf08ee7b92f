"""Waits of a start that end with the word to stop.

A component that waits for the bus, or for another holder of its lease, has nothing to take down
yet; without this it would be killed by its supervisor for not answering SIGTERM.
"""

import asyncio
from collections.abc import Coroutine
from typing import Any, TypeVar

T = TypeVar("T")


class Stopped(Exception):
    """The component was told to stop before it was ready. `run` ends the process with `OK`."""


async def unless_stopped(stop: asyncio.Event, work: Coroutine[Any, Any, T]) -> T:
    """The work's result. Raises `Stopped`, and the work is cancelled, when ``stop`` comes
    first."""
    working = asyncio.create_task(work)
    stopping = asyncio.create_task(stop.wait())
    try:
        await asyncio.wait({working, stopping}, return_when=asyncio.FIRST_COMPLETED)
        if not working.done():
            raise Stopped("told to stop before it was ready")
        return working.result()
    finally:
        working.cancel()
        stopping.cancel()
        await asyncio.gather(working, stopping, return_exceptions=True)
