"""A pod's rows come back from the bucket, whatever happened to the pod, its disk and some files."""

import asyncio
import os
import signal
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from pathlib import Path

import pytest

from components.gateway.engine.dump import canonical_dump
from components.gateway.engine.errors import RowsRefused, UnknownGuild
from components.gateway.engine.pod_tables import BEAT, put_meta
from components.gateway.engine.schema import open_database
from components.gateway.engine.transfer import GuildRows
from components.gateway.shell import replicas as module
from components.gateway.shell.applier import Applier
from components.gateway.shell.backup import Backup
from components.gateway.shell.bucket import LtxFile
from components.gateway.shell.errors import ReplicaFailed
from components.gateway.shell.replicas import Replicas, points
from contracts.ids import GuildId, Sequence
from tests.support.s3 import Store, running_store
from tests.unit.gateway.engine.support import GUILD, OTHER_GUILD, Log

REPLICA = "pods/p/1"


@pytest.fixture
async def store(tmp_path: Path) -> AsyncIterator[Store]:
    async with running_store(tmp_path / "s3") as store:
        yield store


@pytest.fixture
async def replicas(store: Store, tmp_path: Path) -> AsyncIterator[Replicas]:
    made = Replicas(store.settings, tmp_path / "scratch", kept_s=0)
    yield made
    await made.close()
    assert not (tmp_path / "scratch").exists()


@pytest.fixture
async def applier(tmp_path: Path) -> AsyncIterator[Applier]:
    """A survivor's."""
    made = Applier(tmp_path / "survivor.db")
    await made.start()
    yield made
    await made.stop()


class Lost:
    """A pod with a backup. ``die`` is its ``kill -9``, Litestream's too, and the loss of its
    disk."""

    def __init__(self, store: Store, folder: Path) -> None:
        self._folder = folder
        folder.mkdir()
        self.database = open_database(folder / "pod.db")
        self.logs = [Log(guild=guild, database=self.database) for guild in (GUILD, OTHER_GUILD)]
        self.backup = Backup(store.settings, folder / "pod.db", REPLICA)
        self._running = asyncio.create_task(self.backup.run())
        self._beat = 0

    def beat(self) -> int:
        self._beat += 1
        put_meta(self.database, BEAT, str(self._beat))
        self.backup.replication.noted(self._beat, Sequence(self._beat))
        return self._beat

    async def backed_up(self) -> int:
        """A beat that was committed now is in the bucket."""
        beat = self.beat()
        async with asyncio.timeout(20):
            while self.backup.replication.backed_up_beat < beat:
                await asyncio.sleep(0.02)
        return beat

    async def die(self) -> None:
        process = self.backup.process_id
        assert process is not None
        os.kill(process, signal.SIGKILL)
        self._running.cancel()
        await asyncio.wait([self._running])
        for path in self._folder.iterdir():
            if path.is_file():
                path.unlink()


@pytest.fixture
async def pod(store: Store, tmp_path: Path) -> AsyncIterator[Lost]:
    made = Lost(store, tmp_path / "pod")
    yield made
    if made.backup.process_id is not None:
        await made.die()
    made.database.close()


def posts(log: Log, count: int) -> None:
    for number in range(count):
        log.post(f"free nitro {number}")


