"""Restores the newest state of every serving pod's replica, and reads the round's guilds in it.

What a pod's own database holds when this is asked, its replica must hold within `WITHIN_S`: every
guild of the round, at least as far. A replica that stays behind or empty, or cannot be restored, is
a finding, with its words. So is a path that two pods write to: what lies there may be whole when it
is read, by luck. S3 must be there; every fault that takes it away brings it back.
"""

import asyncio
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path

import msgspec

from components.chaos.arena import Arena
from components.chaos.oracle import Held, checkpoints, held_in
from components.gateway.settings import BackupSettings
from components.gateway.shell.bucket import ReplicaBucket
from components.gateway.shell.errors import BucketFailed, ReplicaFailed
from components.gateway.shell.replicas import restore
from components.process.clock import steady_s
from contracts.ids import GuildId

TRIES = 3
"""A replica is written to and compacted while it is read: once may fail for that reason alone."""
AGAIN_S = 1.0
WITHIN_S = 60.0
"""Litestream's pauses double while S3 is away: after 30 s of that the first upload came after 20 s
(docs/performance.md, `bench backup`: well below a second otherwise)."""


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
    serving = {
        pod: lease.replica
        for pod, lease in sorted(arena.watched.leases.items())
        if lease.state == "serving"
    }
    replicas = {pod: replica for pod, replica in serving.items() if replica}
    until = steady_s() + WITHIN_S
    for pod, replica in serving.items():
        if not replica:
            failures.append(f"{pod} names no replica")
            continue
        file = arena.flag(f"restored-{pod}") / "replica.db"
        live = arena.data(pod) / "gateway.db"
        wanted = {guild: at for guild, at in checkpoints(live).items() if guild in held}
        try:
            while True:
                await _restore(settings, replica, file, until)
                # what the pod has dropped meanwhile is others' to keep
                still = wanted.keys() & checkpoints(live).keys()
                lacks = behind({guild: wanted[guild] for guild in still}, checkpoints(file))
                if not lacks or steady_s() > until:
                    break
                await asyncio.sleep(AGAIN_S)  # what lies in a bucket tells nobody
        except (BucketFailed, ReplicaFailed) as error:
            failures.append(f"the replica of {pod} ({replica}) cannot be restored: {error}")
        else:
            failures += [f"the replica of {pod} ({replica}) {words}" for words in lacks]
            files[pod] = file
            for guild in guilds:
                if (rows := held_in(file, f"the replica of {pod}", guild)) is not None:
                    held[guild].append(msgspec.structs.replace(rows, role="replica"))
    failures += shared(replicas)
    return Backups(
        restored=len(files), held=held, failures=failures, files=files, replicas=replicas
    )


def behind(wanted: Mapping[GuildId, int], there: Mapping[GuildId, int]) -> list[str]:
    """Words for each guild of which there is less than is wanted, by sequences of its log."""
    return [
        f"is at {there[guild]} of guild {guild}, {at} was to be there"
        if guild in there
        else f"lacks guild {guild}"
        for guild, at in wanted.items()
        if there.get(guild, -1) < at
    ]


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


async def _restore(settings: BackupSettings, replica: str, to: Path, until: float) -> None:
    bucket = ReplicaBucket(settings)
    while not await bucket.files(replica) and steady_s() < until:  # noqa: ASYNC110
        await asyncio.sleep(AGAIN_S)  # until the first upload of a pod that has just begun
    for left in reversed(range(TRIES)):
        shutil.rmtree(to.parent, ignore_errors=True)
        to.parent.mkdir(parents=True)
        try:
            files = await bucket.files(replica)
            await restore(settings, replica, files, to, None)
            return
        except (BucketFailed, ReplicaFailed):
            if not left:
                raise
            await asyncio.sleep(AGAIN_S)  # until the next file of it is there


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
