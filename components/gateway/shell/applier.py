"""The one thread that owns the database: it applies inputs and answers reads, in order.

A thread of its own, so that a stalled commit (facts.md: up to 7 s under a backup) cannot stop
the renewal of the lease. Whatever is queued, up to `MAX_BATCH` jobs, shares one transaction
(group commit); results are handed to the event loop after its commit, in order. Reads run on
the same thread and so see everything handed in before them that did not go behind.

What a guild catches up with goes behind all else (``behind``), in an order of its own (`lanes`): a
pod that takes over or follows many guilds reads thousands of inputs, and those that ask about its
other guilds do not wait for them. A guild's own reads, and what deletes its rows, do not wait for
them either: `feed.Feed.applied` does.

Fails: an error that is not computed from input and state (disk, memory, a bug) rolls the batch
back, ends the thread and fails `Applier.failed` with `EngineFailed`; the pod must stop.
"""

import asyncio
import logging
import sqlite3
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final, TypeVar

from components.gateway.engine.engine import Engine
from components.gateway.engine.model import Applied, LoggedInput
from components.gateway.engine.pod_tables import get_meta, put_meta
from components.gateway.engine.schema import open_database
from components.gateway.engine.transfer import unfinished_imports
from components.gateway.shell.errors import EngineFailed
from components.gateway.shell.lanes import Lanes
from contracts.errors import ServiceError
from contracts.ids import GuildId
from contracts.inputs import SkipInput

log = logging.getLogger(__name__)

T = TypeVar("T")

MAX_QUEUED: Final = 4096
"""Jobs beyond which `Applier.room` waits: what arrives then stays in the bus client's bounded
queues, and what those drop is read from the log again."""
MAX_BEHIND: Final = 1024
"""The same of those behind: a guild that is caught up waits for what others had handed in before,
a quarter of each batch on a pod that has all it can do."""
ROOM_AGAIN: Final = 4
"""`Applier.room` waits until only this part is left: who fills the queue and who empties it each
run for a while, and do not take the interpreter from each other with every job."""

RUNNING: Final = "running"
"""Pod-level mark: set while the thread runs, so that the next start sees an unclean end."""


class _Job:
    """One piece of work: ``run`` on the thread, then ``done`` with its result on the loop."""

    __slots__ = ("alone", "behind", "done", "error", "failed", "item", "result", "run", "writes")

    def __init__(
        self,
        run: Callable[[Engine], Any],
        done: Callable[[Any], None],
        failed: Callable[[ServiceError], None] | None = None,
        *,
        item: LoggedInput | None = None,
        writes: bool = False,
        alone: bool = False,
        behind: bool = False,
    ) -> None:
        self.run = run
        self.done = done
        self.failed = failed
        self.item = item
        self.writes = writes
        self.alone = alone
        self.behind = behind
        self.result: Any = None
        self.error: ServiceError | None = None


class _Room:
    """Whether more may be queued."""

    def __init__(self, most: int) -> None:
        self.free = asyncio.Event()
        self.free.set()
        self._most = most
        self._queued = 0

    def put(self) -> None:
        self._queued += 1
        if self._queued >= self._most:
            self.free.clear()

    def took(self, jobs: int) -> None:
        self._queued -= jobs
        if self._queued < self._most // ROOM_AGAIN:
            self.free.set()


