"""Real nats-servers for a test, with the generated configuration and one key per bus user."""

import asyncio
import contextlib
import functools
import itertools
import os
import signal
import socket
import subprocess
from collections.abc import Iterator
from pathlib import Path

import aiohttp

from components.bus.connection import Bus, connect
from components.bus.provisioning import provision
from components.bus.settings import BusSettings
from components.stack import nats
from components.stack.ports import Claims

PORTS, EACH = range(10_000, 32_000), 1_000
"""Below what the system gives to whoever asks for any port; so many for each process of tests."""
_claims = Claims()


def free_port() -> int:
    """A port that nobody else takes, neither before its server listens nor while that is away; not
    the one that was given before."""
    for port in _own_ports():
        with socket.socket() as probe, contextlib.suppress(OSError):
            probe.bind(("127.0.0.1", port))
            return port
    raise AssertionError  # they are given for ever


@functools.cache
def _own_ports() -> Iterator[int]:
    """The ports of this process, over and over: a part of all that no other process has claimed."""
    claimed = next(first for first in PORTS[::EACH] if _claims.take(first))
    return itertools.cycle(range(claimed + 1, claimed + EACH))  # others may claim one of these


class RunningNats:
    """A nats-server process that can be killed and started again on the same port and disk."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.port = free_port()
        self.server = nats.prepare(folder, self.port)
        self.store = folder / "store"
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


class RunningCluster:
    """Three nats-servers that are a cluster; each can be killed and started again."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        ports = [
            nats.NodePorts(client=free_port(), route=free_port(), monitor=free_port())
            for _ in range(3)
        ]
        self.servers = {server.name: server for server in nats.prepare_cluster(folder, ports)}
        self.processes: dict[str, subprocess.Popen[bytes]] = {}
        self._buses: list[Bus] = []

    @property
    def url(self) -> str:
        """The addresses of all."""
        return ",".join(server.url for server in self.servers.values())

    def settings(self, user: str, *, first: str = "") -> BusSettings:
        """How to connect as a bus user, to any server or only to the one named."""
        seeds = next(iter(self.servers.values())).seeds
        return BusSettings(url=self.servers[first].url if first else self.url, seed=seeds[user])

    def start(self, name: str) -> None:
        """Start one process, or start it again."""
        server = self.servers[name]
        with (self.folder / f"{name}.log").open("ab") as log:
            self.processes[name] = subprocess.Popen(
                server.command, env={**os.environ, **server.environment}, stdout=log, stderr=log
            )

    def kill(self, name: str) -> None:
        """``kill -9``, and wait for the end."""
        self.processes[name].kill()
        self.processes[name].wait()

    def stop(self, name: str, number: int) -> None:
        """Send a signal: ``SIGSTOP`` makes it hang, ``SIGCONT`` wakes it."""
        self.processes[name].send_signal(number)

    async def healthy(self, name: str) -> None:
        """Wait until the server has joined and all of its streams are current."""
        url = f"http://127.0.0.1:{self.servers[name].monitor}/healthz"
        async with aiohttp.ClientSession() as session:
            while True:
                with contextlib.suppress(aiohttp.ClientError):
                    async with session.get(url) as answer:
                        if answer.status == 200:
                            return
                await asyncio.sleep(0.05)

    async def restart(self, name: str) -> None:
        """Stop it as its supervisor does, start it, wait until it is current."""
        self.processes[name].terminate()
        await asyncio.to_thread(self.processes[name].wait)
        self.start(name)
        await self.healthy(name)

    async def connect(self, user: str, name: str | None = None, *, first: str = "") -> Bus:
        """A connection as a bus user, closed at the end of the test."""
        settings = self.settings(user, first=first)
        bus = await connect(settings, user=user, name=name or user)
        self._buses.append(bus)
        return bus

    async def provision(self, replicas: int = 3) -> None:
        """Create the streams and buckets."""
        bus = await self.connect("provisioner")
        await provision(bus, replicas=replicas)

    async def close(self) -> None:
        """Close every connection and end the processes."""
        for bus in self._buses:
            await bus.close()
        for process in self.processes.values():
            if process.poll() is None:
                process.send_signal(signal.SIGCONT)
                process.kill()
                process.wait()
