"""The pod's database is copied to S3 under its incarnation, and can be restored."""

import asyncio
import os
import signal
import sysconfig
from collections.abc import AsyncIterator
from pathlib import Path

import msgspec
import pytest

from components.gateway.engine.schema import open_database
from components.gateway.shell.applier import Applier
from components.gateway.shell.backup import Backup
from components.gateway.shell.replicas import Replicas
from components.process import log_files
from components.process.exits import CannotStart
from tests.integration.gateway.town import Pods, Town, until
from tests.support.s3 import ACCESS, SECRET, Store, running_store


@pytest.fixture
async def store(tmp_path: Path) -> AsyncIterator[Store]:
    async with running_store(tmp_path / "s3") as store:
        yield store


async def test_a_pods_rows_are_in_its_replica_after_an_orderly_stop(
    store: Store, town: Town, pods: Pods, tmp_path: Path
) -> None:
    pod = await pods.start(
        MODBOT_BACKUP_BUCKET="modbot",
        MODBOT_BACKUP_ENDPOINT=store.settings.endpoint,
        MODBOT_BACKUP_ACCESS_KEY=ACCESS,
        MODBOT_BACKUP_SECRET_KEY=SECRET,
        AWS_CA_BUNDLE="/nowhere",
    )
    await town.assign(pod.name, pod.incarnation)
    await town.served()
    await town.put_settings("one", spam={"timeout_s": 61})
    prefix = f"pods/{pod.name}/{pod.incarnation}"

    async def uploaded() -> bool:
        return bool(store.files(prefix))

    await until(uploaded)
    assert await pod.stop() == 0
    async with Replicas(store.settings, tmp_path / "scratch").restored(prefix) as replica:
        assert set(replica.guilds) == {town.guild}
        applier = Applier(tmp_path / "other.db")
        await applier.start()
        await replica.take_in(applier, town.guild)
        settings = await applier.on_database(
            lambda database: database.execute("SELECT document FROM settings").fetchone()
        )
        assert b"61" in settings[0]
        await applier.stop()


async def test_litestream_is_started_again_when_it_dies(store: Store, tmp_path: Path) -> None:
    path = tmp_path / "gateway.db"
    database = open_database(path)
    backup = Backup(store.settings, path, "pods/p/1")
    running = asyncio.create_task(backup.run())

    async def another(than: int | None) -> int | None:
        process = backup.process_id
        return process if process is not None and process != than else None

    first = await until(lambda: another(None))
    os.kill(first, signal.SIGKILL)
    second = await until(lambda: another(first))
    assert second != first
    running.cancel()
    await asyncio.wait([running])
    with pytest.raises(ProcessLookupError):
        os.kill(second, 0)
    database.close()


async def test_what_litestream_says_is_in_a_log_of_its_own_that_stays_bounded(
    store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(log_files, "LOG_BYTES_MAX", 10)
    monkeypatch.setattr(log_files, "TRIM_EVERY_S", 0.05)
    path = tmp_path / "gateway.db"
    database = open_database(path)
    said = tmp_path / "logs" / "litestream.log"
    settings = msgspec.structs.replace(store.settings, log=str(said))
    running = asyncio.create_task(Backup(settings, path, "pods/p/1").run())

    async def set_aside() -> bool:
        older = said.with_name("litestream.log.1")
        copied = older.exists() and b"level=INFO" in older.read_bytes()
        # What it says meanwhile is set aside at the next turn.
        return copied and said.stat().st_size <= 10

    await until(set_aside)
    running.cancel()
    await asyncio.wait([running])
    database.close()


async def test_a_log_that_cannot_be_written_does_not_stop_the_backup(
    store: Store, tmp_path: Path
) -> None:
    path = tmp_path / "gateway.db"
    database = open_database(path)
    (tmp_path / "file").touch()
    settings = msgspec.structs.replace(store.settings, log=str(tmp_path / "file" / "l.log"))
    running = asyncio.create_task(Backup(settings, path, "pods/p/1").run())

    async def uploaded() -> bool:
        return bool(store.files("pods/p/1"))

    await until(uploaded)
    running.cancel()
    await asyncio.wait([running])
    database.close()


async def test_without_litestream_a_pod_with_a_backup_does_not_start(
    store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr(sysconfig, "get_path", lambda _: str(tmp_path))
    with pytest.raises(CannotStart, match="litestream is missing: run `make setup`"):
        await Backup(store.settings, tmp_path / "gateway.db", "pods/p/1").run()
