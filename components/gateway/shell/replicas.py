"""Restores replicas from the bucket: one restore per replica, shared by all who want its guilds.

Each restore is checked in full. When the newest state cannot be restored (a file is damaged or
missing), earlier ones are tried, in steps that double, until one is whole and holds guilds that
are wanted. The database lies in scratch, is read only by us, and is deleted when nobody has used
it for a while.

Raises `ReplicaFailed` with words for operators: nothing there, nothing whole, bucket away.
"""

import asyncio
import logging
import shutil
import sqlite3
from collections.abc import AsyncIterator, Callable, Collection
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Final

from components.gateway.engine.pod_tables import BEAT
from components.gateway.engine.transfer import GuildRows, RowSource
from components.gateway.settings import BackupSettings
from components.gateway.shell.applier import Applier
from components.gateway.shell.backup import (
    die_with_parent,
    environment,
    litestream,
    replica_configuration,
)
from components.gateway.shell.bucket import LtxFile, ReplicaBucket, reach
from components.gateway.shell.errors import BucketFailed, ReplicaFailed
from components.gateway.shell.importing import take_in
from components.process.clock import steady_s
from contracts.ids import GuildId

log = logging.getLogger(__name__)

KEPT_S: Final = 30.0
"""A restored replica stays so long after its last use: guilds are opened some at a time."""
RESTORES_AT_ONCE: Final = 2
"""A restore takes a core (facts.md: 40 MB/s) and the size of the database twice on disk."""
SLOWEST: Final = 2_000_000
"""Bytes a second below which a restore is given up, after `SHORTEST_S`."""
SHORTEST_S: Final = 30.0


class Replica:
    """A restored database. Guilds are taken in one after another."""

    def __init__(self, replica: str, source: RowSource) -> None:
        self.replica = replica
        self._source = source
        self._turn = asyncio.Lock()
        self.guilds: dict[GuildId, GuildRows] = source.guilds()
        """What it holds, each with its checkpoint and up to where it is complete."""
        self.beat: int = int(source.note(BEAT) or 0)
        """The last beat that it holds."""

    async def take_in(self, applier: Applier, guild: GuildId) -> GuildRows:
        """Replace what the pod has of the guild by the replica's rows. Raises `RowsRefused`, and
        `UnknownGuild` when the replica does not hold the guild."""
        async with self._turn:
            return await take_in(applier, self._source, guild)

    def close(self) -> None:
        """Close the database."""
        self._source.close()


class Replicas:
    """The restored replicas of one process. ``scratch`` is a folder for them alone."""

    def __init__(self, settings: BackupSettings, scratch: Path, *, kept_s: float = KEPT_S) -> None:
        self._settings = settings
        self._bucket = ReplicaBucket(settings)
        self._scratch = scratch
        self._kept_s = kept_s
        self._shared: dict[str, _Shared] = {}
        self._restoring = asyncio.Semaphore(RESTORES_AT_ONCE)
        shutil.rmtree(scratch, ignore_errors=True)

    @asynccontextmanager
    async def restored(
        self, replica: str, wanted: Collection[GuildId] = ()
    ) -> AsyncIterator[Replica]:
        """The replica, restored now or a moment ago for somebody else. ``wanted``: of these it
        holds at least one, whoever asked first; look into `Replica.guilds`."""
        shared = self._shared.get(replica)
        if shared is None:
            folder = self._scratch / replica.replace("/", "_")
            shared = self._shared[replica] = _Shared(folder)
            shared.wanted.update(wanted)
            shared.restore = asyncio.create_task(self._restore(replica, shared))
        shared.wanted.update(wanted)
        shared.enter()
        try:
            assert shared.restore is not None
            yield await asyncio.shield(shared.restore)
        finally:
            if shared.leave():
                if shared.whole and self._kept_s > 0:
                    shared.expire_after(self._kept_s, lambda: self._drop(replica, shared))
                else:
                    self._drop(replica, shared)

    async def close(self) -> None:
        """Drop everything at once; restores under way are ended."""
        for replica, shared in list(self._shared.items()):
            self._drop(replica, shared)
            if shared.restore is not None:
                await asyncio.wait([shared.restore])
        shutil.rmtree(self._scratch, ignore_errors=True)

    def _drop(self, replica: str, shared: "_Shared") -> None:
        if self._shared.get(replica) is shared:
            del self._shared[replica]
        shared.drop()

    async def _restore(self, replica: str, shared: "_Shared") -> Replica:
        async with self._restoring:
            try:
                files = await self._bucket.files(replica)
            except BucketFailed as error:
                raise ReplicaFailed(replica, str(error)) from error
            if not files:
                raise ReplicaFailed(replica, "there is nothing in the bucket")
            began = steady_s()
            log.info(
                "restoring %s: %d files, %.1f MB",
                replica,
                len(files),
                sum(file.size for file in files) / 1e6,
            )
            restored = await self._newest_whole(replica, files, shared)
            log.info(
                "restored %s in %.1f s: %d guilds, beat %d",
                replica,
                steady_s() - began,
                len(restored.guilds),
                restored.beat,
            )
            return restored

    async def _newest_whole(self, replica: str, files: list[LtxFile], shared: "_Shared") -> Replica:
        reasons = []
        for point in points(files):
            shared.folder.mkdir(parents=True, exist_ok=True)
            to = shared.folder / "replica.db"
            try:
                await restore(self._settings, replica, files, to, point)
                source = await asyncio.to_thread(RowSource, to)
            except (ReplicaFailed, OSError, sqlite3.Error) as error:
                reason = error.reason if isinstance(error, ReplicaFailed) else str(error)
                log.warning("%s cannot be restored %s: %s", replica, _at(point), reason)
                reasons.append(f"{_at(point)}: {reason}")
                shutil.rmtree(shared.folder, ignore_errors=True)
                continue
            found = Replica(replica, source)
            if shared.wanted and not shared.wanted & found.guilds.keys():
                reasons.append(f"{_at(point)}: holds none of the guilds that are wanted")
                found.close()
                shutil.rmtree(shared.folder, ignore_errors=True)
                continue
            if point is not None:
                log.warning("%s is restored only %s", replica, _at(point))
            return found
        raise ReplicaFailed(replica, "; ".join(reasons) or "its beginning is missing")


