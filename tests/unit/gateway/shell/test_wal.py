"""The position in the WAL grows with each commit, and with nothing else."""

import sqlite3
import time
from collections.abc import Iterator
from contextlib import closing, suppress
from pathlib import Path
from threading import Thread, Timer

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from components.gateway.shell import wal as wal_module
from components.gateway.shell.wal import FOLLOWS, HEADER, Wal, WalPosition, empty_wal


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "pod.db"


@pytest.fixture
def database(path: Path) -> Iterator[sqlite3.Connection]:
    connection = opened(path)
    yield connection
    connection.close()


def opened(path: Path) -> sqlite3.Connection:
    connection = sqlite3.connect(path, isolation_level=None)
    connection.execute("PRAGMA journal_mode = WAL")
    connection.execute("PRAGMA wal_autocheckpoint = 0")
    connection.execute("CREATE TABLE IF NOT EXISTS t (value BLOB)")
    return connection


def write(connection: sqlite3.Connection, size: int = 10) -> None:
    connection.execute("INSERT INTO t VALUES (?)", (b"x" * size,))


def test_every_commit_is_further_than_the_one_before(
    path: Path, database: sqlite3.Connection
) -> None:
    wal = Wal(path)
    seen = [wal.end()]
    for size in (10, 10, 100_000, 10):
        write(database, size)
        seen.append(wal.end())
    assert seen == sorted(set(seen))
    assert seen[-1].end == path.with_name("pod.db-wal").stat().st_size


def test_what_is_not_committed_is_not_behind_the_end(
    path: Path, database: sqlite3.Connection
) -> None:
    wal = Wal(path)
    write(database)
    before = wal.end()
    database.execute("PRAGMA cache_size = 1")
    database.execute("BEGIN")
    write(database, 200_000)
    write(database, 200_000)
    assert path.with_name("pod.db-wal").stat().st_size > before.end  # spilled
    assert wal.end() == before
    database.execute("COMMIT")
    assert wal.end() > before


@pytest.mark.parametrize("mode", ["PASSIVE", "RESTART", "TRUNCATE"])
def test_it_goes_on_over_a_reset_of_the_file(
    mode: str, path: Path, database: sqlite3.Connection
) -> None:
    wal = Wal(path)
    for _ in range(20):
        write(database, 5000)
    before = wal.end()
    database.execute(f"PRAGMA wal_checkpoint({mode})")
    assert wal.end() == before
    write(database)
    after = wal.end()
    assert after > before
    assert after.resets == before.resets + 1
    assert after.end < before.end


def test_it_goes_on_when_others_have_emptied_the_file(
    path: Path, database: sqlite3.Connection
) -> None:
    wal = Wal(path)
    for _ in range(20):
        write(database, 5000)
    before = wal.end()
    for _ in range(3):
        empty_wal(path)
        assert wal.size() == 0
        assert wal.end() == before
        write(database)
        after = wal.end()
        assert (after.resets, after.end < before.end) == (before.resets + 1, True)
        before = after
        write(database, 5000)
        before = wal.end()


def reading(path: Path) -> sqlite3.Connection:
    """A connection in a transaction that the file cannot be emptied beside."""
    connection = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
    connection.execute("BEGIN")
    connection.execute("SELECT count(*) FROM t").fetchone()
    return connection


def test_a_file_that_others_do_not_let_go_is_not_taken_to_be_empty(
    path: Path, database: sqlite3.Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(wal_module, "EMPTIED_WITHIN_S", 0.2)
    monkeypatch.setattr(wal_module, "OTHERS_WAIT_S", 0.1)
    write(database)
    with closing(reading(path)):
        with pytest.raises(sqlite3.OperationalError, match="others use it all the time"):
            empty_wal(path)
        assert Wal(path).size() > 0
    empty_wal(path)
    assert Wal(path).size() == 0


def checkpoint(path: Path) -> None:
    with closing(sqlite3.connect(path, isolation_level=None, timeout=10)) as connection:
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")


def test_a_file_is_emptied_after_the_checkpoint_of_another(
    path: Path, database: sqlite3.Connection
) -> None:
    write(database)
    with closing(reading(path)) as reader:
        other = Thread(target=checkpoint, args=(path,))
        other.start()
        database.execute("PRAGMA busy_timeout = 0")
        with suppress(sqlite3.OperationalError):
            while True:  # once it has begun, the other keeps writers out
                database.execute("BEGIN IMMEDIATE")
                database.execute("ROLLBACK")
                time.sleep(0.001)
        ends = Timer(0.3, reader.rollback)
        ends.start()
        empty_wal(path)
        assert Wal(path).size() == 0
        ends.join()
        other.join()


def test_a_salt_like_none_that_was_seen_is_before_everything(path: Path) -> None:
    wal = Wal(path)
    first = wal.position(7, HEADER)
    assert wal.position(7 + FOLLOWS, HEADER) < wal.position(7 - FOLLOWS + 1, HEADER) < first


def test_without_a_file_there_is_nothing(path: Path) -> None:
    assert Wal(path).end() == WalPosition(0, 0)


def test_salts_compare_over_the_end_of_their_range(path: Path) -> None:
    wal = Wal(path)
    first = wal.position(0xFFFFFFFF, HEADER)
    assert first == (0, HEADER)
    assert wal.position(0, HEADER) == (1, HEADER)
    assert wal.position(0xFFFFFFFE, 9_000) < first


@settings(max_examples=25, deadline=None)
@given(
    steps=st.lists(
        st.tuples(st.sampled_from(["write", "write", "reset", "look"]), st.integers(1, 30_000)),
        max_size=25,
    )
)
def test_whenever_one_looks_the_end_is_that_of_one_who_looks_for_the_first_time(
    steps: list[tuple[str, int]], tmp_path_factory: pytest.TempPathFactory
) -> None:
    path = tmp_path_factory.mktemp("wal") / "pod.db"
    connection = opened(path)
    wal = Wal(path)
    last = wal.end()
    for step, size in steps:
        if step == "write":
            write(connection, size)
        elif step == "reset":
            connection.execute("PRAGMA wal_checkpoint(RESTART)")
        else:
            found = wal.end()
            assert found >= last
            assert found.end == Wal(path).end().end
            last = found
    connection.close()
