"""One more gateway beside those of a live stack, as a node that is added later.

Started as the stack starts its own: with the environment of one of them, a name and a disk of its
own. Ends with the block.
"""

import asyncio
import os
import signal
from pathlib import Path

import psutil

from components.chaos.arena import Arena, NotThere
from components.stack.plan import modbot

LIKE = "gateway-0"
STOP_WITHIN_S = 40.0


class ExtraGateway:
    """A gateway process with its parent. `start` it; `kill` or `stop` it, and start it again."""

    def __init__(self, arena: Arena, name: str, environment: dict[str, str] | None = None) -> None:
        self.name = name
        self._home = arena.live.home
        pid = arena.pid(LIKE)
        if pid is None:
            raise NotThere(f"{LIKE} does not run")
        like = psutil.Process(pid).environ()
        like.pop("MODBOT_METRICS_ADDR", None)  # an address serves one process
        self._environment = {
            **like,
            "MODBOT_REPLICA": name,
            "MODBOT_GATEWAY_DATA": str(self._home / "pods" / name),
            "MODBOT_BACKUP_LOG": str(self._home / "logs" / f"litestream-{name}.log"),
            **(environment or {}),
        }
        self._process: asyncio.subprocess.Process | None = None

    @property
    def parent(self) -> psutil.Process:
        """The process that attests the gateway's end."""
        assert self._process is not None
        return psutil.Process(self._process.pid)

    @property
    def worker(self) -> psutil.Process:
        """The process that does the work. Raises `NotThere` before there is one."""
        for child in self.parent.children():
            if "components.gateway" in child.cmdline():
                return child
        raise NotThere(f"{self.name} has no working process yet")

    async def start(self) -> None:
        """Start it; its lease shows when it serves."""
        with (self._home / "logs" / f"{self.name}.log").open("ab") as log:
            self._process = await asyncio.create_subprocess_exec(
                *modbot("run", "gateway"),
                env=self._environment,
                stdin=asyncio.subprocess.DEVNULL,
                stdout=log,
                stderr=log,
            )

    async def kill(self) -> None:
        """``kill -9`` of the working process; its parent attests that and ends too."""
        os.kill(self.worker.pid, signal.SIGKILL)
        assert self._process is not None
        await self._process.wait()

    async def stop(self) -> None:
        """Stop it in order, at last by force."""
        process = self._process
        if process is None or process.returncode is not None:
            return
        process.terminate()
        try:
            await asyncio.wait_for(process.wait(), STOP_WITHIN_S)
        except TimeoutError:
            process.kill()
            await process.wait()


def disk(arena: Arena, name: str) -> Path:
    """The pod's database."""
    return arena.data(name) / "gateway.db"