class Applier:
    """The engine behind a queue. `start` it, and await `failed` beside everything else."""

    def __init__(self, database: Path, *, checkpoints: bool = True) -> None:
        """``checkpoints``: whether SQLite moves the WAL into the database by itself; not where
        Litestream does (`components.gateway.shell.backup`)."""
        self._path = database
        self._checkpoints = checkpoints
        self._lanes: Lanes[_Job] = Lanes()
        self._loop = asyncio.get_running_loop()
        self._thread = threading.Thread(target=self._work, name="applier", daemon=True)
        self._rooms = {False: _Room(MAX_QUEUED), True: _Room(MAX_BEHIND)}
        self._stopping = False
        self._unheard = False
        self.failed: asyncio.Future[None] = self._loop.create_future()
        """Fails with `EngineFailed`; done without an error once the thread has ended in order."""
        self.applied = 0
        """Inputs applied since the start, for rates."""
        self._costs: dict[GuildId, list[int]] = {}
        """Inputs, and nanoseconds in the engine, of each guild since `costs` was asked last."""
        self.unclean = False
        """The process before this one on the same database did not end in order."""

    _database: sqlite3.Connection
    """Belongs to the thread."""

    async def start(self) -> None:
        """Open the database and start applying. Raises what opening raises."""
        started: asyncio.Future[None] = self._loop.create_future()
        self._started = started
        self._thread.start()
        await started

    def apply(
        self,
        item: LoggedInput,
        done: Callable[[Applied], None],
        *,
        alone: bool = False,
        behind: bool = False,
    ) -> None:
        """Apply the next input of its guild; ``alone``: in a transaction of its own. ``behind``:
        what is queued otherwise goes first, so all of a guild's inputs until those are applied."""
        self._put(_Job(_apply(item), done, item=item, writes=True, alone=alone, behind=behind))

    def skip(
        self,
        item: LoggedInput,
        word: SkipInput,
        done: Callable[[Applied], None],
        *,
        behind: bool = False,
    ) -> None:
        """Go on over an input that an operator has named on the log."""
        self._put(_Job(_skip(item, word), done, item=item, writes=True, behind=behind))

    def call(self, run: Callable[[Engine], T], done: Callable[[T], None]) -> None:
        """Run a function on the thread and hand its result to ``done``, in order with the
        results of inputs. It may write."""
        self._put(_Job(run, done, writes=True))

    async def read(self, run: Callable[[Engine], T]) -> T:
        """The result of a function that only reads; a `ServiceError` it raises is raised here."""
        future: asyncio.Future[T] = self._loop.create_future()

        def done(result: T) -> None:
            if not future.done():
                future.set_result(result)

        def failed(error: ServiceError) -> None:
            if not future.done():
                future.set_exception(error)

        self._put(_Job(run, done, failed))
        return await future

    async def read_aside(self, run: Callable[[Engine], T]) -> T:
        """The result of a function that reads a lot, as of now, from a thread and a connection of
        its own: it holds up nobody. It sees what is committed."""

        def work() -> T:
            database = sqlite3.connect(
                f"{self._path.absolute().as_uri()}?mode=ro", uri=True, isolation_level=None
            )
            try:
                database.execute("BEGIN")
                return run(Engine(database))
            finally:
                database.close()

        return await asyncio.to_thread(work)

    async def write(self, run: Callable[[Engine], T]) -> T:
        """The result of a function that writes, once it is committed."""
        future: asyncio.Future[T] = self._loop.create_future()
        self.call(run, lambda result: None if future.done() else future.set_result(result))
        return await future

    async def on_database(
        self, run: Callable[[sqlite3.Connection], T], *, writes: bool = False
    ) -> T:
        """The result of a function on the pod-level tables."""
        on_thread = self.write if writes else self.read
        return await on_thread(lambda _: run(self._database))

    async def costs(self) -> dict[GuildId, list[int]]:
        """Inputs, and nanoseconds in the engine, of each guild since this was asked last."""

        def swap(_: Engine) -> dict[GuildId, list[int]]:
            costs, self._costs = self._costs, {}
            return costs

        return await self.read(swap)

    def deliver_no_more(self) -> None:
        """Keep every result from now on to itself: the pod ends at once, and what would be asked
        for is committed and is asked for by whoever goes on."""
        self._unheard = True

    async def room(self, *, behind: bool = False) -> None:
        """Wait while the queue is long."""
        await self._rooms[behind].free.wait()

    async def stop(self) -> None:
        """Finish what is queued, mark a clean end, close the database."""
        if not self._stopping:
            self._stopping = True
            self._lanes.stop()
        if self._thread.ident is not None:
            await asyncio.to_thread(self._thread.join)

    def _put(self, job: _Job) -> None:
        if self._stopping or self.failed.done():
            return  # the pod stops; what waits for the result is being cancelled
        self._rooms[job.behind].put()
        self._lanes.put(job)

    # On the thread

    def _work(self) -> None:
        try:
            database = self._database = open_database(self._path)
            if not self._checkpoints:
                database.execute("PRAGMA wal_autocheckpoint = 0")
            self.unclean = get_meta(database, RUNNING) == "yes"
            put_meta(database, RUNNING, "yes")
            engine = Engine(database)
            for guild in unfinished_imports(database):
                engine.drop(guild)
        except BaseException as error:  # whatever it is, the loop must hear of it
            self._tell(self._started_with, error)
            return
        self._tell(self._started_with, None)
        try:
            while jobs := self._lanes.next_batch():
                self._run_batch(database, engine, jobs)
                self._tell(self._deliver, jobs)
            put_meta(database, RUNNING, "no")
        except EngineFailed as error:
            log.exception("applying failed; the pod stops")
            self._tell(self._ended, error)
        else:
            self._tell(self._ended, None)
        finally:
            database.close()

    def _run_batch(self, database: sqlite3.Connection, engine: Engine, jobs: list[_Job]) -> None:
        at: LoggedInput | None = None
        try:
            writes = any(job.writes for job in jobs)
            database.execute("BEGIN IMMEDIATE" if writes else "BEGIN")
            for job in jobs:
                at = job.item
                began_ns = time.perf_counter_ns()
                try:
                    job.result = job.run(engine)
                except ServiceError as error:
                    if job.failed is None:
                        raise
                    job.error = error
                if at is not None:
                    self._count(at.guild, time.perf_counter_ns() - began_ns)
            at = None
            database.execute("COMMIT")
        except Exception as error:  # not from input and state: skipping it would not replay
            if database.in_transaction:
                database.execute("ROLLBACK")
            raise EngineFailed(
                at.guild if at else None,
                at.sequence if at else None,
                f"{type(error).__name__}: {error}",
            ) from error

    def _count(self, guild: GuildId, took_ns: int) -> None:
        cost = self._costs.get(guild)
        if cost is None:
            cost = self._costs[guild] = [0, 0]
        cost[0] += 1
        cost[1] += took_ns

    def _tell(self, function: Callable[..., None], *arguments: Any) -> None:
        try:
            self._loop.call_soon_threadsafe(function, *arguments)
        except RuntimeError:
            log.info("the event loop has ended before the applier")

    # On the loop

    def _started_with(self, error: BaseException | None) -> None:
        if self._started.done():
            return
        if error is None:
            self._started.set_result(None)
        else:
            self._started.set_exception(error)

    def _deliver(self, jobs: list[_Job]) -> None:
        behind = sum(job.behind for job in jobs)
        self._rooms[True].took(behind)
        self._rooms[False].took(len(jobs) - behind)
        if self._unheard:
            return
        for job in jobs:
            if job.item is not None:
                self.applied += 1
            try:
                if job.error is not None and job.failed is not None:
                    job.failed(job.error)
                else:
                    job.done(job.result)
            except Exception as error:  # a bug: going on would lose what this batch asks for
                log.exception("handling a result failed; the pod stops")
                self._ended(EngineFailed(None, None, f"{type(error).__name__}: {error}"))
                return

    def _ended(self, error: EngineFailed | None) -> None:
        if self.failed.done():
            return
        if error is None:
            self.failed.set_result(None)
        else:
            self.failed.set_exception(error)


def _apply(item: LoggedInput) -> Callable[[Engine], Applied]:
    return lambda engine: engine.apply(item)


def _skip(item: LoggedInput, word: SkipInput) -> Callable[[Engine], Applied]:
    return lambda engine: engine.skip(item, word)