def damage(file: Path) -> None:
    content = bytearray(file.read_bytes())
    content[len(content) // 2] ^= 0xFF
    file.write_bytes(content)


async def replay(applier: Applier, log: Log, rows: GuildRows) -> None:
    """Apply what the log holds behind the rows."""
    rest = [item for item in log.items if item.sequence > rows.sequence]
    await applier.write(lambda engine: [engine.apply(item) for item in rest])


async def dump(applier: Applier, guild: GuildId) -> bytes:
    return await applier.on_database(lambda database: canonical_dump(database, guild))


async def test_what_a_killed_pod_had_is_restored_and_equal_after_the_rest_of_the_log(
    pod: Lost, replicas: Replicas, applier: Applier
) -> None:
    beat = await pod.backed_up()
    for number in range(30):
        for log in pod.logs:
            log.post(f"free nitro {number}")
        await asyncio.sleep(0.02)
    await pod.die()
    async with replicas.restored(REPLICA, [GUILD, OTHER_GUILD]) as replica:
        assert replica.beat >= beat
        for log in pod.logs:
            rows = await replica.take_in(applier, log.guild)
            assert rows == replica.guilds[log.guild]
            assert log.sequence - rows.sequence <= 30
            await replay(applier, log, rows)
            assert await dump(applier, log.guild) == log.dump()


async def test_a_damaged_newest_file_falls_back_to_an_earlier_point(
    pod: Lost, replicas: Replicas, applier: Applier, store: Store
) -> None:
    beats = []
    for _ in range(3):
        posts(pod.logs[0], 5)
        beats.append(await pod.backed_up())
    await pod.die()
    damage(store.files(f"{REPLICA}/0000")[-1])
    async with replicas.restored(REPLICA, [GUILD]) as replica:
        assert beats[0] <= replica.beat < beats[-1]
        rows = await replica.take_in(applier, GUILD)
    assert 0 < rows.sequence < pod.logs[0].sequence
    await replay(applier, pod.logs[0], rows)
    assert await dump(applier, GUILD) == pod.logs[0].dump()


async def test_a_file_that_is_missing_falls_back_to_what_is_before_it(
    pod: Lost, replicas: Replicas, store: Store
) -> None:
    for _ in range(4):
        posts(pod.logs[0], 5)
        await pod.backed_up()
    await pod.die()
    gone = int(store.files(f"{REPLICA}/0000")[-2].stem[:16], 16)
    await store.stop()  # it remembers what it has listed
    for file in store.files(REPLICA):
        first, last = (int(part, 16) for part in file.stem.split("-"))
        if first <= gone <= last:
            file.unlink()
    await store.start()
    async with replicas.restored(REPLICA, [GUILD]) as replica:
        assert replica.guilds[GUILD].sequence < pod.logs[0].sequence


async def test_a_guild_that_only_an_earlier_point_holds_is_found_there(
    pod: Lost, replicas: Replicas
) -> None:
    await pod.backed_up()
    pod.logs[1].engine.drop(OTHER_GUILD)
    await pod.backed_up()
    await pod.die()
    async with replicas.restored(REPLICA, [GUILD]) as replica:
        assert set(replica.guilds) == {GUILD}
    async with replicas.restored(REPLICA, [OTHER_GUILD]) as replica:
        assert OTHER_GUILD in replica.guilds


async def test_each_guild_comes_from_the_newest_whole_point_that_holds_it(
    pod: Lost, replicas: Replicas, applier: Applier, store: Store
) -> None:
    stays, goes = pod.logs
    await pod.backed_up()
    goes_last = goes.dump()
    posts(stays, 5)
    goes.engine.drop(goes.guild)
    without = await pod.backed_up()
    without_at = stays.sequence
    posts(stays, 5)
    await pod.backed_up()
    await pod.die()
    damage(store.files(f"{REPLICA}/0000")[-1])
    async with replicas.restored(REPLICA, [log.guild for log in pod.logs]) as replica:
        assert set(replica.guilds) == {stays.guild, goes.guild}
        assert without <= replica.beat
        rows = await replica.take_in(applier, stays.guild)
        assert without_at <= rows.sequence < stays.sequence
        await replay(applier, stays, rows)
        assert await dump(applier, stays.guild) == stays.dump()
        rows = await replica.take_in(applier, goes.guild)
        await replay(applier, goes, rows)
        assert await dump(applier, goes.guild) == goes_last


async def test_a_guild_that_is_asked_for_later_is_looked_for_further_back(
    pod: Lost,
    replicas: Replicas,
    applier: Applier,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    await pod.backed_up()
    pod.logs[1].engine.drop(OTHER_GUILD)
    await pod.backed_up()
    await pod.die()
    tried = []
    restore = module.restore

    async def noted(*arguments: object) -> None:
        tried.append(arguments[-1])
        await restore(*arguments)  # type: ignore[arg-type]

    monkeypatch.setattr(module, "restore", noted)
    async with replicas.restored(REPLICA, [GUILD]) as newest:
        assert tried == [None]
        async with replicas.restored(REPLICA, [OTHER_GUILD]) as replica:
            assert replica is newest
            await replica.take_in(applier, OTHER_GUILD)
        looked = len(tried)
        async with replicas.restored(REPLICA, [GUILD, GuildId("77")]) as replica:
            assert GuildId("77") not in replica.guilds
        assert len(set(tried)) == len(tried) >= looked  # once each, whoever asks
        async with replicas.restored(REPLICA, [GUILD, GuildId("77")]):
            pass
        assert len(set(tried)) == len(tried)
        await newest.take_in(applier, GUILD)


async def test_one_restore_serves_all_who_want_its_guilds(
    pod: Lost, store: Store, applier: Applier, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    await pod.backed_up()
    await pod.die()
    restores = []
    restore = module.restore

    async def counted(*arguments: object) -> None:
        restores.append(arguments)
        await restore(*arguments)  # type: ignore[arg-type]

    monkeypatch.setattr(module, "restore", counted)
    replicas = Replicas(store.settings, tmp_path / "scratch", kept_s=0.3)

    async def open_guild(log: Log) -> None:
        async with replicas.restored(REPLICA, [log.guild]) as replica:
            await replica.take_in(applier, log.guild)

    await asyncio.gather(*(open_guild(log) for log in pod.logs))
    await open_guild(pod.logs[0])
    assert len(restores) == 1
    for log in pod.logs:
        assert await dump(applier, log.guild) == log.dump()
    async with asyncio.timeout(5):
        while list((tmp_path / "scratch").iterdir()):
            await asyncio.sleep(0.05)
    await open_guild(pod.logs[0])
    assert len(restores) == 2
    await replicas.close()
    assert not (tmp_path / "scratch").exists()


async def test_who_gives_up_waiting_ends_the_restore_of_nobody_else(
    pod: Lost, replicas: Replicas, tmp_path: Path
) -> None:
    await pod.backed_up()
    await pod.die()

    async def wait() -> int:
        async with replicas.restored(REPLICA) as replica:
            return replica.beat

    one, other = asyncio.create_task(wait()), asyncio.create_task(wait())
    await asyncio.sleep(0.05)
    one.cancel()
    assert await other == 1
    alone = asyncio.create_task(wait())
    await asyncio.sleep(0.05)
    alone.cancel()
    await asyncio.wait([alone])
    assert list((tmp_path / "scratch").iterdir()) == []


async def test_where_nothing_is_restored_the_reason_is_in_words(
    pod: Lost, replicas: Replicas, store: Store, applier: Applier
) -> None:
    await pod.backed_up()
    await pod.die()
    with pytest.raises(ReplicaFailed, match="nothing in the bucket"):
        async with replicas.restored("pods/p/2"):
            pass
    with pytest.raises(ReplicaFailed, match="none of the guilds that are wanted"):
        async with replicas.restored(REPLICA, [GuildId("77")]):
            pass
    async with replicas.restored(REPLICA) as replica:
        with pytest.raises(UnknownGuild):
            await replica.take_in(applier, GuildId("77"))
    for file in store.files(REPLICA):
        file.write_bytes(b"LTX1" + bytes(200))
    with pytest.raises(ReplicaFailed, match="at its newest: "):
        async with replicas.restored(REPLICA, [GUILD]):
            pass
    await store.stop()
    with pytest.raises(ReplicaFailed, match="the backup bucket: "):
        async with replicas.restored(REPLICA):
            pass


async def test_a_replica_of_a_newer_schema_is_refused(pod: Lost, replicas: Replicas) -> None:
    pod.database.execute(
        "UPDATE _sqlite_migrations SET name = 'm009_later' WHERE name LIKE 'm002%'"
    )
    await pod.backed_up()
    await pod.die()
    with pytest.raises(RowsRefused, match="update this pod"):
        async with replicas.restored(REPLICA):
            pass


def ltx(first: int, last: int) -> LtxFile:
    return LtxFile(path="", level=0, first=first, last=last, size=1, stored=datetime.now(UTC))


def test_points_go_back_in_steps_that_double_and_end_with_the_earliest() -> None:
    assert points([]) == []
    assert points([ltx(1, 7)]) == [None]
    assert points([ltx(1, 6), ltx(1, 7), ltx(7, 7)]) == [None, 6]
    assert points([ltx(n, n) for n in range(1, 11)]) == [None, 9, 8, 6, 2, 1]


def test_points_behind_a_gap_are_not_tried() -> None:
    assert points([ltx(2, 3)]) == []
    assert points([ltx(1, 3), ltx(4, 4), ltx(6, 6), ltx(7, 7)]) == [4, 3]
    assert points([ltx(1, 3), ltx(4, 4), ltx(6, 6), ltx(1, 6)]) == [None, 4, 3]
