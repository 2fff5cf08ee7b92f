"""The real ``nats`` command, typed as a bus user, with a context as `modbot up` writes it."""

import asyncio
import contextlib
import os
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Self

import msgspec

from components import binaries
from components.stack import nats
from contracts import accounts
from tests.support.nats import RunningNats


class Said(msgspec.Struct, frozen=True, kw_only=True):
    """What the command said. ``words`` is what went to stderr."""

    code: int
    output: str
    words: str


class NatsCli:
    """The command as it works with the context in a folder (``XDG_CONFIG_HOME``)."""

    def __init__(self, folder: Path, user: str = "operator") -> None:
        self._inbox = accounts.inbox_prefix(user)
        self._environment = {**os.environ, "XDG_CONFIG_HOME": str(folder), "NO_COLOR": "1"}
        self._program = str(binaries.find("nats"))

    @classmethod
    def connected(cls, folder: Path, url: str, seeds: Path, user: str = "operator") -> Self:
        """Connected to these servers as the user whose seed is in the folder of seeds."""
        nats.write_context(folder, url, seeds / f"{user}.nk")
        return cls(folder, user)

    @classmethod
    def at(cls, folder: Path, server: RunningNats, user: str = "operator") -> Self:
        """Connected to a server of a test."""
        return cls.connected(folder, server.url, server.folder / "keys", user)

    async def type(self, *arguments: str, within_s: float = 10.0) -> Said:
        """Run to the end."""
        async with self.running(*arguments) as process:
            output, words = await asyncio.wait_for(process.communicate(), within_s)
        return Said(code=process.returncode or 0, output=output.decode(), words=words.decode())

    @contextlib.asynccontextmanager
    async def running(self, *arguments: str) -> AsyncIterator[asyncio.subprocess.Process]:
        """The command while it runs; ended afterwards."""
        process = await asyncio.create_subprocess_exec(
            self._program,
            f"--inbox-prefix={self._inbox}",
            *arguments,
            env=self._environment,
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
        )
        try:
            yield process
        finally:
            if process.returncode is None:
                process.kill()
                await process.wait()
