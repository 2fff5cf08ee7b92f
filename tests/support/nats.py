"""A real nats-server for a test, with the generated configuration and one key per bus user."""

import asyncio
import os
import socket
import subprocess
from pathlib import Path

from components.bus.connection import Bus, connect
from components.bus.provisioning import provision
from components.bus.settings import BusSettings
from components.stack import nats


def free_port() -> int:
    """A port that was free a moment ago."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


class RunningNats:
    """A nats-server process that can be killed and started again on the same port and disk."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.port = free_port()
        self.server = nats.prepare(folder, self.port)
        self.process: subprocess.Popen[bytes] | None = None
        self._buses: list[Bus] = []

    @property
    def url(self) -> str:
        """The client address."""
        return self.server.url

    def settings(self, user: str) -> BusSettings:
        """How to connect as a bus user."""
        return BusSettings(url=self.url, seed=self.server.seeds[user])

    async def start(self) -> None:
        """Start the process and wait until it accepts connections."""
        with (self.folder / "log").open("ab") as log:
            self.process = subprocess.Popen(
                self.server.command,
                env={**os.environ, **self.server.environment},
                stdout=log,
                stderr=log,
            )
        while True:
            try:
                _, writer = await asyncio.open_connection("127.0.0.1", self.port)
            except OSError as error:
                if self.process.poll() is not None:
                    words = (self.folder / "log").read_text()
                    raise RuntimeError(f"nats-server ended: {words}") from error
                await asyncio.sleep(0.01)
            else:
                writer.close()
                return

    def kill(self) -> None:
        """``kill -9``, and wait for the end."""
        assert self.process is not None
        self.process.kill()
        self.process.wait()

    async def connect(self, user: str, name: str | None = None) -> Bus:
        """A connection as a bus user, closed at the end of the test."""
        bus = await connect(self.settings(user), user=user, name=name or user)
        self._buses.append(bus)
        return bus

    async def provision(self) -> None:
        """Create the streams and buckets."""
        bus = await self.connect("provisioner")
        await provision(bus)

    async def close(self) -> None:
        """Close every connection and end the process."""
        for bus in self._buses:
            await bus.close()
        if self.process is not None and self.process.poll() is None:
            self.process.terminate()
            self.process.wait()
