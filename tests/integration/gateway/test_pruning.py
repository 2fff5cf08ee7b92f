"""Old replicas go when no guild depends on them, and not before (0006, step 22)."""

import os
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from components.bus.buckets import Bucket
from components.gateway.shell.bucket import ReplicaBucket
from components.gateway.shell.errors import BucketFailed
from components.gateway.shell.pruning import Pruning
from contracts import storage
from contracts.ids import Epoch, Generation, GuildId, Incarnation, PodId, Sequence
from contracts.message import encode
from contracts.records import Assignment, Holder, LeaderLease, PodLease, StateSource
from tests.support.nats import RunningNats
from tests.support.s3 import Store, running_store

HOUR_S = 3600


@pytest.fixture
async def store(tmp_path: Path) -> AsyncIterator[Store]:
    async with running_store(tmp_path / "s3") as store:
        yield store


class Ground:
    """Replicas of some age, and what names them."""

    def __init__(self, store: Store, nats_server: RunningNats) -> None:
        self.store = store
        self._nats = nats_server

    def replica(self, pod: str, incarnation: str, age_h: float) -> str:
        replica = f"pods/{pod}/{incarnation}"
        for level, last in (("0000", 1), ("0009", 2)):
            folder = self.store.folder / "modbot" / replica / level
            folder.mkdir(parents=True)
            file = folder / f"{1:016x}-{last:016x}.ltx"
            file.write_bytes(b"LTX1")
            stored = time.time() - age_h * HOUR_S - (0 if last == 2 else 1000 * HOUR_S)
            os.utime(file, (stored, stored))
        return replica

    async def lease(self, pod: str, incarnation: str, state: str = "serving") -> None:
        record = PodLease(
            pod=PodId(pod),
            incarnation=Incarnation(incarnation),
            data="d",
            state=state,  # type: ignore[arg-type]
            capacity=1,
            replica=f"pods/{pod}/{incarnation}",
            version="1",
            engine_version=1,
            started_ms=0,
        )
        bus = await self._nats.connect("config")
        await Bucket(bus, storage.PODS).put(pod, encode(record))

    async def lead(self, **fields: Any) -> None:
        lease = LeaderLease(holder="config-0", since_ms=0, **fields)
        bus = await self._nats.connect("config")
        await Bucket(bus, storage.LEADERS).put("config", encode(lease))

    async def assign(self, **fields: object) -> None:
        given = {"pod": PodId("a"), "incarnation": Incarnation("now"), **fields}
        assignment = Assignment(
            guild=GuildId("1000"),
            epoch=Epoch(1),
            first_sequence=Sequence(1),
            generation=Generation("g1"),
            cause="placed",
            since_ms=0,
            **given,  # type: ignore[arg-type]
        )
        bus = await self._nats.connect("config")
        await Bucket(bus, storage.GUILDS).put("1000", encode(assignment))

    async def prune(self, pod: str, incarnation: str = "now") -> list[str]:
        bus = await self._nats.connect("gateway")
        pruning = Pruning(
            bus,
            ReplicaBucket(self.store.settings),
            PodId(pod),
            f"pods/{pod}/{incarnation}",
            retention_h=72,
        )
        return await pruning.prune()


@pytest.fixture
async def ground(store: Store, nats_server: RunningNats) -> Ground:
    ground = Ground(store, nats_server)
    await ground.lead(all_assigned=True)
    return ground


async def test_step_22_a_pod_prunes_its_own_former_incarnations_and_leaves_the_rest(
    ground: Ground,
) -> None:
    ground.replica("a", "now", 0)
    old = ground.replica("a", "old", 100)
    recent = ground.replica("a", "recent", 71)
    others = ground.replica("b", "old", 100)
    await ground.lease("a", "now")
    await ground.lease("b", "now")
    assert await ground.prune("a") == [old]
    assert ground.store.files(old) == []
    assert len(ground.store.files(recent)) == 2
    assert len(ground.store.files(others)) == 2


async def test_step_22_what_an_assignment_depends_on_stays_however_old(ground: Ground) -> None:
    ground.replica("a", "now", 0)
    kept = [ground.replica("a", name, 100) for name in ("source", "owner", "follower", "lease")]
    gone = ground.replica("a", "gone", 100)
    source = StateSource(
        pod=PodId("a"), incarnation=Incarnation("source"), data="d", replica=kept[0]
    )
    follower = Holder(pod=PodId("a"), incarnation=Incarnation("follower"))
    await ground.assign(incarnation=Incarnation("owner"), sources=[source], follower=follower)
    await ground.lease("a", "lease")
    assert await ground.prune("a") == [gone]
    assert all(len(ground.store.files(replica)) == 2 for replica in kept)


async def test_step_22_pods_that_are_gone_are_pruned_after_by_the_first_that_serves(
    ground: Ground,
) -> None:
    for pod in ("a", "b", "c"):
        ground.replica(pod, "now", 0)
    gone = ground.replica("z", "old", 100)
    await ground.lease("a", "now", state="draining")
    await ground.lease("b", "now")
    await ground.lease("c", "now")
    assert await ground.prune("a") == []
    assert await ground.prune("c") == []
    assert await ground.prune("b") == [gone]


async def test_step_22_the_stores_clock_decides_not_ours(ground: Ground) -> None:
    ground.replica("a", "now", 200)
    old = ground.replica("a", "old", 260)
    await ground.lease("a", "now")
    assert await ground.prune("a") == []
    older = ground.replica("a", "older", 280)
    await ground.store.stop()
    await ground.store.start()
    assert await ground.prune("a") == [older]
    assert ground.store.files(old)


async def test_step_22_while_a_guild_of_the_history_has_no_assignment_nothing_goes(
    ground: Ground,
) -> None:
    ground.replica("a", "now", 0)
    only = ground.replica("z", "old", 100)
    await ground.lease("a", "now")
    await ground.lead(all_assigned=False)
    assert await ground.prune("a") == []
    await ground.lead()  # a leader that does not know, or has older code
    assert await ground.prune("a") == []
    assert len(ground.store.files(only)) == 2
    await ground.lead(all_assigned=True)
    assert await ground.prune("a") == [only]


async def test_step_22_without_config_nothing_is_pruned(
    store: Store, nats_server: RunningNats
) -> None:
    ground = Ground(store, nats_server)
    ground.replica("a", "now", 0)
    ground.replica("a", "old", 100)
    await ground.lease("a", "now")
    assert await ground.prune("a") == []


async def test_before_the_pods_own_backup_has_begun_nothing_is_pruned(ground: Ground) -> None:
    ground.replica("a", "old", 100)
    await ground.lease("a", "now")
    assert await ground.prune("a") == []


async def test_while_the_bucket_is_away_nothing_is_pruned(ground: Ground) -> None:
    await ground.store.stop()
    with pytest.raises(BucketFailed):
        await ground.prune("a")
