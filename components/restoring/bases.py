"""Finds what a guild can be rebuilt from: a restored replica, or its log from the first input.

A replica is restored into scratch, checked in full, and looked into: it must hold the guild, at
the time asked for or before, and the log must continue its rows. What cannot be restored or does
not hold the guild is passed over, and said.

Raises `TooEarly` and `CannotRebuild` in words, `BusError` and `BucketFailed`.
"""

import contextlib
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Literal

import msgspec

from components.bus import stream
from components.bus.buckets import Bucket
from components.bus.connection import Bus
from components.bus.errors import BusError
from components.bus.stream import StreamBounds
from components.gateway.engine.engine import Engine
from components.gateway.engine.errors import RowsRefused, UnknownGuild
from components.gateway.engine.schema import open_database
from components.gateway.engine.transfer import GuildRows, RowSource
from components.gateway.settings import BackupSettings
from components.gateway.shell.bucket import PODS, LtxFile, ReplicaBucket
from components.gateway.shell.errors import ReplicaFailed
from components.gateway.shell.holes import LogState, refusal
from components.gateway.shell.replicas import restore
from components.restoring import moments
from components.restoring.errors import CannotRebuild, TooEarly
from components.restoring.points import Holder, Point, for_the_earliest, for_the_moment, points_of
from components.restoring.replay import gap
from contracts import storage, subjects
from contracts.ids import GuildId, Sequence
from contracts.message import MalformedMessage, decode, encode
from contracts.operations import History, HistoryQuery
from contracts.records import Assignment

HISTORY = 1000


class Base(msgspec.Struct, frozen=True, kw_only=True):
    """A database that holds the guild as it was at ``time_ms``; it is ours alone."""

    kind: Literal["replica", "log"]
    replica: str = ""
    transaction: int = 0
    """Of the replica, as Litestream counts."""
    sequence: Sequence
    """The last input in it; 0: none."""
    time_ms: int
    """Of that input."""
    earliest_ms: int
    """The earliest moment that the guild can be rebuilt for."""


