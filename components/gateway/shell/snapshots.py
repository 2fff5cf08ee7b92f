"""Snapshots: a guild's rows from its owner, or another pod that has them, to a pod that is to
follow or own it.

Who has the rows exports what is committed at this moment and goes on; the checkpoint lies in the
rows. The file travels through the object store ``snapshots``. Who fetched it deletes it; what
nobody fetched goes by its age.

`Snapshots.take` answers a request and raises `ServiceError`. `Snapshots.fetch` raises
`SnapshotFailed`, after which the database holds nothing of the guild that it did not hold
before the import began, and nothing at all if it had begun: ask again, it may work then. It
raises `RowsRefused` when asking again is of no use, because this pod is too old for the rows.
"""

import asyncio
import logging
import secrets
import shutil
import sqlite3
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Final

from nats.aio.msg import Msg

from components.bus.buckets import Bucket
from components.bus.connection import Bus
from components.bus.errors import BusError
from components.bus.objects import Objects
from components.gateway.engine.errors import UnknownGuild
from components.gateway.engine.transfer import GuildRows, RowSource, export_guild
from components.gateway.shell.applier import Applier
from components.gateway.shell.departures import Departures
from components.gateway.shell.errors import PodGone, SnapshotFailed
from components.gateway.shell.importing import take_in
from components.telemetry.traces import carry, span
from contracts import headers, storage, subjects
from contracts.errors import ErrorCode, ServiceError
from contracts.ids import GuildId
from contracts.message import MalformedMessage, decode, encode
from contracts.records import Assignment, Holder
from contracts.requests import SnapshotTaken, TakeSnapshot

log = logging.getLogger(__name__)

TAKEN_AT_ONCE: Final = 4
"""Exports that an owner makes side by side; further ones wait inside the request's deadline."""
FETCHED_AT_ONCE: Final = 8
TAKEN_WITHIN_S: Final = 15.0
FETCHED_WITHIN_S: Final = 60.0
"""From the request to the last row imported; 100 MB take some 10 s."""
MOST_BYTES: Final = 512 * 1024 * 1024

Judge = Callable[[GuildRows], Awaitable[None]]
"""Raises when the rows are not wanted."""


