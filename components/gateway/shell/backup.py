"""Litestream as a child process: the pod's database, continuously, to S3.

Two writers on one replica path destroy it without a word (facts.md): the path holds the
incarnation, which is new at every start, and the child dies with us (PDEATHSIG). Its control
socket is never used. When it ends it is started again with growing pauses; serving goes on.
Raises `CannotStart` when there is no Litestream to start.
"""

import asyncio
import ctypes
import json
import logging
import os
import signal
import socket
from contextlib import ExitStack
from pathlib import Path
from typing import Final

from components import binaries
from components.gateway.settings import BackupSettings
from components.process import log_files
from components.process.exits import CannotStart

log = logging.getLogger(__name__)

FIRST_PAUSE_S: Final = 0.5
LONGEST_PAUSE_S: Final = 30.0
STOP_WITHIN_S: Final = 10.0
PR_SET_PDEATHSIG: Final = 1
STDERR: Final = 2


class Backup:
    """The replication of one database to one prefix that nobody else has written to."""

    def __init__(
        self, settings: BackupSettings, database: Path, prefix: str, *, program: Path | None = None
    ) -> None:
        self._settings = settings
        self._database = database
        self._prefix = prefix
        self._program = program
        self._log = Path(settings.log) if settings.log else None
        self._config = database.with_name("litestream.yml")
        self._process: asyncio.subprocess.Process | None = None
        self.metrics_port = 0
        """Where the child's metrics are, on 127.0.0.1."""

    @property
    def process_id(self) -> int | None:
        """The child's, while it runs."""
        process = self._process
        return process.pid if process is not None and process.returncode is None else None

    async def run(self) -> None:
        """Replicate until cancelled; then let the child write what is left and end."""
        pause_s = FIRST_PAUSE_S
        program = self._program
        if program is None:
            program = await asyncio.to_thread(_litestream)
        try:
            while True:
                self.metrics_port = _free_port()
                self._config.write_text(self._configuration(), encoding="utf-8")
                self._config.chmod(0o600)
                started = asyncio.get_running_loop().time()
                self._process = await self._start(program)
                code = await self._ended(self._process)
                log.error("litestream ended with %s; starting it again", code)
                if asyncio.get_running_loop().time() - started > LONGEST_PAUSE_S:
                    pause_s = FIRST_PAUSE_S
                await asyncio.sleep(pause_s)
                pause_s = min(LONGEST_PAUSE_S, pause_s * 2)
        finally:
            await self._end()

    async def _start(self, program: Path) -> asyncio.subprocess.Process:
        with ExitStack() as opened:
            output = STDERR
            try:
                if self._log is not None:
                    output = opened.enter_context(log_files.open_log(self._log)).fileno()
            except OSError as error:
                log.warning("litestream writes to stderr, %s: %s", self._log, error.strerror)
            return await asyncio.create_subprocess_exec(
                *(str(program), "replicate", "-config", str(self._config)),
                env=self._environment(),
                preexec_fn=_die_with_parent,
                stdin=asyncio.subprocess.DEVNULL,
                stdout=output,
                stderr=output,
            )

    async def _ended(self, process: asyncio.subprocess.Process) -> int:
        """Wait for its end and keep its log bounded meanwhile."""
        while True:
            try:
                async with asyncio.timeout(log_files.TRIM_EVERY_S):
                    return await process.wait()
            except TimeoutError:
                pass
            try:
                if self._log is not None:
                    await asyncio.to_thread(log_files.trim, self._log)
            except OSError as error:
                log.warning("litestream's log cannot be trimmed: %s", error)

    async def _end(self) -> None:
        process = self._process
        if process is None or process.returncode is not None:
            return
        process.send_signal(signal.SIGTERM)
        try:
            async with asyncio.timeout(STOP_WITHIN_S):
                await process.wait()
        except TimeoutError:
            log.warning("litestream did not end in time; killing it")
            process.kill()
            await process.wait()

    def _configuration(self) -> str:
        settings = self._settings
        endpoint = f"      endpoint: {settings.endpoint}\n" if settings.endpoint else ""
        return (
            f'addr: "127.0.0.1:{self.metrics_port}"\n'
            "dbs:\n"
            f"  - path: {json.dumps(str(self._database))}\n"
            "    monitor-interval: 250ms\n"  # both must be set (facts.md)
            "    replica:\n"
            "      type: s3\n"
            f"      bucket: {settings.bucket}\n"
            f"      path: {self._prefix}\n"
            f"      region: {settings.region}\n"
            f"{endpoint}"
            f"      force-path-style: {'true' if settings.endpoint else 'false'}\n"
            "      sync-interval: 250ms\n"
        )

    def _environment(self) -> dict[str, str]:
        # AWS_CA_BUNDLE makes litestream fail at start (facts.md).
        kept = {
            name: value
            for name, value in os.environ.items()
            if name != "AWS_CA_BUNDLE" and not name.startswith("MODBOT_")
        }
        keys = {
            "LITESTREAM_ACCESS_KEY_ID": self._settings.access_key,
            "LITESTREAM_SECRET_ACCESS_KEY": self._settings.secret_key,
        }
        return {**kept, **{name: value for name, value in keys.items() if value}}


def _litestream() -> Path:
    try:
        return binaries.find("litestream")
    except binaries.MissingBinary as missing:
        raise CannotStart(str(missing)) from missing


def _die_with_parent() -> None:
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGTERM)


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