class Bases:
    """Rebuilds into ``database``, a file below ``scratch``. ``settings`` None: no backups."""

    def __init__(
        self,
        bus: Bus,
        settings: BackupSettings | None,
        scratch: Path,
        say: Callable[[str], None],
    ) -> None:
        self._bus = bus
        self._settings = settings
        self._scratch = scratch
        self._say = say
        self._files: dict[str, list[LtxFile]] = {}
        self.database = scratch / "base" / "replica.db"

    async def find(self, guild: GuildId, at_ms: int) -> Base:
        """The newest state of the guild that is not later than ``at_ms``."""
        bounds = await stream.bounds(self._bus, storage.INPUTS)
        assignment = await self._assignment(guild)
        points = await self._points()
        holders = await self._holders(guild, assignment)
        from_log_ms = await self._begun_ms(guild, assignment, bounds)
        first: tuple[Point, GuildRows, int] | None = None
        if from_log_ms is None:
            first = await self._first(guild, bounds, for_the_earliest(points, holders))
            if first is None:
                raise CannotRebuild(
                    f"guild {guild} cannot be rebuilt: the log does not hold its first input, and"
                    " no backup holds the guild at a point that the log continues"
                )
        earliest_ms = first[2] if first is not None else from_log_ms or 0
        if at_ms < earliest_ms:
            raise TooEarly(
                f"guild {guild} can be rebuilt as it was at {moments.shown(earliest_ms)} or later",
                earliest_ms,
            )
        # Who is not known to have had the guild is asked only where the log alone is not enough.
        for tries in for_the_moment(points, holders, at_ms, others=first is not None):
            for point in tries:
                try:
                    rows, time_ms = await self._restored(point, guild, bounds)
                except ReplicaFailed as error:
                    self._say(str(error))
                except CannotRebuild as error:
                    self._say(str(error))
                    break  # nor will an earlier point be of use
                else:
                    if time_ms <= at_ms:
                        return _base(point, rows, time_ms, earliest_ms)
        if first is not None:
            point = first[0]
            return _base(point, *await self._restored(point, guild, bounds), earliest_ms)
        self._empty()
        with contextlib.closing(open_database(self.database)) as database:
            Engine(database).create(guild, bounds.generation)
        return Base(kind="log", sequence=Sequence(0), time_ms=0, earliest_ms=earliest_ms)

    async def _begun_ms(
        self, guild: GuildId, assignment: Assignment | None, bounds: StreamBounds
    ) -> int | None:
        """When the guild's log begins, if it holds the guild's first input."""
        subject = subjects.inputs(guild)
        first = await stream.first_of_subject(self._bus, storage.INPUTS, subject)
        if assignment is None or first is None:
            return None
        log = LogState(bounds=bounds, first=first.sequence)
        return None if refusal(assignment, None, log, Sequence(0)) else first.stored_ms

    async def _first(
        self, guild: GuildId, bounds: StreamBounds, candidates: list[list[Point]]
    ) -> tuple[Point, GuildRows, int] | None:
        """The earliest point that can be continued to today."""
        for tries in candidates:
            for point in tries:
                try:
                    return point, *await self._restored(point, guild, bounds)
                except (ReplicaFailed, CannotRebuild) as error:
                    self._say(str(error))
        return None

    async def _restored(
        self, point: Point, guild: GuildId, bounds: StreamBounds
    ) -> tuple[GuildRows, int]:
        """Restore the point; what it holds of the guild, and the time of its last input. Raises
        `ReplicaFailed` when it is damaged, `CannotRebuild` when it is of no use."""
        assert self._settings is not None
        at = f"{point.replica} at transaction {point.transaction}"
        self._say(f"restoring {at}")
        self._empty()
        files = self._files[point.replica]
        await restore(self._settings, point.replica, files, self.database, point.transaction)
        try:
            with RowSource(self.database) as source:
                rows = source.guilds_row(guild)
        except UnknownGuild as error:
            raise CannotRebuild(f"{at} does not hold the guild") from error
        except RowsRefused as error:
            raise CannotRebuild(f"{at}: {error}") from error
        if words := gap(rows, bounds):
            raise CannotRebuild(f"{at}: {words}")
        with contextlib.closing(open_database(self.database)) as database:
            checkpoint = Engine(database).checkpoint(guild)
        assert checkpoint is not None
        return rows, checkpoint.time_ms

    async def _points(self) -> dict[str, list[Point]]:
        """Every state that the bucket holds, by replica."""
        if self._settings is None:
            return {}
        bucket = ReplicaBucket(self._settings)
        for replica in await bucket.replicas():
            self._files[replica] = await bucket.files(replica)
        return {replica: points_of(replica, files) for replica, files in self._files.items()}

    async def _assignment(self, guild: GuildId) -> Assignment | None:
        entry = await Bucket(self._bus, storage.GUILDS).get(guild)
        return decode(entry.value, Assignment) if entry is not None and entry.value else None

    async def _holders(self, guild: GuildId, assignment: Assignment | None) -> list[Holder]:
        """Replicas of pods that are known to have had the guild, from what config remembers."""
        since: dict[str, int] = {}
        if assignment is not None:
            now = (assignment, assignment.follower, *assignment.sources)
            for holder in now:
                if holder is not None:
                    replica = f"{PODS}/{holder.pod}/{holder.incarnation}"
                    since[replica] = assignment.since_ms
        try:
            subject = subjects.config_endpoint("history")
            query = encode(HistoryQuery(guild=guild, limit=HISTORY))
            answer = await self._bus.ask(subject, query, timeout_s=5.0)
            changes = decode(answer.data, History).changes
        except (BusError, MalformedMessage) as error:
            self._say(f"config does not tell who had the guild ({error}): looking without it")
            changes = []
        for change in changes:
            replica = f"{PODS}/{change.pod}/{change.incarnation}"
            since[replica] = min(change.at_ms, since.get(replica, change.at_ms))
        return [Holder(replica=replica, since_ms=at_ms) for replica, at_ms in since.items()]

    def _empty(self) -> None:
        shutil.rmtree(self.database.parent, ignore_errors=True)
        self.database.parent.mkdir(parents=True)


def _base(point: Point, rows: GuildRows, time_ms: int, earliest_ms: int) -> Base:
    return Base(
        kind="replica",
        replica=point.replica,
        transaction=point.transaction,
        sequence=rows.sequence,
        time_ms=time_ms,
        earliest_ms=earliest_ms,
    )
