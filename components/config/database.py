"""Registry and history in PostgreSQL, written behind the bus and never in its way.

Promise: what is recorded is kept in memory (bounded) until PostgreSQL has it, and on every
(re)connect whatever the bus knows and the tables lack is added, so PostgreSQL may be away for any
time without holding up a placement. What is lost when a leader dies while PostgreSQL is away are
the rows of epochs that were already succeeded; the current epoch of every guild is always written.
"""

import asyncio
import itertools
import logging
from collections.abc import Callable, Iterable
from typing import Any, Protocol, TypeVar

import asyncpg
from asyncpg import Connection

from components.config import schema
from components.config.rows import Change, change_row, guild_row, moment_ms, pod_row
from contracts.ids import Epoch, GuildId, Incarnation, PodId
from contracts.operations import OwnershipChange
from contracts.records import Assignment, PodLease, RegisteredGuild

log = logging.getLogger(__name__)

K = TypeVar("K")
V = TypeVar("V")

MAX_PENDING = 100_000
"""Changes kept while PostgreSQL is away, about 50 MB; the oldest go first when there are more."""
BATCH = 1_000
AGAIN_S = 0.5
"""Pause between attempts to connect."""
LOOK_EVERY_S = 5.0
"""A hung server is noticed by a query that does not return, so one is made now and then."""
DEADLINE_S = 5.0

AWAY = (OSError, asyncpg.PostgresError, asyncpg.InterfaceError, TimeoutError)
"""What asyncpg raises when the server is away, hung, restarting, or refuses."""

GUILD_UPSERT = """
INSERT INTO guilds (guild, name, shard, present, seen_at) VALUES ($1, $2, $3, $4, $5)
ON CONFLICT (guild) DO UPDATE
SET name = excluded.name, shard = excluded.shard, present = excluded.present,
    seen_at = excluded.seen_at
"""
POD_UPSERT = """
INSERT INTO pods (pod, incarnation, data, replica, capacity, version, engine_version, started_at)
VALUES ($1, $2, $3, $4, $5, $6, $7, $8)
ON CONFLICT (pod) DO UPDATE
SET incarnation = excluded.incarnation, data = excluded.data, replica = excluded.replica,
    capacity = excluded.capacity, version = excluded.version,
    engine_version = excluded.engine_version, started_at = excluded.started_at
"""
CHANGE_INSERT = """
INSERT INTO ownership_history (guild, epoch, pod, incarnation, cause, changed_by, at)
VALUES ($1, $2, $3, $4, $5, $6, $7)
ON CONFLICT (guild, epoch) DO NOTHING
"""
LAST_EPOCHS = "SELECT guild, max(epoch) AS epoch FROM ownership_history GROUP BY guild"
HISTORY = """
SELECT epoch, pod, incarnation, cause, changed_by, at FROM ownership_history
WHERE guild = $1 ORDER BY epoch DESC LIMIT 100
"""


class Known(Protocol):
    """What the bus knows, for the reconciliation (`view.View`)."""

    @property
    def registered(self) -> Iterable[RegisteredGuild]:
        """Every registered guild."""

    @property
    def leases(self) -> Iterable[PodLease]:
        """The last lease of every pod."""

    @property
    def owned(self) -> Iterable[Assignment]:
        """Every assignment."""


