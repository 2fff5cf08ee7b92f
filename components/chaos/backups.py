"""Restores the newest state of every living pod's replica, and reads the round's guilds in it.

A replica that cannot be restored is a finding, with its words; one that is a moment behind is not.
So is a path that two pods write to: what lies there may be whole when it is read, by luck.
"""

import asyncio
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path

import msgspec

from components.chaos.arena import Arena
from components.chaos.oracle import Held, held_in
from components.gateway.settings import BackupSettings
from components.gateway.shell.bucket import ReplicaBucket
from components.gateway.shell.errors import BucketFailed, ReplicaFailed
from components.gateway.shell.replicas import restore
from contracts.ids import GuildId

TRIES = 3
"""A replica is written to and compacted while it is read: once may fail for that reason alone."""


class Backups(msgspec.Struct, frozen=True, kw_only=True):
    """What the bucket holds."""

    restored: int
    held: dict[GuildId, list[Held]]
    failures: list[str]
    files: dict[str, Path] = {}
    """Pod to the database that was restored; it stays until the pod's next one is."""
    replicas: dict[str, str] = {}
    """Pod to its replica's prefix in the bucket."""


async def restored(arena: Arena, guilds: Sequence[GuildId]) -> Backups:
    """Restore the replica of every pod that serves now."""
    settings = _settings(arena)
    held: dict[GuildId, list[Held]] = {guild: [] for guild in guilds}
    failures: list[str] = []
    files: dict[str, Path] = {}
    replicas: dict[str, str] = {}
    for pod, lease in sorted(arena.watched.leases.items()):
        if lease.state != "serving" or not lease.replica:
            continue
        file = arena.flag(f"restored-{pod}") / "replica.db"
        replicas[pod] = lease.replica
        try:
            await _restore(settings, lease.replica, file)
        except (BucketFailed, ReplicaFailed) as error:
            failures.append(f"the replica of {pod} ({lease.replica}) cannot be restored: {error}")
        else:
            files[pod] = file
            for guild in guilds:
                if (rows := held_in(file, f"the replica of {pod}", guild)) is not None:
                    held[guild].append(msgspec.structs.replace(rows, role="replica"))
    failures += shared(replicas)
    return Backups(
        restored=len(files), held=held, failures=failures, files=files, replicas=replicas
    )


def shared(replicas: Mapping[str, str]) -> list[str]:
    """Words for each path, of ``replicas`` by pod, that is not one pod's alone."""
    writers: dict[str, list[str]] = {}
    for pod, path in sorted(replicas.items()):
        writers.setdefault(path, []).append(pod)
    return [
        f"{' and '.join(pods)} replicate to one path ({path}) and destroy what lies there"
        for path, pods in writers.items()
        if len(pods) > 1
    ]


async def _restore(settings: BackupSettings, replica: str, to: Path) -> None:
    for left in reversed(range(TRIES)):
        shutil.rmtree(to.parent, ignore_errors=True)
        to.parent.mkdir(parents=True)
        try:
            files = await ReplicaBucket(settings).files(replica)
            await restore(settings, replica, files, to, None)
            return
        except (BucketFailed, ReplicaFailed):
            if not left:
                raise
            await asyncio.sleep(1.0)  # until the next file of it is there


def _settings(arena: Arena) -> BackupSettings:
    record = arena.live.record

    def secret(name: str) -> str:
        return Path(record.credentials[name]).read_text(encoding="utf-8").strip()

    return BackupSettings(
        bucket="modbot",
        endpoint=record.urls["s3"],
        access_key=secret("s3_access_key"),
        secret_key=secret("s3_secret_key"),
    )
