"""A guild's rows travel as a file: what is taken in equals what was there, or is refused."""

import sqlite3
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from components.gateway.engine.dump import canonical_dump
from components.gateway.engine.engine import Engine
from components.gateway.engine.errors import RowsRefused, UnknownGuild
from components.gateway.engine.inputs import ENGINE_VERSION
from components.gateway.engine.pod_tables import complete_mark, put_meta
from components.gateway.engine.schema import GUILD_TABLES, drop_guild, open_database
from components.gateway.engine.transfer import (
    RowSource,
    export_guild,
    import_guild,
    unfinished_imports,
)
from contracts.ids import GuildId, Sequence
from tests.unit.gateway.engine.support import GUILD, OTHER_GUILD, Log
from tests.unit.gateway.engine.test_replay import GUILDS, scripts, write


@pytest.fixture
def pod(tmp_path: Path) -> Iterator[sqlite3.Connection]:
    """The database of the pod that the rows come from."""
    database = open_database(tmp_path / "pod.db")
    yield database
    database.close()


@pytest.fixture
def other(tmp_path: Path) -> Iterator[sqlite3.Connection]:
    """The database of the pod that the rows go to."""
    database = open_database(tmp_path / "other.db")
    yield database
    database.close()


def taken_in(source: Path, into: sqlite3.Connection, guild: GuildId = GUILD) -> None:
    with RowSource(source) as rows:
        into.execute("BEGIN IMMEDIATE")
        import_guild(into, rows, guild)
        into.execute("COMMIT")


def rows_of(database: sqlite3.Connection, guild: GuildId) -> int:
    return sum(
        database.execute(f"SELECT count(*) FROM {table} WHERE guild_id = ?", (guild,)).fetchone()[0]
        for table in GUILD_TABLES
    )


def moved(history: list[tuple[int, int, tuple[str, Any]]], then: int, batch_rows: int) -> None:
    """Write a history, move its guilds half-way into a database that held something else of
    them, go on in both, and compare."""
    with TemporaryDirectory() as folder:
        here = open_database(Path(folder) / "here.db")
        there = open_database(Path(folder) / "there.db")
        old = Log(guild=GUILD, database=there)
        old.post("what was here before")
        logs = [Log(guild=guild, database=here) for guild in GUILDS]
        for which, later, (operation, value) in history[:then]:
            logs[which].now += later
            write(logs[which], operation, value)
        for log in logs:
            file = Path(folder) / f"{log.guild}.db"
            found = export_guild(Path(folder) / "here.db", log.guild, file)
            assert found.sequence == log.sequence
            with RowSource(file) as source:
                assert source.guilds() == {log.guild: found}
                for batch in source.batches(log.guild, batch_rows):
                    assert sum(len(rows) for _, rows in batch.inserts) <= batch_rows
                    there.execute("BEGIN IMMEDIATE")
                    batch.write(there)
                    there.execute("COMMIT")
            assert canonical_dump(there, log.guild) == log.dump()
        assert unfinished_imports(there) == []
        engine = Engine(there)
        for which, later, (operation, value) in history[then:]:
            log = logs[which]
            log.now += later
            known = len(log.items)
            write(log, operation, value)
            for item in log.items[known:]:
                engine.apply(item)
        for log in logs:
            assert canonical_dump(there, log.guild) == log.dump()
        here.close()
        there.close()


@settings(
    max_examples=60,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
)
@given(history=scripts, share=st.floats(0, 1), batch_rows=st.sampled_from((1, 7, 1000)))
def test_rows_that_moved_equal_those_that_stayed_then_and_after_more_inputs(
    history: list[tuple[int, int, tuple[str, Any]]], share: float, batch_rows: int
) -> None:
    moved(history, int(len(history) * share), batch_rows)


def test_an_export_shows_what_is_committed_and_does_not_wait_for_a_writer(
    pod: sqlite3.Connection, tmp_path: Path
) -> None:
    log = Log(database=pod)
    before = log.dump()
    pod.execute("BEGIN IMMEDIATE")
    log.post("not committed yet")
    found = export_guild(tmp_path / "pod.db", GUILD, tmp_path / "file.db")
    pod.execute("COMMIT")
    assert found.sequence == log.sequence - 1
    with RowSource(tmp_path / "file.db") as source:
        assert canonical_dump(source._database, GUILD) == before


def test_a_guild_that_is_not_there_leaves_no_file(pod: sqlite3.Connection, tmp_path: Path) -> None:
    with pytest.raises(UnknownGuild):
        export_guild(tmp_path / "pod.db", GUILD, tmp_path / "file.db")
    assert not (tmp_path / "file.db").exists()


def test_a_guild_that_waits_at_an_input_waits_there_after_the_move(
    pod: sqlite3.Connection, other: sqlite3.Connection, tmp_path: Path
) -> None:
    log = Log(database=pod)
    log.engine.park(GUILD, Sequence(9), "killed the pod twice")
    export_guild(tmp_path / "pod.db", GUILD, tmp_path / "file.db")
    taken_in(tmp_path / "file.db", other)
    checkpoint = Engine(other).checkpoint(GUILD)
    assert checkpoint is not None
    assert (checkpoint.parked_at, checkpoint.parked_reason) == (9, "killed the pod twice")


@pytest.mark.parametrize(("marks", "complete"), [({"complete": "50"}, 50), ({}, 2)])
def test_the_rows_bring_along_up_to_where_they_are_complete(
    marks: dict[str, str],
    complete: int,
    pod: sqlite3.Connection,
    other: sqlite3.Connection,
    tmp_path: Path,
) -> None:
    Log(database=pod)
    for key, value in marks.items():
        put_meta(pod, key, value)
    put_meta(other, "complete", "1000")
    export_guild(tmp_path / "pod.db", GUILD, tmp_path / "file.db")
    taken_in(tmp_path / "file.db", other)
    assert complete_mark(other, GUILD) == complete
    assert complete_mark(other, OTHER_GUILD) == 1000