class Database:
    """PostgreSQL, or its absence. Only a leader's is written (`lead`, `follow`)."""

    def __init__(self, url: str, replica: str, on_read: Callable[[], None] = lambda: None) -> None:
        self._url = url
        self._replica = replica
        self._connection: Connection | None = None
        self._lock = asyncio.Lock()
        self._wake = asyncio.Event()
        self._known: Known | None = None
        self._reconciled = False
        self._guilds: dict[GuildId, RegisteredGuild] = {}
        self._pods: dict[PodId, PodLease] = {}
        self._changes: dict[tuple[GuildId, Epoch], Change] = {}
        self.on_read: Callable[[], None] = lambda: None
        """Called when ``last_epochs`` was read."""
        self.last_epochs: dict[GuildId, Epoch] | None = None
        """The last epoch of every guild in the history; None until it was read once."""

    @property
    def up(self) -> bool:
        """Whether the last query worked."""
        return self._connection is not None and not self._connection.is_closed()

    @property
    def pending(self) -> int:
        """Rows that PostgreSQL does not have yet."""
        return len(self._guilds) + len(self._pods) + len(self._changes)

    def lead(self, known: Known) -> None:
        """Write from now on, beginning with what the tables lack of ``known``."""
        self._known = known
        self._reconciled = False
        self._wake.set()

    def follow(self) -> None:
        """Write no more: another replica leads, and adds what this one did not write."""
        self._known = None
        for pending in (self._guilds, self._pods, self._changes):
            pending.clear()

    def registered(self, guild: RegisteredGuild) -> None:
        """A guild's registration is new or changed."""
        if self._known is not None:
            self._guilds[guild.guild] = guild
            self._wake.set()

    def pod_changed(self, lease: PodLease) -> None:
        """A pod has started, or its standing has changed."""
        if self._known is not None:
            self._pods[lease.pod] = lease
            self._wake.set()

    def owner_changed(self, assignment: Assignment) -> None:
        """A change of ownership was written to the bus by this replica."""
        if self._known is None:
            return
        if len(self._changes) >= MAX_PENDING:
            dropped = next(iter(self._changes))
            del self._changes[dropped]
            log.error(
                "history is full while PostgreSQL is away: dropped guild %s epoch %d", *dropped
            )
        self._changes[assignment.guild, assignment.epoch] = Change(
            assignment=assignment, by=self._replica
        )
        self._wake.set()

    async def history(self, guild: GuildId) -> list[OwnershipChange] | None:
        """The guild's last 100 changes of ownership, newest first; None while PostgreSQL is
        away."""
        try:
            async with self._lock:
                if self._connection is None:
                    return None
                rows = await self._connection.fetch(HISTORY, int(guild))
        except AWAY as error:
            self._lost(error)
            return None
        return [
            OwnershipChange(
                at_ms=moment_ms(row["at"]),
                epoch=Epoch(row["epoch"]),
                pod=PodId(row["pod"]),
                incarnation=Incarnation(row["incarnation"]),
                cause=row["cause"],
                by=row["changed_by"],
            )
            for row in rows
        ]

    async def run(self) -> None:
        """Stay connected and write what is pending, until cancelled."""
        told = False
        try:
            while True:
                try:
                    await self._connect()
                    told = False
                    while True:
                        await self._write()
                        await self._pause()
                except AWAY as error:
                    self._lost(error, told=told)
                    told = True
                await asyncio.sleep(AGAIN_S)
        finally:
            if self._connection is not None:
                self._connection.terminate()

    async def _connect(self) -> None:
        connection = await asyncpg.connect(
            self._url, timeout=DEADLINE_S, command_timeout=DEADLINE_S
        )
        try:
            await schema.migrate(connection)
            rows = await connection.fetch(LAST_EPOCHS)
        except BaseException:
            connection.terminate()
            raise
        self.last_epochs = {GuildId(str(row["guild"])): Epoch(row["epoch"]) for row in rows}
        self._connection = connection
        self._reconciled = False
        connection.add_termination_listener(lambda _: self._wake.set())
        log.info("PostgreSQL is there; its history knows %d guilds", len(self.last_epochs))
        self.on_read()

    async def _pause(self) -> None:
        """Until there is something to do: rows, a lost connection, or time to look."""
        try:
            async with asyncio.timeout(LOOK_EVERY_S):
                await self._wake.wait()
        except TimeoutError:
            async with self._lock:
                await self._held().fetchval("SELECT 1")
        self._wake.clear()

    async def _write(self) -> None:
        connection = self._held()
        if self._known is not None and not self._reconciled:
            async with self._lock:
                rows = await connection.fetch(LAST_EPOCHS)
            self._reconcile(self._known, rows)
        while self._known is not None and self.pending:
            guilds, pods, changes = _some(self._guilds), _some(self._pods), _some(self._changes)
            async with self._lock, connection.transaction():
                await _each(connection, GUILD_UPSERT, map(guild_row, guilds.values()))
                await _each(connection, POD_UPSERT, map(pod_row, pods.values()))
                await _each(connection, CHANGE_INSERT, map(change_row, changes.values()))
            _forget(self._guilds, guilds)
            _forget(self._pods, pods)
            _forget(self._changes, changes)

    def _reconcile(self, known: Known, rows: list[Any]) -> None:
        self.last_epochs = {GuildId(str(row["guild"])): Epoch(row["epoch"]) for row in rows}
        self._guilds.update((guild.guild, guild) for guild in known.registered)
        self._pods.update((lease.pod, lease) for lease in known.leases)
        for owned in known.owned:
            recorded = self.last_epochs.get(owned.guild, 0)
            if owned.epoch > recorded:
                late = Change(assignment=owned, by=f"config (recorded later by {self._replica})")
                self._changes.setdefault((owned.guild, owned.epoch), late)
            elif owned.epoch < recorded:
                log.error(
                    "guild %s: the history knows epoch %d, the bus only %d; was NATS restored "
                    "from an older state?",
                    owned.guild,
                    recorded,
                    owned.epoch,
                )
        self._reconciled = True

    def _held(self) -> Connection:
        if self._connection is None or self._connection.is_closed():
            raise asyncpg.InterfaceError("the connection was closed")
        return self._connection

    def _lost(self, error: BaseException, *, told: bool = False) -> None:
        if self._connection is not None:
            self._connection.terminate()
            self._connection = None
        words = str(error) or type(error).__name__
        log.log(
            logging.DEBUG if told else logging.WARNING,
            "PostgreSQL is away, history is kept and written later: %s",
            words,
        )
        self._wake.set()


async def _each(connection: Connection, statement: str, rows: Iterable[tuple[Any, ...]]) -> None:
    """All rows at once; if one of them cannot be stored, each by itself, and that one is left
    out with a word, for it would hold up the others for ever."""
    listed = list(rows)
    if not listed:
        return
    try:
        async with connection.transaction():
            await connection.executemany(statement, listed)
    except asyncpg.DataError:
        for row in listed:
            try:
                async with connection.transaction():
                    await connection.execute(statement, *row)
            except asyncpg.DataError as error:
                log.warning("a row cannot be stored and is left out: %r: %s", row, error)


def _some(pending: dict[K, V]) -> dict[K, V]:
    return dict(itertools.islice(pending.items(), BATCH))


def _forget(pending: dict[K, V], written: dict[K, V]) -> None:
    """Drop what was written, unless something newer has taken its place."""
    for key, value in written.items():
        if pending.get(key) is value:
            del pending[key]
