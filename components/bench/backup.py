"""How old the oldest commit ever was that was not in the bucket, with steady writes.

Messages are posted in all guilds at a rate. What is in the bucket is found by listing it and by
reading which part of the write-ahead log each new object was made from (the gateway's own
`Replication`, told to look twenty times a second), not by Litestream's word. Every age is an
overestimate by up to one look at each end.

Baseline, at the same time on the same S3 server: a plain database with one small commit every 20
ms and a Litestream of its own, looked at in the same way.
"""

import asyncio
import random
import sqlite3
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import msgspec
import psutil

from components.bench.posting import posting
from components.bench.result import Baseline, BenchResult, Figure, percentile
from components.bench.stage import id_of, make_guilds, opened, put_all, stage
from components.chaos.arena import Arena, NotThere
from components.gateway.settings import BACKUP_PREFIX, BackupSettings
from components.gateway.shell.backup import Backup
from components.gateway.shell.replication import Replication
from components.process.settings import load

LAG_LIMIT_S = 0.5
LOOK_EVERY_S = 0.05
ENVIRONMENT = {"MODBOT_BACKUP_LOOK_EVERY_S": str(LOOK_EVERY_S)}
COMMIT_EVERY_S = 0.02
LOOK_AT_LEASES_S = 0.25


class BackupOptions(msgspec.Struct, frozen=True, kw_only=True):
    """``guilds`` over ``pods``, ``rate`` messages a second for ``measured_s`` after
    ``settling_s``."""

    guilds: int = 1000
    pods: int = 2
    rate: float = 100.0
    settling_s: float = 20.0
    measured_s: float = 60.0
    seed: int = 1


async def run_backup(home: Path, options: BackupOptions, say: Callable[[str], None]) -> BenchResult:
    """The `backup` measurement on a stack of its own below ``home``."""
    say(f"starting the stack with {options.pods} pods")
    counts = ("--gateways", str(options.pods))
    async with stage(home, *counts, seed=options.seed, environment=ENVIRONMENT) as arena:
        await arena.live.control.set_limits(enabled=False)
        guilds = await make_guilds(arena.live.control, options.guilds, "town")
        arena.guilds = [id_of(guild) for guild in guilds]
        await opened(arena, 120)
        await put_all(arena)
        plain_folder = home / "plain"
        await asyncio.to_thread(plain_folder.mkdir)
        dice = random.Random(options.seed)
        async with (
            _plain(arena, plain_folder) as plain,
            posting(arena.live.control, guilds, options.rate, dice) as load,
        ):
            say(f"{options.settling_s:g} s to settle, {options.measured_s:g} s to measure")
            await asyncio.sleep(options.settling_s)
            plain.worst_lag_s()  # what was before does not count
            lags = await _lags(arena, options.measured_s)
            plain_s = plain.worst_lag_s()
            posted = load.figure()
    beside = Baseline(name="a plain database", value=round(plain_s, 3))
    figures = [
        Figure(
            name="lag_max_s",
            value=round(max(lags), 3),
            unit="s",
            limit=LAG_LIMIT_S,
            baseline=beside,
        ),
        Figure(name="lag_p50_s", value=round(percentile(lags, 0.5), 3), unit="s"),
        posted,
    ]
    return BenchResult(
        bench="backup",
        seed=options.seed,
        checked=len(lags),
        figures=figures,
        ok=all(figure.ok for figure in figures),
    )


async def _lags(arena: Arena, seconds: float) -> list[float]:
    """The worst lag of each pod in each second: what its leases tell."""
    lags: list[float] = []
    seen: dict[str, int] = {}
    until = time.monotonic() + seconds
    first = True
    while time.monotonic() < until:
        for pod, lease in arena.watched.leases.items():
            if lease.beat and seen.get(pod) != id(lease):
                if not first:
                    lags.append(lease.backup_lag_s)
                seen[pod] = id(lease)
        first = False
        await asyncio.sleep(LOOK_AT_LEASES_S)
    return lags


@asynccontextmanager
async def _plain(arena: Arena, folder: Path) -> AsyncIterator[Replication]:
    """A plain database with a backup of its own."""
    path = folder / "plain.db"
    database = sqlite3.connect(path, isolation_level=None)
    database.execute("PRAGMA journal_mode=WAL")
    database.execute("PRAGMA synchronous=NORMAL")
    database.execute("PRAGMA busy_timeout=10000")
    database.execute("CREATE TABLE t (n INTEGER PRIMARY KEY, text TEXT)")
    settings = msgspec.structs.replace(_settings(arena), log=str(folder / "litestream.log"))
    backup = Backup(settings, path, "bench/plain")

    async def write() -> None:
        while True:
            database.execute("INSERT INTO t (text) VALUES (?)", ("x" * 200,))
            await asyncio.sleep(COMMIT_EVERY_S)

    tasks = [asyncio.create_task(backup.run()), asyncio.create_task(write())]
    try:
        yield backup.replication
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        database.close()


def _settings(arena: Arena) -> BackupSettings:
    """Those of the stack's own gateways."""
    pid = arena.pid("gateway-0")
    if pid is None:
        raise NotThere("gateway-0 does not run")
    return load(BackupSettings, BACKUP_PREFIX, psutil.Process(pid).environ())
