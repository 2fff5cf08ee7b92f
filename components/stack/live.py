"""The real stack for a measurement or a test: `modbot up` as a process, in a folder of its own.

Raises `StackDidNotStart` with the end of what it printed. Whatever happens, nothing is left
running.
"""

import asyncio
import contextlib
import os
import signal
import sys
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path

import msgspec

from components.bus.connection import Bus, connect
from components.bus.settings import BusSettings
from components.simulator.client import SimulatorControl
from components.stack.running import RunningStack


class StackDidNotStart(Exception):
    """`modbot up` ended before it was ready; the words are its last lines."""


class LiveStack:
    """A stack that is up: its record, a control client of its Discord, an operator's bus."""

    def __init__(self, stack: RunningStack, control: SimulatorControl, bus: Bus) -> None:
        self.record = stack
        self.control = control
        self.bus = bus

    @property
    def home(self) -> Path:
        """The folder with data and logs."""
        return Path(self.record.home)

    def process(self, name: str) -> int:
        """The process id of a component as it is now (it changes when it is restarted)."""
        stack = msgspec.json.decode((self.home / "stack.json").read_bytes(), type=RunningStack)
        return next(process.pid for process in stack.processes if process.name == name)


@asynccontextmanager
async def live_stack(
    home: Path, *options: str, environment: Mapping[str, str] | None = None
) -> AsyncIterator[LiveStack]:
    """Start `modbot up --json` with the options, wait until it is ready, stop it at the end.

    ``environment`` is added to this process's.
    """
    command = [sys.executable, "-m", "components.cli", "up", "--json", "--home", str(home)]
    process = await asyncio.create_subprocess_exec(
        *command,
        *options,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        start_new_session=True,
        env={**os.environ, **(environment or {})},
    )
    assert process.stdout is not None
    assert process.stderr is not None
    said = asyncio.create_task(_last_lines(process.stderr))
    try:
        line = await process.stdout.readline()
        if not line:
            await process.wait()
            raise StackDidNotStart("\n".join(await said))
        stack = msgspec.json.decode(line, type=RunningStack)
        bus = await operator_bus(stack)
        async with SimulatorControl(stack.urls["simulator"]) as control:
            try:
                yield LiveStack(stack, control, bus)
            finally:
                await bus.close()
    finally:
        if process.returncode is None:
            process.send_signal(signal.SIGTERM)
            try:
                await asyncio.wait_for(process.wait(), 60)
            except TimeoutError:
                process.kill()
                await process.wait()
        said.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await said


async def operator_bus(stack: RunningStack) -> Bus:
    """A connection to the stack's bus as the operator."""
    seed = (Path(stack.credentials["seeds"]) / "operator.nk").read_text(encoding="ascii").strip()
    settings = BusSettings(url=stack.urls["nats"], seed=seed)
    return await connect(settings, user="operator", name="operator")


async def _last_lines(stream: asyncio.StreamReader, keep: int = 40) -> list[str]:
    """Read everything, keep the end."""
    lines: list[str] = []
    async for line in stream:
        lines = [*lines[-keep + 1 :], line.decode(errors="replace").rstrip()]
    return lines
