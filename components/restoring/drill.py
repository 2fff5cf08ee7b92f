"""Drills: a pod's replica is restored as after its loss, and every guild in it held to its owner.

The newest state is restored into scratch and checked in full. Then each guild in it is taken
forward along its log to the input at which its owner's digest was taken, and must equal it. A
replica that can only be restored at an earlier point is a finding, and so is a guild that cannot be
compared, and one that the pod owns and its replica does not hold. How old the replica is is told
and not judged.

Raises `BusError` and `BucketFailed`, `MalformedMessage` for an assignment by newer code; what is
wrong with a replica or a guild is in the result.
"""

import asyncio
import contextlib
import shutil
import sqlite3
from collections.abc import Callable
from pathlib import Path
from typing import Final, Literal

import msgspec

from components.bus import stream
from components.bus.buckets import Bucket
from components.bus.connection import Bus
from components.bus.stream import StreamBounds
from components.gateway.engine.dump import dump_digest, row_counts
from components.gateway.engine.errors import RowsRefused
from components.gateway.engine.schema import open_database
from components.gateway.engine.transfer import GuildRows, RowSource
from components.gateway.settings import BackupSettings
from components.gateway.shell.bucket import PODS, LtxFile, ReplicaBucket
from components.gateway.shell.errors import ReplicaFailed
from components.gateway.shell.replicas import restore
from components.process.clock import steady_s, wall_ms
from components.restoring.errors import CannotRebuild, OwnerRefused
from components.restoring.owner import digest
from components.restoring.points import before, points_of
from components.restoring.replay import Replay, gap
from contracts import storage
from contracts.ids import GuildId, Sequence
from contracts.message import decode
from contracts.records import Assignment

TRIES: Final = 3
"""A replica is written to and compacted while it is read: once may fail for that reason alone."""
PAUSE_S: Final = 1.0
MARGIN_S: Final = 60.0
"""A guild whose owner got it less than this before the replica's newest file, or after it, need not
be in it yet: the rows come after the assignment, the file after the commit, and the times are of
config's clock and the store's."""


class GuildDrill(msgspec.Struct, frozen=True, kw_only=True):
    """What became of one guild of a replica."""

    guild: GuildId
    result: Literal["equal", "differs", "missing", "not_compared", "not_yet"]
    """``missing``: the pod owns it, the replica does not hold it; ``not_yet``: nor does it, but the
    guild came to the pod so lately (`MARGIN_S`) that this is no finding."""
    restored: Sequence
    """The last input in the replica; 0: none."""
    compared: Sequence | None = None
    """The input at which it was compared with its owner."""
    replayed: int = 0
    rows: int = 0
    took_s: float = 0.0
    reason: str = ""


class PodDrill(msgspec.Struct, frozen=True, kw_only=True):
    """What became of one pod's replica. ``transaction``: as Litestream counts."""

    pod: str
    replica: str
    ok: bool
    restored: bool
    newest: bool = False
    """False: only an earlier state than the newest is whole."""
    transaction: int = 0
    files: int = 0
    size: int = 0
    """Bytes in the bucket."""
    age_s: float = 0.0
    """Of its newest file at the restore, by the store's clock and this machine's."""
    owned: int = 0
    """Guilds that the pod owns."""
    restore_s: float = 0.0
    compare_s: float = 0.0
    guilds: list[GuildDrill] = []
    reason: str = ""


class Drill(msgspec.Struct, frozen=True, kw_only=True):
    """Of all pods. ``checked``: guilds that were compared. Not ``ok`` when there was none."""

    pods: list[PodDrill]
    checked: int
    ok: bool


FINE: Final = ("equal", "not_yet")
"""Results that are no finding."""


