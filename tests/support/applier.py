"""The applier's thread, stopped where a test wants it."""

import asyncio
import threading

from components.gateway.shell.applier import Applier


class Held:
    """The applier's thread in a job that does not end by itself."""

    def __init__(self, applier: Applier) -> None:
        self._busy, self._go_on = threading.Event(), threading.Event()
        self._job = asyncio.create_task(applier.write(self._hold))

    def _hold(self, _: object) -> None:
        self._busy.set()
        self._go_on.wait(10)

    async def begun(self) -> None:
        """Wait until nothing is applied any more."""
        await asyncio.to_thread(self._busy.wait, 10)

    async def end(self) -> None:
        """Go on."""
        self._go_on.set()
        await self._job
