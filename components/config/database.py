"""Registry and history in PostgreSQL, written behind the bus and never in its way.

Promise: what is recorded is kept in memory (bounded) until PostgreSQL has it, and on every
(re)connect whatever the bus knows and the tables lack is added, so PostgreSQL may be away for any
time without holding up a placement. An assignment carries what was not `recorded` when it was
written, so the rows survive the leader (`components.ownership.changes` says how many).
"""

import asyncio
import itertools
import logging
from collections.abc import AsyncIterator, Callable, Iterable, Mapping
from contextlib import asynccontextmanager
from typing import Any, Protocol, TypeVar

import asyncpg
from asyncpg import Connection

from components.config import schema
from components.config.rows import change_of, change_row, guild_row, opened_row, pod_row
from components.config.statements import (
    CHANGE_INSERT,
    GUILD_UPSERT,
    HISTORY,
    INTENT_UPSERT,
    LAST_EPOCHS,
    OPENED,
    OPERATION_INSERT,
    POD_UPSERT,
)
from components.ownership import changes as owner_changes
from components.process.clock import steady_s
from contracts.ids import Epoch, GuildId, PodId
from contracts.operations import OwnershipChange
from contracts.records import Assignment, Holding, OwnerChange, PodLease, RegisteredGuild

log = logging.getLogger(__name__)

K = TypeVar("K")
V = TypeVar("V")

MAX_PENDING = 100_000
"""Changes kept while PostgreSQL is away, about 50 MB; the oldest go first when there are more."""
BATCH = 1_000
AGAIN_S = 0.5
"""Pause between attempts to connect."""
COMPARE_AGAIN_S = 5.0
"""What a killed leader wrote last may be seen after its successor first compared."""
GATHER_S = 0.5
"""Rows are written so long after the first of them: hundreds at once when a pod has died, and not
while its guilds are being given away."""
LOOK_EVERY_S = 5.0
"""A hung server is noticed by a query that does not return, so one is made now and then."""
DEADLINE_S = 5.0

AWAY = (OSError, asyncpg.PostgresError, asyncpg.InterfaceError, TimeoutError)
"""What asyncpg raises when the server is away, hung, restarting, or refuses."""


class DatabaseAway(Exception):
    """PostgreSQL is away, so nothing was written. Tell who asked; try again later."""


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

    @property
    def openings(self) -> Iterable[Holding]:
        """What owners said when they opened a guild at its present epoch."""


