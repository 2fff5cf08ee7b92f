"""Litestream as a child process: the pod's database, continuously, to S3.

Two writers on one replica path destroy it without a word (facts.md): the path holds the
incarnation, which is new at every start, and the child dies with us (PDEATHSIG). Its control
socket is never used. When it ends it is started again with growing pauses; serving goes on.

Litestream knows by the WAL alone what it has missed while it was away, and is wrong when the file
was begun anew in place meanwhile: its replica then cannot be restored, without a word in the log.
So nothing that it noted for one incarnation is there for the next, which begins with the whole
database, and while a pod has a backup nobody but Litestream begins its WAL anew (`Applier`); one
that grew large without it is emptied, which Litestream does see.
Raises `CannotStart` when there is no Litestream to start, `ReplicaInUse` when there is something
under the prefix already: the pod ends, and its next start has another one.
"""

import asyncio
import ctypes
import json
import logging
import os
import shutil
import signal
import socket
import sqlite3
from contextlib import ExitStack
from pathlib import Path
from typing import Final

from components import binaries
from components.gateway.settings import BackupSettings
from components.gateway.shell.bucket import ReplicaBucket
from components.gateway.shell.errors import BucketFailed, ReplicaInUse
from components.gateway.shell.replication import Replication
from components.gateway.shell.wal import Wal, empty_wal
from components.process import log_files
from components.process.exits import CannotStart

log = logging.getLogger(__name__)

FIRST_PAUSE_S: Final = 0.5
LONGEST_PAUSE_S: Final = 30.0
STOP_WITHIN_S: Final = 10.0
WAL_MOST: Final = 256 << 20
"""Bytes of WAL beyond which it is emptied while Litestream is away."""
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
        self._notes = database.with_name("litestream") / prefix.rpartition("/")[2]
        """What Litestream keeps for itself."""
        self._bucket = ReplicaBucket(settings)
        self.replication = Replication(
            database, prefix, self._bucket, look_every_s=settings.look_every_s
        )
        """What is in the bucket by now."""
        self.retention_h = settings.retention_h
        """How long snapshots stay in the bucket."""
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
        program = self._program
        if program is None:
            program = await asyncio.to_thread(litestream)
        await self._check_empty()
        await asyncio.to_thread(shutil.rmtree, self._notes.parent, ignore_errors=True)
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._replicate(program))
            tasks.create_task(self.replication.run())

    async def _check_empty(self) -> None:
        try:
            there = await self._bucket.files(self._prefix)
        except BucketFailed as error:
            log.warning("%s; the backup begins when it answers", error)
            return
        if there:
            raise ReplicaInUse(self._prefix)

    async def _replicate(self, program: Path) -> None:
        pause_s = FIRST_PAUSE_S
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
                await self._bound_wal(pause_s)
                pause_s = min(LONGEST_PAUSE_S, pause_s * 2)
        finally:
            await self._end()

    async def _bound_wal(self, pause_s: float) -> None:
        """Return when Litestream may start. Not before the WAL was emptied if that was tried: all
        of it may be in the database by then, and the next commit begins it anew in place."""
        while True:
            try:
                if Wal(self._database).size() > WAL_MOST:
                    await asyncio.to_thread(empty_wal, self._database)
            except (OSError, sqlite3.Error) as error:
                log.warning("no backup: the WAL is large and cannot be emptied: %s", error)
            else:
                return
            await asyncio.sleep(pause_s)

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
                env=environment(self._settings),
                preexec_fn=die_with_parent,
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
        return (
            f'addr: "127.0.0.1:{self.metrics_port}"\n'
            "snapshot:\n"
            "  interval: 24h\n"
            f"  retention: {round(self._settings.retention_h * 60)}m\n"
            f"{replica_configuration(self._settings, self._database, self._prefix, self._notes)}"
            # Both intervals must be set (facts.md). Uploads begin at a tick of this one at which
            # there is something new; puts are one for each monitor-interval, however short this is.
            "      sync-interval: 50ms\n"
        )


def replica_configuration(
    settings: BackupSettings, database: Path, prefix: str, notes: Path | None = None
) -> str:
    """Litestream's configuration of one database and its replica; options of the replica may be
    added to its end. ``notes``: the folder for what Litestream notes of the database."""
    endpoint = f"      endpoint: {settings.endpoint}\n" if settings.endpoint else ""
    meta = f"    meta-path: {json.dumps(str(notes))}\n" if notes is not None else ""
    return (
        "dbs:\n"
        f"  - path: {json.dumps(str(database))}\n"
        f"{meta}"
        "    monitor-interval: 250ms\n"
        "    replica:\n"
        "      type: s3\n"
        f"      bucket: {settings.bucket}\n"
        f"      path: {prefix}\n"
        f"      region: {settings.region}\n"
        f"{endpoint}"
        f"      force-path-style: {'true' if settings.endpoint else 'false'}\n"
    )


def environment(settings: BackupSettings) -> dict[str, str]:
    """Litestream's environment, with the keys of the bucket."""
    # AWS_CA_BUNDLE makes litestream fail at start (facts.md).
    kept = {
        name: value
        for name, value in os.environ.items()
        if name != "AWS_CA_BUNDLE" and not name.startswith("MODBOT_")
    }
    keys = {
        "LITESTREAM_ACCESS_KEY_ID": settings.access_key,
        "LITESTREAM_SECRET_ACCESS_KEY": settings.secret_key,
    }
    return {**kept, **{name: value for name, value in keys.items() if value}}


def litestream() -> Path:
    """The program. Raises `CannotStart`."""
    try:
        return binaries.find("litestream")
    except binaries.MissingBinary as missing:
        raise CannotStart(str(missing)) from missing


def die_with_parent() -> None:
    """To be run in a child: it is told to end when this process ends, however it ends."""
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGTERM)


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
