"""Every point in time of a replica can be restored, whatever happened to the WAL while no
Litestream was there to see it: in between two incarnations of a pod, or after it was killed."""

import asyncio
import os
import random
import signal
import sqlite3
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, closing
from pathlib import Path

import pytest

from components.gateway.shell import backup as backup_module
from components.gateway.shell import wal as wal_module
from components.gateway.shell.applier import Applier
from components.gateway.shell.backup import Backup
from components.gateway.shell.bucket import ReplicaBucket
from components.gateway.shell.replicas import restore
from components.gateway.shell.wal import Wal, empty_wal
from contracts.ids import Sequence
from tests.support.s3 import Store, running_store


@pytest.fixture
async def store(tmp_path: Path) -> AsyncIterator[Store]:
    async with running_store(tmp_path / "s3") as store:
        yield store


class Rows:
    """Rows with an index, written and deleted all over the pages of a pod's database."""

    def __init__(self, database: Path) -> None:
        self.database = database
        self._numbers = random.Random(1)
        with self.open() as connection:
            connection.executescript(
                "CREATE TABLE IF NOT EXISTS junk (id INTEGER PRIMARY KEY, body TEXT);"
                "CREATE INDEX IF NOT EXISTS junk_body ON junk (body);"
            )

    def open(self) -> closing[sqlite3.Connection]:
        """A connection that leaves checkpoints to others."""
        connection = sqlite3.connect(self.database, isolation_level=None, timeout=10)
        connection.execute("PRAGMA wal_autocheckpoint = 0")
        return closing(connection)

    def change(self, connection: sqlite3.Connection, transactions: int) -> None:
        for _ in range(transactions):
            connection.execute("BEGIN IMMEDIATE")
            self.change_once(connection)
            connection.execute("COMMIT")

    def change_once(self, connection: sqlite3.Connection) -> None:
        """In the transaction that the connection has open."""
        for _ in range(5):
            body = self._numbers.randbytes(400).hex()
            connection.execute("INSERT INTO junk (body) VALUES (?)", (body,))
        connection.execute(
            "DELETE FROM junk WHERE id IN (SELECT id FROM junk ORDER BY body LIMIT 2)"
        )


@asynccontextmanager
async def replicated(backup: Backup, rows: Rows) -> AsyncIterator[None]:
    """While it runs; at the end everything that was committed is in the bucket."""
    running = asyncio.create_task(backup.run())
    yield
    await one_more_arrived(backup, rows)
    running.cancel()
    await asyncio.wait([running])


async def one_more_arrived(backup: Backup, rows: Rows) -> None:
    """One more transaction is in the bucket, with everything before it."""
    with rows.open() as connection:
        rows.change(connection, 1)
    mark = backup.replication.backed_up_beat + 1
    backup.replication.noted(mark, Sequence(0))
    async with asyncio.timeout(20):
        while backup.replication.backed_up_beat < mark:
            await asyncio.sleep(0.02)


async def every_point_is_whole(store: Store, prefix: str, scratch: Path) -> int:
    """How many transactions of the replica were restored, each with the full check."""
    files = await ReplicaBucket(store.settings).files(prefix)
    points = sorted({file.last for file in files if file.level == 0})
    for point in points:
        await restore(store.settings, prefix, files, scratch / f"{point}.db", point)
    return len(points)


async def test_an_incarnation_begins_its_replica_with_the_whole_database(
    store: Store, tmp_path: Path
) -> None:
    rows = Rows(tmp_path / "gateway.db")
    with rows.open() as connection:
        connection.execute("PRAGMA journal_mode = WAL")
        async with replicated(Backup(store.settings, rows.database, "pods/p/1"), rows):
            rows.change(connection, 20)
        # Nobody looks, and the WAL is begun anew in place, shorter than it was.
        rows.change(connection, 5)
        connection.execute("PRAGMA wal_checkpoint(RESTART)")
        rows.change(connection, 1)
        backup = Backup(store.settings, rows.database, "pods/p/2")
        async with replicated(backup, rows):
            for _ in range(5):
                await one_more_arrived(backup, rows)
    files = await ReplicaBucket(store.settings).files("pods/p/2")
    assert min(file.first for file in files) == 1
    assert await every_point_is_whole(store, "pods/p/2", tmp_path) >= 5


