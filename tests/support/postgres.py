"""A real PostgreSQL for the tests: one server a session, a fresh database a test."""

import asyncio
import contextlib
import secrets
import signal
import subprocess
from pathlib import Path

import asyncpg
import psutil

from components.stack import postgres
from tests.support.nats import free_port


class RunningPostgres:
    """A PostgreSQL that can be killed, hung, and started again on the same port and data."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.server = postgres.prepare(folder, free_port())
        # Nothing in a test survives a power failure; waiting for the disk only slows it.
        self._command = [*self.server.command, "-c", "fsync=off"]
        self.process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start the process; connections may be refused for a moment."""
        with (self.folder / "log").open("ab") as log:
            self.process = subprocess.Popen(
                self._command, env=self.server.environment, cwd="/", stdout=log, stderr=log
            )

    async def ready(self) -> None:
        """Wait until it accepts connections."""
        while True:
            try:
                connection = await asyncpg.connect(self.server.dsn, timeout=5)
            except (OSError, asyncpg.CannotConnectNowError) as error:
                assert self.process is not None
                if self.process.poll() is not None:
                    words = (self.folder / "log").read_text()
                    raise RuntimeError(f"PostgreSQL ended: {words}") from error
                await asyncio.sleep(0.02)
            else:
                await connection.close()
                return

    async def new_database(self) -> str:
        """An empty database; returns its address."""
        name = f"test_{secrets.token_hex(6)}"
        connection = await asyncpg.connect(self.server.dsn)
        try:
            await connection.execute(f"CREATE DATABASE {name}")
        finally:
            await connection.close()
        return self.server.dsn.rpartition("/")[0] + "/" + name

    async def stop(self) -> None:
        """Fast shutdown: clients are disconnected. The leases of the test's own process are
        renewed meanwhile."""
        await asyncio.to_thread(self._end)

    def hang(self) -> None:
        """Stop every process of the server where it stands (SIGSTOP)."""
        self._signal_all(signal.SIGSTOP)

    def wake(self) -> None:
        """Let a hung server go on."""
        self._signal_all(signal.SIGCONT)

    def close(self) -> None:
        """End the process, whatever its state."""
        if self.process is not None and self.process.poll() is None:
            self.wake()
            self._end()

    def _end(self) -> None:
        assert self.process is not None
        self.process.send_signal(self.server.stop_signal)
        self.process.wait(20)

    def _signal_all(self, number: int) -> None:
        assert self.process is not None
        postmaster = psutil.Process(self.process.pid)
        for process in (postmaster, *postmaster.children()):
            # A child may end in between: the postmaster ends those whose client has gone.
            with contextlib.suppress(psutil.NoSuchProcess):
                process.send_signal(number)