class Snapshots:
    """One pod's side of both ends. ``scratch`` is a folder for it alone, emptied at the start."""

    def __init__(
        self, bus: Bus, applier: Applier, database: Path, scratch: Path, departures: Departures
    ) -> None:
        self._bus = bus
        self._applier = applier
        self._database = database
        self._scratch = scratch
        self._departures = departures
        self._objects = Objects(bus, storage.SNAPSHOTS)
        self._assignments = Bucket(bus, storage.GUILDS)
        self._taking = asyncio.Semaphore(TAKEN_AT_ONCE)
        self._fetching = asyncio.Semaphore(FETCHED_AT_ONCE)
        shutil.rmtree(scratch, ignore_errors=True)
        scratch.mkdir(parents=True)

    async def take(self, guild: GuildId, request: TakeSnapshot) -> SnapshotTaken:
        """Put the guild's rows into the object store for the pod that asks."""
        try:
            entry = await self._assignments.get(guild)
        except BusError as error:
            raise _unavailable(f"the assignment cannot be read: {error}") from error
        asking = Holder(pod=request.pod, incarnation=request.incarnation)
        if entry is None or entry.value is None or not _named(entry.value, asking):
            raise ServiceError(
                ErrorCode.FORBIDDEN,
                f"guild {guild} is not being given to {asking.pod} ({asking.incarnation})",
            )
        async with self._taking:
            try:
                return await self._take(guild)
            except UnknownGuild as error:
                raise _unavailable(f"this pod has no rows of guild {guild} yet") from error
            except (BusError, OSError, sqlite3.Error) as error:
                log.warning("no snapshot of guild %s: %s", guild, error)
                raise _unavailable(f"the snapshot failed: {error}") from error

    async def answer(self, message: Msg) -> None:
        """A request to this pod, whatever it is to the guild (`subjects.pod_snapshots`)."""
        parent = (message.headers or {}).get(headers.TRACEPARENT, "")
        with span("snapshot.take", parent=parent):
            await self._answer(message)

    async def _answer(self, message: Msg) -> None:
        guild = GuildId(message.subject.rpartition(".")[2])
        fields: dict[str, str] = {}
        try:
            taken = await self.take(guild, decode(message.data, TakeSnapshot))
            body = encode(taken)
        except MalformedMessage as error:
            log.warning("request on %s: %s", message.subject, error)
            return
        except ServiceError as error:
            body = encode(error.body())
            fields = {
                headers.SERVICE_ERROR: " ".join(error.description.split()),
                headers.SERVICE_ERROR_CODE: str(error.code),
            }
        try:
            await self._bus.say(message.reply, body, carry(fields))
        except BusError as error:
            log.info("a snapshot is not told of: %s", error)

    async def fetch(
        self,
        guild: GuildId,
        me: Holder,
        judge: Judge,
        of: Holder,
        *,
        owner: bool = True,
        answer_within_s: float = TAKEN_WITHIN_S,
    ) -> GuildRows:
        """Have the owner, or another pod ``of`` that has them, take a snapshot, and take its rows
        in. ``judge`` sees them before anything is replaced by them; what it raises is raised
        here. ``answer_within_s``: for the word that the snapshot is taken."""
        async with self._fetching:
            with span("snapshot.fetch", guild=guild):
                try:
                    async with asyncio.timeout(FETCHED_WITHIN_S):
                        taken = await self._ask(guild, me, of, owner, answer_within_s)
                        return await self._fetch(guild, taken, judge)
                except (BusError, PodGone, OSError, sqlite3.Error, UnknownGuild) as error:
                    # TimeoutError is an OSError
                    raise SnapshotFailed(guild, str(error) or "not done in time") from error

    async def _take(self, guild: GuildId) -> SnapshotTaken:
        name = f"{guild}-{secrets.token_hex(8)}"
        file = self._scratch / name
        try:
            rows = await asyncio.to_thread(export_guild, self._database, guild, file)
            data = await asyncio.to_thread(file.read_bytes)
        finally:
            file.unlink(missing_ok=True)
        digest = await self._objects.put(name, data, timeout_s=TAKEN_WITHIN_S)
        return SnapshotTaken(
            guild=guild,
            object=name,
            sequence=rows.sequence,
            generation=rows.generation,
            schema_version=rows.schema_version,
            engine_version=rows.engine_version,
            size=len(data),
            sha256=digest,
        )

    async def _fetch(self, guild: GuildId, taken: SnapshotTaken, judge: Judge) -> GuildRows:
        file = self._scratch / f"{guild}-{secrets.token_hex(8)}"
        try:
            try:
                if taken.size > MOST_BYTES:
                    raise SnapshotFailed(guild, f"{taken.size} bytes are more than a guild has")
                data = await self._objects.get(
                    taken.object, taken.size, taken.sha256, timeout_s=FETCHED_WITHIN_S
                )
            finally:
                await self._delete(taken.object)
            await asyncio.to_thread(file.write_bytes, data)
            del data
            with await asyncio.to_thread(RowSource, file) as source:
                await judge(source.guilds_row(guild))
                return await take_in(self._applier, source, guild)
        finally:
            file.unlink(missing_ok=True)

    async def _ask(
        self, guild: GuildId, me: Holder, of: Holder, owner: bool, within_s: float
    ) -> SnapshotTaken:
        request = TakeSnapshot(pod=me.pod, incarnation=me.incarnation)
        subject = subjects.pod_snapshot(of.pod, guild)
        if owner:
            subject = subjects.request(guild, request.verb)
        fields = {headers.DEADLINE_MS: str(int(within_s * 1000))}
        async with self._departures.noticed(of):
            answer = await self._bus.ask(
                subject, encode(request), carry(fields), timeout_s=within_s
            )
        if (words := _refused(answer)) is not None:
            raise SnapshotFailed(guild, words)
        try:
            return decode(answer.data, SnapshotTaken)
        except MalformedMessage as error:
            raise SnapshotFailed(guild, f"the owner's reply is unreadable: {error}") from error

    async def _delete(self, name: str) -> None:
        try:
            await self._objects.delete(name)
        except BusError as error:
            log.info("snapshot %s is left to its age: %s", name, error)


def _named(assignment: bytes, asking: Holder) -> bool:
    known = decode(assignment, Assignment)
    joining = known.joining
    holders = [known.follower, Holder(pod=known.pod, incarnation=known.incarnation)]
    if joining is not None:
        holders.append(Holder(pod=joining.pod, incarnation=joining.incarnation))
    return asking in holders


def _unavailable(words: str) -> ServiceError:
    return ServiceError(ErrorCode.UNAVAILABLE, words)


def _refused(answer: Msg) -> str | None:
    fields = dict(answer.headers or {})
    if headers.SERVICE_ERROR_CODE not in fields:
        return None
    code, words = fields[headers.SERVICE_ERROR_CODE], fields.get(headers.SERVICE_ERROR, "")
    return f"the owner refused: {words} ({code})"