def test_a_mark_of_the_guilds_own_outranks_the_pods(
    pod: sqlite3.Connection, tmp_path: Path
) -> None:
    Log(database=pod)
    put_meta(pod, "complete", "1000")
    put_meta(pod, f"complete.{GUILD}", "70")
    assert export_guild(tmp_path / "pod.db", GUILD, tmp_path / "file.db").complete == 70


def test_an_import_that_never_ended_is_no_guild_and_is_found_and_dropped(
    pod: sqlite3.Connection, other: sqlite3.Connection, tmp_path: Path
) -> None:
    log = Log(database=pod)
    for number in range(20):
        log.post(f"free nitro {number}")
    export_guild(tmp_path / "pod.db", GUILD, tmp_path / "file.db")
    with RowSource(tmp_path / "file.db") as source:
        batches = source.batches(GUILD, 5)
        for _ in range(3):
            next(batches).write(other)
    assert rows_of(other, GUILD) > 0
    assert Engine(other).guilds() == []
    assert unfinished_imports(other) == [GUILD]
    Engine(other).drop(GUILD)
    assert rows_of(other, GUILD) == 0
    assert unfinished_imports(other) == []
    taken_in(tmp_path / "file.db", other)
    assert canonical_dump(other, GUILD) == log.dump()


def test_a_restored_replica_gives_each_of_its_guilds(
    pod: sqlite3.Connection, other: sqlite3.Connection, tmp_path: Path
) -> None:
    logs = [Log(guild=guild, database=pod) for guild in GUILDS]
    logs[1].post()
    with RowSource(tmp_path / "pod.db") as source:
        assert {g: row.sequence for g, row in source.guilds().items()} == {GUILD: 2, OTHER_GUILD: 3}
    for log in logs:
        taken_in(tmp_path / "pod.db", other, log.guild)
        assert canonical_dump(other, log.guild) == log.dump()


def test_rows_of_an_older_schema_are_brought_up_to_date(
    pod: sqlite3.Connection, other: sqlite3.Connection, tmp_path: Path
) -> None:
    log = Log(database=pod)
    pod.execute("DROP TABLE audit_entries")
    for later in ("m002_audit_entries", "m003_restores", "m004_what_a_restore_put"):
        pod.execute("DELETE FROM _sqlite_migrations WHERE name = ?", (later,))
    for table in ("restores", "restore_rows"):
        pod.execute(f"DROP TABLE {table}")
    with RowSource(tmp_path / "pod.db") as source:
        assert source.schema_version == 1
    taken_in(tmp_path / "pod.db", other)
    assert canonical_dump(other, GUILD) == log.dump()


def test_rows_that_a_restore_replaced_before_what_it_put_was_kept_come_along(
    pod: sqlite3.Connection, other: sqlite3.Connection, tmp_path: Path
) -> None:
    Log(database=pod)
    pod.execute("ALTER TABLE restore_rows DROP COLUMN put_sha256")
    pod.execute("DELETE FROM _sqlite_migrations WHERE name LIKE 'm004%'")
    kept = (GUILD, "r1", 0, 0, "cases", b"[1]", b"null")
    pod.execute("INSERT INTO restore_rows VALUES (?, ?, ?, ?, ?, ?, ?)", kept)
    with RowSource(tmp_path / "pod.db") as source:
        assert source.schema_version == 3
    taken_in(tmp_path / "pod.db", other)
    query = "SELECT restore_id, tab, put_sha256 FROM restore_rows"
    assert other.execute(query).fetchall() == [("r1", "cases", "")]


def test_rows_of_a_newer_schema_are_refused_with_words(
    pod: sqlite3.Connection, tmp_path: Path
) -> None:
    Log(database=pod)
    pod.execute("UPDATE _sqlite_migrations SET name = 'm009_later' WHERE name LIKE 'm004%'")
    with pytest.raises(RowsRefused, match=r"schema 4 \(m009_later\).*update this pod"):
        RowSource(tmp_path / "pod.db")


def test_a_guild_that_needs_a_newer_engine_is_refused_with_words(
    pod: sqlite3.Connection, other: sqlite3.Connection, tmp_path: Path
) -> None:
    Log(database=pod)
    pod.execute("UPDATE guilds SET engine_version = ?", (ENGINE_VERSION + 1,))
    export_guild(tmp_path / "pod.db", GUILD, tmp_path / "file.db")
    with (
        RowSource(tmp_path / "file.db") as source,
        pytest.raises(RowsRefused, match=f"needs engine version {ENGINE_VERSION + 1}"),
    ):
        import_guild(other, source, GUILD)
    assert rows_of(other, GUILD) == 0


@pytest.mark.parametrize("content", [b"", b"not a database" * 400])
def test_a_file_that_is_no_pods_database_is_refused(content: bytes, tmp_path: Path) -> None:
    (tmp_path / "file.db").write_bytes(content)
    with pytest.raises(RowsRefused, match="no database of a pod"):
        RowSource(tmp_path / "file.db")


def test_dropping_a_guild_forgets_its_mark(pod: sqlite3.Connection) -> None:
    Log(database=pod)
    put_meta(pod, f"complete.{GUILD}", "70")
    drop_guild(pod, GUILD)
    assert rows_of(pod, GUILD) == 0
    assert complete_mark(pod, GUILD) == 0
