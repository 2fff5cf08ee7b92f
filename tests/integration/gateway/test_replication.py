"""What is in the backup bucket is known by looking into it."""

import asyncio
import errno
import os
import signal
import sqlite3
from collections import deque
from collections.abc import AsyncIterator, Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest

from components.gateway.engine.pod_tables import put_meta
from components.gateway.engine.schema import open_database
from components.gateway.shell.backup import Backup
from components.gateway.shell.bucket import LtxFile, ReplicaBucket, reach
from components.gateway.shell.errors import BucketFailed, ReplicaInUse
from components.gateway.shell.replicas import Replicas
from components.gateway.shell.replication import _Mark, _thinned
from components.gateway.shell.wal import Wal, WalPosition
from components.process.clock import steady_s
from contracts.ids import Sequence
from tests.support.s3 import Store, running_store

REPLICA = "pods/p/1"


@pytest.fixture
async def store(tmp_path: Path) -> AsyncIterator[Store]:
    async with running_store(tmp_path / "s3") as store:
        yield store


@pytest.fixture
def database(tmp_path: Path) -> Iterator[sqlite3.Connection]:
    opened = open_database(tmp_path / "pod.db")
    yield opened
    opened.close()


@pytest.fixture
async def backup(
    store: Store, tmp_path: Path, database: sqlite3.Connection
) -> AsyncIterator[Backup]:
    backup = Backup(store.settings, tmp_path / "pod.db", REPLICA)
    running = asyncio.create_task(backup.run())
    yield backup
    running.cancel()
    await asyncio.wait([running])


def beat(database: sqlite3.Connection, backup: Backup, number: int) -> None:
    """A beat as the logbook commits it."""
    put_meta(database, "beat", str(number))
    backup.replication.noted(number, Sequence(number * 10))


async def until_backed_up(backup: Backup, number: int) -> None:
    async with asyncio.timeout(20):
        while backup.replication.backed_up_beat < number:
            await asyncio.sleep(0.02)


async def until_no_lag(backup: Backup) -> None:
    """Litestream commits something itself now and then, which has to arrive, too."""
    async with asyncio.timeout(20):
        while backup.replication.lag_s > 0:
            await asyncio.sleep(0.02)


async def test_a_beat_is_backed_up_when_a_restore_would_have_it(
    store: Store, tmp_path: Path, database: sqlite3.Connection, backup: Backup
) -> None:
    for number in range(1, 6):
        beat(database, backup, number)
        await until_backed_up(backup, number)
        assert backup.replication.backed_up_beat == number
        assert backup.replication.backed_up_to == number * 10
        assert await restored_beat(store, tmp_path / f"{number}.db") >= number


async def restored_beat(store: Store, to: Path) -> int:
    async with Replicas(store.settings, to.with_suffix("")).restored(REPLICA) as replica:
        return replica.beat


async def test_a_beat_whose_place_in_the_wal_was_not_seen_is_left_to_the_next(
    database: sqlite3.Connection, backup: Backup, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fails(_: Wal) -> WalPosition:
        raise OSError(errno.EMFILE, os.strerror(errno.EMFILE))

    beat(database, backup, 1)
    position = backup.replication._marks[-1].position
    with monkeypatch.context() as patched:
        patched.setattr(Wal, "end", fails)
        beat(database, backup, 2)
    backup.replication._arrive(position)
    assert backup.replication.backed_up_beat == 1
    beat(database, backup, 3)
    await until_backed_up(backup, 3)


async def test_the_lag_is_the_age_of_the_oldest_commit_that_has_not_arrived(
    store: Store, database: sqlite3.Connection, backup: Backup
) -> None:
    beat(database, backup, 1)
    await until_backed_up(backup, 1)
    worst = [0.0]
    backup.replication.worst_lag_s()
    began_s = steady_s()
    async with asyncio.timeout(60):
        # However long an upload takes here, it is less than all commits together.
        while steady_s() - began_s < max(2.0, 2 * max(worst)):
            put_meta(database, "steady", str(len(worst)))
            await asyncio.sleep(0.02)
            worst.append(backup.replication.lag_s)
    assert max(worst) > 0
    assert backup.replication.worst_lag_s() >= max(worst)
    beat(database, backup, 2)
    await until_backed_up(backup, 2)
    await until_no_lag(backup)


async def test_the_lag_grows_while_nothing_arrives_and_ends_when_it_does(
    store: Store, database: sqlite3.Connection, backup: Backup
) -> None:
    beat(database, backup, 1)
    await until_backed_up(backup, 1)
    process = backup.process_id
    assert process is not None
    os.kill(process, signal.SIGSTOP)
    beat(database, backup, 2)
    before = backup.replication.lag_s
    await asyncio.sleep(0.6)
    assert backup.replication.lag_s >= before + 0.5
    assert backup.replication.backed_up_beat == 1
    os.kill(process, signal.SIGCONT)
    await until_backed_up(backup, 2)
    assert backup.replication.worst_lag_s() >= 0.5


async def test_resets_of_the_wal_lose_nothing_of_the_measure(
    database: sqlite3.Connection, backup: Backup
) -> None:
    database.execute("PRAGMA wal_autocheckpoint = 10")
    for number in range(1, 40):
        for row in range(30):
            put_meta(database, f"row-{row}", os.urandom(500).hex())
        beat(database, backup, number)
        await asyncio.sleep(0.02)
    await until_backed_up(backup, 39)
    await until_no_lag(backup)


async def test_a_prefix_with_something_under_it_is_not_written_to(
    store: Store, tmp_path: Path, database: sqlite3.Connection
) -> None:
    taken = store.folder / "modbot" / REPLICA / "0000"
    taken.mkdir(parents=True)
    (taken / f"{1:016x}-{1:016x}.ltx").write_bytes(b"somebody else's")
    with pytest.raises(ReplicaInUse):
        await Backup(store.settings, tmp_path / "pod.db", REPLICA).run()


async def test_a_bucket_that_is_away_is_told_in_words(store: Store) -> None:
    await store.stop()
    with pytest.raises(BucketFailed, match="the backup bucket: "):
        await ReplicaBucket(store.settings).files(REPLICA)


def ltx(level: int, first: int, last: int) -> LtxFile:
    return LtxFile(
        path=f"{level:04d}/{first}",
        level=level,
        first=first,
        last=last,
        size=1,
        stored=datetime.now(UTC),
    )


def test_files_reach_as_far_as_none_is_missing() -> None:
    assert reach([]) == 0
    assert reach([ltx(0, 1, 1), ltx(0, 2, 2), ltx(0, 4, 4)]) == 2
    assert reach([ltx(0, 4, 4), ltx(1, 1, 3)]) == 4
    assert reach([ltx(0, 6, 6), ltx(0, 7, 9)], 5) == 9
    assert reach([ltx(0, 7, 9)], 5) == 5


def test_fewer_marks_never_make_the_lag_smaller() -> None:
    marks = deque(_Mark(WalPosition(0, n), float(n)) for n in range(7))
    thinned = _thinned(marks)
    assert len(thinned) == 4
    for arrived in range(8):
        left = [mark.since for mark in marks if mark.position > (0, arrived)]
        left_thinned = [mark.since for mark in thinned if mark.position > (0, arrived)]
        assert bool(left) == bool(left_thinned)
        assert not left or left_thinned[0] <= left[0]