class Driller:
    """Restores below ``scratch``, one replica at a time."""

    def __init__(
        self, bus: Bus, settings: BackupSettings, scratch: Path, say: Callable[[str], None]
    ) -> None:
        self._bus = bus
        self._settings = settings
        self._bucket = ReplicaBucket(settings)
        self._scratch = scratch / "drill"
        self._say = say

    async def drill(self, replicas: dict[str, str]) -> Drill:
        """Drill each pod's replica. ``replicas``: by pod."""
        pods = []
        for pod, replica in replicas.items():
            try:
                pods.append(await self._pod(pod, replica))
            finally:
                shutil.rmtree(self._scratch, ignore_errors=True)
        checked = sum(guild.compared is not None for found in pods for guild in found.guilds)
        return Drill(pods=pods, checked=checked, ok=checked > 0 and all(found.ok for found in pods))

    async def _pod(self, pod: str, replica: str) -> PodDrill:
        self._say(f"restoring {replica}")
        began_s = steady_s()
        found = await self._restore(replica)
        result = PodDrill(
            pod=pod,
            replica=replica,
            ok=False,
            restored=found.transaction > 0,
            newest=found.newest,
            transaction=found.transaction,
            files=len(found.files),
            size=sum(file.size for file in found.files),
            age_s=_age_s(found.files),
            restore_s=round(steady_s() - began_s, 3),
            reason=found.reason,
        )
        if not result.restored:
            return result
        try:
            with RowSource(self._file) as source:
                held = source.guilds()
        except RowsRefused as error:
            return msgspec.structs.replace(result, reason=str(error))
        bounds = await stream.bounds(self._bus, storage.INPUTS)
        began_s = steady_s()
        self._say(f"{replica}: {len(held)} guilds to compare")
        with contextlib.closing(open_database(self._file)) as database:
            guilds = [await self._guild(database, rows, bounds) for rows in held.values()]
        # Read behind the listing: what left the pod meanwhile is not expected, what came is new.
        owned = await self._owned(replica)
        guilds += [_absent(one, found.stored_ms) for one in owned if one.guild not in held]
        return msgspec.structs.replace(
            result,
            owned=len(owned),
            guilds=guilds,
            compare_s=round(steady_s() - began_s, 3),
            ok=found.newest and all(guild.result in FINE for guild in guilds),
        )

    async def _owned(self, replica: str) -> list[Assignment]:
        """What the incarnation that writes the replica owns."""
        entries = (await Bucket(self._bus, storage.GUILDS).snapshot()).values()
        assignments = [decode(entry.value, Assignment) for entry in entries if entry.value]
        return [one for one in assignments if f"{PODS}/{one.pod}/{one.incarnation}" == replica]

    @property
    def _file(self) -> Path:
        return self._scratch / "replica.db"

    async def _restore(self, replica: str) -> "_Restored":
        """The newest state, tried again if the replica changed under our hands, else an earlier
        one."""
        for left in reversed(range(TRIES)):
            files = await self._bucket.files(replica)
            if not files:
                return _Restored(files=[], reason="there is nothing in the bucket")
            newest = max(file.last for file in files)
            try:
                await self._one(replica, files, None)
                return _Restored(files=files, transaction=newest, newest=True)
            except ReplicaFailed as error:
                reason = str(error)
                self._say(reason)
                if left:
                    await asyncio.sleep(PAUSE_S)
        points = points_of(replica, files)
        for point in before(points, max((point.by_ms for point in points), default=0)):
            with contextlib.suppress(ReplicaFailed):
                await self._one(replica, files, point.transaction)
                return _Restored(files=files, transaction=point.transaction, reason=reason)
        return _Restored(files=files, reason=reason)

    async def _one(self, replica: str, files: list[LtxFile], upto: int | None) -> None:
        shutil.rmtree(self._scratch, ignore_errors=True)
        self._scratch.mkdir(parents=True)
        await restore(self._settings, replica, files, self._file, upto)

    async def _guild(
        self, database: sqlite3.Connection, rows: GuildRows, bounds: StreamBounds
    ) -> GuildDrill:
        began_s = steady_s()
        guild = rows.guild
        compared: Sequence | None = None
        reason = gap(rows, bounds)
        if reason:
            return GuildDrill(
                guild=guild, result="not_compared", restored=rows.sequence, reason=reason
            )
        replay = Replay(self._bus, database, guild)
        try:
            owner = await digest(self._bus, guild)
            await replay.reach(owner.sequence)
            compared = owner.sequence
            equal = dump_digest(database, guild) == owner.sha256
            reason = "" if equal else _rows_differ(row_counts(database, guild), owner.rows)
        except (CannotRebuild, OwnerRefused) as error:
            equal, reason = False, str(error)
        result: Literal["equal", "differs", "not_compared"] = "equal" if equal else "differs"
        return GuildDrill(
            guild=guild,
            result="not_compared" if compared is None else result,
            restored=rows.sequence,
            compared=compared,
            replayed=replay.applied,
            rows=sum(row_counts(database, guild).values()),
            took_s=round(steady_s() - began_s, 3),
            reason=reason,
        )


class _Restored(msgspec.Struct, frozen=True, kw_only=True):
    files: list[LtxFile]
    transaction: int = 0
    newest: bool = False
    reason: str = ""

    @property
    def stored_ms(self) -> int:
        """When the transaction was in the bucket, by the store's clock."""
        later = (file.stored for file in self.files if file.last >= self.transaction)
        return int(min(later).timestamp() * 1000)


def _absent(owned: Assignment, stored_ms: int) -> GuildDrill:
    """A guild that is not in a replica which ends at ``stored_ms``."""
    before_s = (stored_ms - owned.since_ms) / 1000
    side = "before" if before_s >= 0 else "after"
    words = f"not in the replica; it came to the pod {abs(before_s):.1f} s {side} the replica's end"
    return GuildDrill(
        guild=owned.guild,
        result="missing" if before_s >= MARGIN_S else "not_yet",
        restored=Sequence(0),
        reason=words,
    )


def _age_s(files: list[LtxFile]) -> float:
    newest_ms = max((file.stored.timestamp() for file in files), default=0.0) * 1000
    return round((wall_ms() - newest_ms) / 1000, 3) if files else 0.0


def _rows_differ(restored: dict[str, int], owner: dict[str, int]) -> str:
    """In which tables the numbers of rows differ, in words."""
    tables = sorted(
        table for table in {**restored, **owner} if restored.get(table, 0) != owner.get(table, 0)
    )
    words = [
        f"{table} {restored.get(table, 0)} instead of {owner.get(table, 0)}" for table in tables
    ]
    return f"rows: {', '.join(words)}" if words else "the same numbers of rows, other values"
