"""PostgreSQL as a process of the stack: initialised once, started again with its data."""

import os
import stat
from pathlib import Path

import asyncpg
import psutil
import pytest

from components.stack import postgres
from tests.support.nats import free_port
from tests.support.postgres import RunningPostgres


async def test_a_second_start_continues_with_the_data(tmp_path: Path) -> None:
    running = RunningPostgres(tmp_path / "postgres")
    running.start()
    try:
        await running.ready()
        connection = await asyncpg.connect(running.server.dsn)
        await connection.execute("CREATE TABLE kept (n int); INSERT INTO kept VALUES (42)")
        await connection.close()
    finally:
        running.close()
    again = RunningPostgres(tmp_path / "postgres")
    again.start()
    try:
        await again.ready()
        connection = await asyncpg.connect(again.server.dsn)
        assert await connection.fetchval("SELECT n FROM kept") == 42
        await connection.close()
    finally:
        again.close()


async def test_an_interrupted_initialisation_is_done_again(tmp_path: Path) -> None:
    (tmp_path / "data.unfinished").mkdir()
    (tmp_path / "data.unfinished" / "half").touch()
    postgres.prepare(tmp_path, free_port())
    assert not (tmp_path / "data.unfinished").exists()
    assert (tmp_path / "data" / "PG_VERSION").exists()


async def test_a_wrong_password_is_refused(postgres_server: RunningPostgres) -> None:
    server = postgres_server.server
    with pytest.raises(asyncpg.InvalidPasswordError):
        await asyncpg.connect(f"postgresql://modbot:guess@{server.host}:{server.port}/postgres")
    assert stat.S_IMODE((postgres_server.folder / "password").stat().st_mode) == 0o600


async def test_the_server_never_runs_as_root(postgres_server: RunningPostgres) -> None:
    assert postgres_server.process is not None
    uids = psutil.Process(postgres_server.process.pid).uids()
    assert uids.real != 0
    assert uids.effective == (os.geteuid() or uids.real)