class Database:
    """PostgreSQL, or its absence. Only a leader's is written (`lead`, `follow`)."""

    def __init__(self, url: str) -> None:
        self._url = url
        self._connection: Connection | None = None
        self._lock = asyncio.Lock()
        self._wake = asyncio.Event()
        self._known: Known | None = None
        self._reconciled = False
        self._compare_s = float("-inf")
        """When to compare the tables with the bus again."""
        self._guilds: dict[GuildId, RegisteredGuild] = {}
        self._pods: dict[PodId, PodLease] = {}
        self._changes: dict[tuple[GuildId, Epoch], OwnerChange] = {}
        """Those of a guild in the order of their epochs, so that the last row says that all before
        it are there."""
        self._openings: dict[tuple[GuildId, Epoch], OwnerChange | Holding] = {}
        self.on_read: Callable[[], None] = lambda: None
        """Called when ``last_epochs`` was read."""
        self.last_epochs: dict[GuildId, Epoch] | None = None
        """The last epoch of every guild in the history; None until it was read once."""
        self._unopened: set[tuple[GuildId, Epoch]] = set()
        """Of these, rows that do not say how it went."""

    @property
    def up(self) -> bool:
        """Whether the last query worked."""
        return self._connection is not None and not self._connection.is_closed()

    @property
    def compared(self) -> bool:
        """Whether ``last_epochs`` was read since this replica leads: before, it lacks what others
        that led have written."""
        return self._reconciled

    @property
    def pending(self) -> int:
        """Rows that PostgreSQL does not have yet."""
        return len(self._guilds) + len(self._pods) + len(self._changes) + len(self._openings)

    def lead(self, known: Known) -> None:
        """Write from now on, beginning with what the tables lack of ``known``."""
        self._known = known
        self._reconciled = False
        self._compare_s = float("-inf")
        self._wake.set()

    def follow(self) -> None:
        """Write no more: another replica leads, and adds what this one did not write."""
        self._known = None
        self._reconciled = False  # what others write from now on is not seen here
        for pending in (self._guilds, self._pods, self._changes, self._openings):
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

    def recorded(self, guild: GuildId, epoch: Epoch) -> bool:
        """Whether the history certainly has this change of owner, with all that is known of it."""
        key = guild, epoch
        if self._reconciled and self.last_epochs is not None:
            known = epoch <= self.last_epochs.get(guild, 0)
            return known and key not in self._changes and key not in self._openings
        return False

    def all_among(self, guilds: Mapping[GuildId, object]) -> bool:
        """Whether these are all that the history certainly knows: False, too, while PostgreSQL is
        away, or was not read since this replica leads. 6 ms for 100,000."""
        if not self.up or not self._reconciled or self.last_epochs is None:
            return False
        return self.last_epochs.keys() <= guilds.keys()

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
        guild = assignment.guild
        for change in assignment.unrecorded:  # not known to be written: one of them may be lost
            self._changes.setdefault((guild, change.epoch), change)
            if change.took_ms is not None:
                self._openings.setdefault((guild, change.epoch), change)
        self._changes[guild, assignment.epoch] = owner_changes.change_of(assignment)
        self._wake.set()

    def opened(self, holding: Holding) -> None:
        """An owner has said that a guild is open, and how that went."""
        if self._known is not None and len(self._openings) < MAX_PENDING:
            self._openings[holding.guild, holding.epoch] = holding
            self._wake.set()

    async def history(
        self, guild: GuildId | None = None, pod: PodId | None = None, limit: int = 100
    ) -> list[OwnershipChange] | None:
        """The last changes of ownership, newest first; None while PostgreSQL is away."""
        if not self.up:
            return None
        try:
            if self._known is not None:
                await self._write()  # who has just made a change finds it
            async with self._held() as held:
                rows = await held.fetch(
                    HISTORY, int(guild) if guild is not None else None, pod, limit
                )
        except AWAY as error:
            self._lost(error)
            return None
        return [change_of(dict(row)) for row in rows]

    async def intend(self, key: str, value: str | None, by: str) -> None:
        """Write what an operator wants, or that it is wanted no more. Raises `DatabaseAway`."""
        await self._execute(INTENT_UPSERT, key, value, by)

    async def asked(self, operation: str, verb: str, request: str, by: str) -> None:
        """Write down that an operation was asked for. Raises `DatabaseAway`."""
        await self._execute(OPERATION_INSERT, operation, verb, request, by)

    async def intents(self) -> dict[str, str | None]:
        """What operators want, by key. Raises `DatabaseAway`."""
        async with self._held_or_away() as held:
            rows = await held.fetch("SELECT key, value FROM intents")
        return {row["key"]: row["value"] for row in rows}

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
                        await asyncio.sleep(GATHER_S)
                except AWAY as error:
                    self._lost(error, told=told)
                    told = True
                await asyncio.sleep(AGAIN_S)
        finally:
            async with self._lock:
                self._drop()

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
        known = self._read(rows)
        self._connection = connection
        self._reconciled = False
        self._compare_s = float("-inf")
        connection.add_termination_listener(lambda _: self._wake.set())
        log.info("PostgreSQL is there; its history knows %d guilds", len(known))
        self.on_read()

    async def _pause(self) -> None:
        """Until there is something to do: rows, a lost connection, or time to look."""
        try:
            async with asyncio.timeout(LOOK_EVERY_S):
                await self._wake.wait()
        except TimeoutError:
            async with self._held() as held:
                await held.fetchval("SELECT 1")
        self._wake.clear()

    async def _write(self) -> None:
        if self._known is not None and steady_s() >= self._compare_s:
            async with self._held() as held:
                rows = await held.fetch(LAST_EPOCHS)
            self._reconcile(self._known, rows)
        while self._known is not None and self.pending:
            guilds, pods, changes = _some(self._guilds), _some(self._pods), _some(self._changes)
            assert self.last_epochs is not None  # it is connected
            # Rows first, then how each went: an opening of a change that is not written yet waits.
            later = len(self._changes) > len(changes)
            openings = {} if later else _some(self._openings)
            async with self._held() as held, held.transaction():
                await _each(held, GUILD_UPSERT, map(guild_row, guilds.values()))
                await _each(held, POD_UPSERT, map(pod_row, pods.values()))
                changed = (change_row(guild, change) for (guild, _), change in changes.items())
                await _each(held, CHANGE_INSERT, changed)
                opened = (opened_row(guild, how) for (guild, _), how in openings.items())
                await _each(held, OPENED, opened)
            _forget(self._guilds, guilds)
            _forget(self._pods, pods)
            _forget(self._changes, changes)
            _forget(self._openings, openings)
            for guild, epoch in changes:
                self.last_epochs[guild] = max(epoch, self.last_epochs.get(guild, Epoch(0)))

    def _reconcile(self, known: Known, rows: list[Any]) -> None:
        last_epochs = self._read(rows)
        if not self._reconciled:
            self._guilds.update((guild.guild, guild) for guild in known.registered)
            self._pods.update((lease.pod, lease) for lease in known.leases)
        late: dict[tuple[GuildId, Epoch], OwnerChange] = {}
        for owned in known.owned:
            recorded = last_epochs.get(owned.guild, 0)
            if owned.epoch > recorded:
                for change in (*owned.unrecorded, owner_changes.change_of(owned)):
                    if change.epoch > recorded:
                        late[owned.guild, change.epoch] = change
            elif owned.epoch < recorded:
                log.error(
                    "guild %s: the history knows epoch %d, the bus only %d; was NATS restored "
                    "from an older state?",
                    owned.guild,
                    recorded,
                    owned.epoch,
                )
            for change in owned.unrecorded:
                if change.took_ms is not None:
                    self._openings.setdefault((owned.guild, change.epoch), change)
        self._changes = late | self._changes
        for holding in known.openings:
            key = holding.guild, holding.epoch
            if key in self._changes or key in self._unopened:
                self._openings.setdefault(key, holding)
        first, self._reconciled = not self._reconciled, True
        self._compare_s = steady_s() + COMPARE_AGAIN_S if first else float("inf")
        if first:
            self.on_read()

    def _read(self, rows: list[Any]) -> dict[GuildId, Epoch]:
        """What `LAST_EPOCHS` gave."""
        self.last_epochs = {GuildId(str(row["guild"])): Epoch(row["epoch"]) for row in rows}
        self._unopened = {
            (GuildId(str(row["guild"])), Epoch(row["epoch"])) for row in rows if row["unopened"]
        }
        return self.last_epochs

    async def _execute(self, statement: str, *values: object) -> None:
        async with self._held_or_away() as held:
            await held.execute(statement, *values)

    @asynccontextmanager
    async def _held(self) -> AsyncIterator[Connection]:
        """The connection, for nobody else meanwhile; dropped when what it is held for fails."""
        async with self._lock:
            try:
                if self._connection is None or self._connection.is_closed():
                    raise asyncpg.InterfaceError("the connection was closed")
                yield self._connection
            except AWAY:
                self._drop()
                raise

    @asynccontextmanager
    async def _held_or_away(self) -> AsyncIterator[Connection]:
        """The same for who has to be told when it cannot be done. Raises `DatabaseAway`."""
        try:
            async with self._held() as held:
                yield held
        except AWAY as error:
            self._lost(error)
            raise DatabaseAway(str(error) or type(error).__name__) from error

    def _drop(self) -> None:
        """Only with the lock held: asyncpg ends a statement whose connection is terminated by
        another task with an AttributeError, when it is between two of its messages."""
        if self._connection is not None:
            self._connection.terminate()
            self._connection = None

    def _lost(self, error: BaseException, *, told: bool = False) -> None:
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
