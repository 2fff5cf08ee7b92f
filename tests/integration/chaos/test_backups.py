"""What the checker of chaos reads of a pod's replica."""

import asyncio
from pathlib import Path
from typing import Any

import pytest

from components.chaos import backups
from components.chaos.oracle import checkpoints
from components.gateway.engine.schema import open_database
from components.gateway.shell.backup import Backup
from components.gateway.shell.bucket import LtxFile, ReplicaBucket
from components.gateway.shell.errors import ReplicaFailed
from components.process.clock import steady_s
from tests.support.s3 import Store, running_store

REPLICA = "pods/gateway-0/one-1"


async def test_a_replica_that_is_empty_yet_is_waited_for_and_one_that_stays_so_is_a_finding(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(backups, "AGAIN_S", 0.01)
    looks = looked_at(monkeypatch)
    restored = tmp_path / "restored" / "replica.db"
    async with running_store(tmp_path / "s3") as store:
        with pytest.raises(ReplicaFailed):
            await backups._restore(store.settings, REPLICA, restored, steady_s())
        looks.clear()
        waiting = asyncio.create_task(
            backups._restore(store.settings, REPLICA, restored, steady_s() + 60)
        )
        while len(looks) <= backups.TRIES:
            assert not waiting.done(), waiting.exception()
            await asyncio.sleep(0.01)
        await replicated(store, tmp_path / "pod.db", waiting)
    assert checkpoints(restored) == {}


def looked_at(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What is looked for in the bucket from now on."""
    looks: list[str] = []
    files = ReplicaBucket.files

    async def noted(bucket: ReplicaBucket, replica: str, **only: Any) -> list[LtxFile]:
        looks.append(replica)
        return await files(bucket, replica, **only)

    monkeypatch.setattr(ReplicaBucket, "files", noted)
    return looks


async def replicated(store: Store, file: Path, waiting: asyncio.Task[None]) -> None:
    """Begin the replica of a pod's database, until what waits for it has it."""
    database = open_database(file)
    running = asyncio.create_task(Backup(store.settings, file, REPLICA).run())
    try:
        await waiting
    finally:
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)
        database.close()