def held_back(monkeypatch: pytest.MonkeyPatch) -> asyncio.Event:
    """A Litestream that has died is started again once this is set."""
    goes_on = asyncio.Event()
    bound_wal = Backup._bound_wal

    async def later(backup: Backup, pause_s: float) -> None:
        await goes_on.wait()
        await bound_wal(backup, pause_s)

    monkeypatch.setattr(Backup, "_bound_wal", later)
    return goes_on


async def changed(applier: Applier, rows: Rows, transactions: int) -> None:
    """Changes by the pod's own connection, each a transaction of its own."""
    for _ in range(transactions):
        await applier.on_database(rows.change_once, writes=True)


@pytest.mark.parametrize("emptied", [False, True])
async def test_what_was_written_while_litestream_was_dead_is_in_the_replica(
    emptied: bool, store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if emptied:
        monkeypatch.setattr(backup_module, "WAL_MOST", 1 << 20)
    were_emptied = []

    def noted(database: Path) -> None:
        were_emptied.append(database)
        empty_wal(database)

    monkeypatch.setattr(backup_module, "empty_wal", noted)
    database = tmp_path / "gateway.db"
    applier = Applier(database, checkpoints=False)
    await applier.start()
    rows, wal = Rows(database), Wal(database)
    goes_on = held_back(monkeypatch)
    backup = Backup(store.settings, database, "pods/p/1")
    async with replicated(backup, rows):
        await changed(applier, rows, 50)
        await one_more_arrived(backup, rows)
        killed = backup.process_id
        assert killed is not None
        os.kill(killed, signal.SIGKILL)
        resets = wal.end().resets
        await changed(applier, rows, 300)
        assert wal.size() > 2 << 20
        assert wal.end().resets == resets
        goes_on.set()
        async with asyncio.timeout(20):
            while backup.process_id in (None, killed):
                await asyncio.sleep(0.02)
        await changed(applier, rows, 20)
    await applier.stop()
    assert bool(were_emptied) == emptied
    assert await every_point_is_whole(store, "pods/p/1", tmp_path) > 1


async def test_what_was_written_after_the_wal_could_not_be_emptied_is_in_the_replica(
    store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(backup_module, "WAL_MOST", 1 << 20)
    monkeypatch.setattr(wal_module, "EMPTIED_WITHIN_S", 0.0)
    monkeypatch.setattr(wal_module, "OTHERS_WAIT_S", 0.1)
    database = tmp_path / "gateway.db"
    rows = Rows(database)
    attempts = []

    def held_up_once(database: Path) -> None:
        attempts.append(database)
        if len(attempts) > 1:
            empty_wal(database)
            return
        with rows.open() as reader:
            reader.execute("BEGIN")
            reader.execute("SELECT count(*) FROM junk").fetchone()
            with pytest.raises(sqlite3.OperationalError) as raised:
                empty_wal(database)
        with rows.open() as writer:
            rows.change(writer, 3)
        raise raised.value

    monkeypatch.setattr(backup_module, "empty_wal", held_up_once)
    applier = Applier(database, checkpoints=False)
    await applier.start()
    goes_on = held_back(monkeypatch)
    backup = Backup(store.settings, database, "pods/p/1")
    async with replicated(backup, rows):
        await changed(applier, rows, 50)
        await one_more_arrived(backup, rows)
        killed = backup.process_id
        assert killed is not None
        os.kill(killed, signal.SIGKILL)
        await changed(applier, rows, 300)
        goes_on.set()
        async with asyncio.timeout(20):
            while backup.process_id in (None, killed):
                await asyncio.sleep(0.02)
        await changed(applier, rows, 20)
    await applier.stop()
    assert len(attempts) > 1
    assert await every_point_is_whole(store, "pods/p/1", tmp_path) > 1