class _Shared:
    """One restore and those who use it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.restore: asyncio.Task[Replica] | None = None
        self.wanted: set[GuildId] = set()
        self._users = 0
        self._expiry: asyncio.TimerHandle | None = None

    @property
    def whole(self) -> bool:
        """Whether it was restored."""
        task = self.restore
        return (
            task is not None and task.done() and not task.cancelled() and task.exception() is None
        )

    def enter(self) -> None:
        """One more uses it."""
        self._users += 1
        if self._expiry is not None:
            self._expiry.cancel()
            self._expiry = None

    def leave(self) -> bool:
        """One less uses it; whether that was the last one."""
        self._users -= 1
        return self._users == 0

    def expire_after(self, seconds: float, drop: Callable[[], None]) -> None:
        """Drop it then, unless somebody uses it again."""
        self._expiry = asyncio.get_running_loop().call_later(seconds, drop)

    def drop(self) -> None:
        """End the restore if it goes on, close the database, delete the files."""
        if self._expiry is not None:
            self._expiry.cancel()
        task = self.restore
        if task is not None:
            task.cancel()
            if self.whole:
                task.result().close()
        shutil.rmtree(self.folder, ignore_errors=True)


def points(files: Collection[LtxFile]) -> list[int | None]:
    """The transactions to try one after another: the newest (None), then earlier ones in steps
    that double, at last the earliest. Files behind a gap are of no use: Litestream would wait
    for what is missing."""
    whole = reach(files)
    ends = sorted({file.last for file in files if file.last <= whole}, reverse=True)
    steps = [0]
    while steps[-1] < len(ends) - 1:
        steps.append(min(len(ends) - 1, max(1, steps[-1] * 2)))
    newest = max((file.last for file in files), default=0)
    return [None if ends[step] == newest else ends[step] for step in steps] if ends else []


async def restore(
    settings: BackupSettings,
    replica: str,
    files: Collection[LtxFile],
    to: Path,
    point: int | None = None,
) -> None:
    """Restore to a new file, with the full check; up to transaction ``point``, or all there is.

    Raises `ReplicaFailed`, and `CannotStart` without Litestream.
    """
    for left in to.parent.glob(f"{to.name}*"):
        left.unlink()
    config = to.with_suffix(".yml")
    config.touch(mode=0o600)
    config.write_text(replica_configuration(settings, to, replica), encoding="utf-8")
    upto = () if point is None else ("-txid", f"{point:016x}")
    process = await asyncio.create_subprocess_exec(
        str(await asyncio.to_thread(litestream)),
        *("restore", "-config", str(config), "-integrity-check", "full", *upto, str(to)),
        env=environment(settings),
        preexec_fn=die_with_parent,
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    within_s = SHORTEST_S + sum(file.size for file in files) / SLOWEST
    try:
        async with asyncio.timeout(within_s):
            said, _ = await process.communicate()
    except TimeoutError as error:
        raise ReplicaFailed(replica, f"not done within {within_s:.0f} s") from error
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
        config.unlink(missing_ok=True)
    if process.returncode != 0:
        lines = said.decode("utf-8", "replace").strip().splitlines()
        raise ReplicaFailed(replica, lines[-1] if lines else f"code {process.returncode}")


def _at(point: int | None) -> str:
    return "at its newest" if point is None else f"up to transaction {point}"
