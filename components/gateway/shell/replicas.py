"""Restores replicas from the bucket: one restore per replica, shared by all who want its guilds.

Each restore is checked in full. When the newest state cannot be restored (a file is damaged or
missing), earlier ones are tried, in steps that double, until one is whole. A guild that is wanted
and not in it is looked for in the points before it, one after another, also when it is asked for
later. The databases lie in scratch, are read only by us, and are deleted when nobody has used them
for a while.

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

from components.gateway.engine.errors import UnknownGuild
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
    """What was restored: the newest whole point, and earlier ones for guilds that it lacks. Guilds
    are taken in one after another."""

    def __init__(self, replica: str) -> None:
        self.replica = replica
        self.guilds: dict[GuildId, GuildRows] = {}
        """What it holds, each with its checkpoint and up to where it is complete."""
        self.beat = 0
        """The last beat that the newest point holds."""
        self._sources: list[RowSource] = []
        self._source_of: dict[GuildId, RowSource] = {}
        self._turn = asyncio.Lock()

    @property
    def empty(self) -> bool:
        """Whether no point was restored yet."""
        return not self._sources

    async def add(self, source: RowSource) -> bool:
        """One more point, earlier than those before it: the guilds that they lack come from it.
        False: there are none, and it is not kept."""
        found = await asyncio.to_thread(source.guilds)
        new = {guild: rows for guild, rows in found.items() if guild not in self.guilds}
        if self.empty:
            self.beat = int(source.note(BEAT) or 0)
        elif not new:
            return False
        self._sources.append(source)
        self._source_of.update(dict.fromkeys(new, source))
        self.guilds.update(new)
        return True

    async def take_in(self, applier: Applier, guild: GuildId) -> GuildRows:
        """Replace what the pod has of the guild by the replica's rows. Raises `RowsRefused`, and
        `UnknownGuild` when the replica does not hold the guild."""
        source = self._source_of.get(guild)
        if source is None:
            raise UnknownGuild(guild)
        async with self._turn:
            return await take_in(applier, source, guild)

    def close(self) -> None:
        """Close the databases."""
        for source in self._sources:
            source.close()


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
        """The replica, restored now or a moment ago for somebody else. ``wanted``: of all that was
        asked for it holds at least one guild; look into `Replica.guilds`. One that is missing
        there is at no point in time that can be restored. Nobody waits for the guilds of others."""
        shared = self._shared.get(replica)
        if shared is None:
            folder = self._scratch / replica.replace("/", "_")
            shared = self._shared[replica] = _Shared(replica, folder)
        shared.wanted.update(wanted)
        shared.enter()
        try:
            while True:
                if shared.restore is None or (shared.restore.done() and shared.goes_on):
                    shared.restore = asyncio.create_task(self._restore(shared))
                found = await asyncio.shield(shared.restore)
                if found.guilds.keys() >= set(wanted) or not shared.goes_on:
                    break
            if shared.wanted and not shared.wanted & found.guilds.keys():
                reasons = (*shared.reasons, "it holds none of the guilds that are wanted")
                raise ReplicaFailed(replica, "; ".join(reasons))
            yield found
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

    async def _restore(self, shared: "_Shared") -> Replica:
        """One more point that is whole and holds what the later ones lack."""
        found, replica = shared.found, shared.found.replica
        async with self._restoring:
            began = steady_s()
            if shared.points is None:
                await self._begin(shared)
            while shared.points:
                if await self._add(shared, shared.points.pop(0)):
                    log.info(
                        "restored %s in %.1f s: %d guilds, beat %d",
                        replica,
                        steady_s() - began,
                        len(found.guilds),
                        found.beat,
                    )
                    break
        if found.empty:
            raise ReplicaFailed(replica, "; ".join(shared.reasons) or "its beginning is missing")
        return found

    async def _begin(self, shared: "_Shared") -> None:
        replica = shared.found.replica
        try:
            files = await self._bucket.files(replica)
        except BucketFailed as error:
            raise ReplicaFailed(replica, str(error)) from error
        if not files:
            raise ReplicaFailed(replica, "there is nothing in the bucket")
        log.info(
            "restoring %s: %d files, %.1f MB",
            replica,
            len(files),
            sum(file.size for file in files) / 1e6,
        )
        shared.files, shared.points = files, points(files)

    async def _add(self, shared: "_Shared", point: int | None) -> bool:
        """Restore a point; whether it is whole and holds more than the later ones."""
        replica = shared.found.replica
        shared.folder.mkdir(parents=True, exist_ok=True)
        to = shared.folder / f"{point or 'newest'}.db"
        try:
            await restore(self._settings, replica, shared.files, to, point)
            source = await asyncio.to_thread(RowSource, to)
        except (ReplicaFailed, OSError, sqlite3.Error) as error:
            reason = error.reason if isinstance(error, ReplicaFailed) else str(error)
            log.warning("%s cannot be restored %s: %s", replica, _at(point), reason)
            shared.reasons.append(f"{_at(point)}: {reason}")
        else:
            later = len(shared.found.guilds)
            if await shared.found.add(source):
                if point is not None:
                    new = len(shared.found.guilds) - later
                    log.warning("%s is restored %s, for %d guilds", replica, _at(point), new)
                return True
            source.close()
        for left in shared.folder.glob(f"{to.name}*"):
            left.unlink()
        return False


class _Shared:
    """One restore and those who use it."""

    def __init__(self, replica: str, folder: Path) -> None:
        self.folder = folder
        self.found = Replica(replica)
        self.files: list[LtxFile] = []
        self.points: list[int | None] | None = None
        """Those that were not tried yet; None: not known yet."""
        self.reasons: list[str] = []
        """Why points that were tried are of no use."""
        self.restore: asyncio.Task[Replica] | None = None
        self.wanted: set[GuildId] = set()
        self._users = 0
        self._expiry: asyncio.TimerHandle | None = None

    @property
    def goes_on(self) -> bool:
        """Whether there are points to try, and guilds to look for."""
        return self.points != [] and not self.found.guilds.keys() >= self.wanted

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
        if self.restore is not None:
            self.restore.cancel()
        self.found.close()
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
