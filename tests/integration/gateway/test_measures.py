"""What a pod knows of its work and its backup can be scraped from it."""

import asyncio
import os
import time
from collections.abc import AsyncIterator
from pathlib import Path

import aiohttp
import pytest

from components.bus.buckets import Bucket
from components.process import exits
from contracts import storage
from contracts.message import decode, encode
from contracts.records import LeaderLease, PodLease
from tests.integration.gateway.town import Pods, Town, until
from tests.support.nats import free_port
from tests.support.s3 import ACCESS, SECRET, Store, running_store


@pytest.fixture
async def store(tmp_path: Path) -> AsyncIterator[Store]:
    async with running_store(tmp_path / "s3") as store:
        yield store


class Scraper:
    """What Prometheus would get of a pod."""

    def __init__(self) -> None:
        self.port = free_port()

    async def figures(self) -> dict[str, float]:
        """Name and labels of every sample, and the figure."""
        url = f"http://127.0.0.1:{self.port}/metrics"
        async with aiohttp.ClientSession() as session, session.get(url) as answer:
            assert answer.status == 200
            text = await answer.text()
        samples = (line.rpartition(" ") for line in text.splitlines() if line[0] != "#")
        return {name: float(figure) for name, _, figure in samples}

    async def figure(self, name: str) -> float:
        """One of them."""
        return (await self.figures())[name]


def old_replica(store: Store, pod: str) -> str:
    """A replica of a former incarnation, whose newest object is two hours old."""
    replica = f"pods/{pod}/former"
    for level in ("0000", "0009"):
        folder = store.folder / "modbot" / replica / level
        folder.mkdir(parents=True)
        file = folder / f"{1:016x}-{1:016x}.ltx"
        file.write_bytes(b"LTX1")
        stored = time.time() - 2 * 3600
        os.utime(file, (stored, stored))
    return replica


async def test_a_scrape_shows_the_backups_lag_and_what_was_pruned(
    store: Store, town: Town, pods: Pods
) -> None:
    scraper = Scraper()
    former = old_replica(store, "gateway-0")
    pod = await pods.start(
        MODBOT_METRICS_ADDR=f"127.0.0.1:{scraper.port}",
        MODBOT_BACKUP_BUCKET="modbot",
        MODBOT_BACKUP_ENDPOINT=store.settings.endpoint,
        MODBOT_BACKUP_ACCESS_KEY=ACCESS,
        MODBOT_BACKUP_SECRET_KEY=SECRET,
        MODBOT_BACKUP_LOOK_EVERY_S="0.1",
        MODBOT_BACKUP_RETENTION_H="1",
        MODBOT_BACKUP_PRUNE_EVERY_S="1",
    )
    assert await scraper.figure("modbot_pruned_replicas_total") == 0
    # Without config's word nothing is pruned, so the figure above is that of before.
    leads = LeaderLease(holder="config-0", since_ms=0, all_assigned=True)
    await Bucket(town.config, storage.LEADERS).put("config", encode(leads))
    await town.assign(pod.name, pod.incarnation)
    await town.served()
    await town.say("hello")

    async def pruned() -> dict[str, float]:
        figures = await scraper.figures()
        return figures if figures["modbot_pruned_replicas_total"] else {}

    figures: dict[str, float] = await until(pruned)
    assert store.files(former) == []
    assert figures["modbot_pruned_replicas_total"] == 1
    assert figures["modbot_pruned_objects_total"] == 2
    assert figures["modbot_backup_retention_hours"] == 1

    async def at_work() -> bool:
        figures = await scraper.figures()
        roles = [figures[f'modbot_guilds{{role="{role}"}}'] for role in ("owned", "open")]
        return roles == [1, 1] and figures["modbot_inputs_applied_total"] >= 3

    await until(at_work)
    assert figures["modbot_outbox_pending"] == 0
    assert figures['modbot_guilds{role="followed"}'] == 0
    assert figures["modbot_nats_connected"] == 1

    async def told() -> PodLease | None:
        entry = await Bucket(town.operator, storage.PODS).get(pod.name)
        assert entry is not None
        assert entry.value is not None
        lease = decode(entry.value, PodLease)
        return lease if lease.pruned_replicas else None

    lease: PodLease = await until(told)
    assert lease.backup_retention_h == 1
    assert abs(lease.pruning_looked_ms / 1000 - time.time()) < 60

    await store.stop()

    async def behind() -> bool:
        return await scraper.figure("modbot_backup_lag_seconds") > 2

    await until(behind)
    first = await scraper.figure("modbot_backup_lag_seconds")
    assert await scraper.figure("modbot_backup_lag_seconds") > first
    await store.start()

    async def caught_up() -> bool:
        return await scraper.figure("modbot_backup_lag_seconds") < 1

    await until(caught_up, timeout_s=60)
    assert await pod.stop() == 0


async def test_a_pod_that_cannot_have_its_metrics_address_says_so_and_ends(
    pods: Pods, town: Town
) -> None:
    scraper = Scraper()
    await pods.start("gateway-0", MODBOT_METRICS_ADDR=f"127.0.0.1:{scraper.port}")
    second = pods.make("gateway-1", MODBOT_METRICS_ADDR=f"127.0.0.1:{scraper.port}")
    starting = asyncio.create_task(second.start())

    async def started() -> bool:
        return second.process is not None

    await until(started)
    assert second.process is not None
    assert await second.process.wait() == exits.CONFIG
    assert "MODBOT_METRICS_ADDR" in second.words()
    starting.cancel()
