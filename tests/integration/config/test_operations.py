"""What was carried out is deleted, and nothing that was asked for meanwhile."""

import asyncio
from collections.abc import Callable
from typing import Any

import pytest

from components.bus.buckets import Bucket
from components.bus.entries import Entry
from components.config.balancing import Balancer
from components.config.database import Database
from components.config.leadership import Leadership
from components.config.operations import Operations
from components.config.placing import Placer
from contracts import storage
from contracts.ids import GuildId, PodId
from contracts.message import Message, encode
from contracts.records import MoveIntent, RebalanceIntent
from tests.integration.config.cluster import Cluster
from tests.unit.config.town import Town


def move(operation: str) -> Message:
    return MoveIntent(
        guild=GuildId("1"), pod=PodId("gateway-0"), operation=operation, by="alice", since_ms=1
    )


def rebalance(operation: str) -> Message:
    return RebalanceIntent(operation=operation, by="alice", since_ms=1)


@pytest.mark.parametrize(("key", "asked"), [("move.1", move), ("rebalance", rebalance)])
async def test_a_wish_that_was_not_seen_yet_outlives_the_one_that_was_carried_out(
    cluster: Cluster, monkeypatch: pytest.MonkeyPatch, key: str, asked: Callable[[str], Message]
) -> None:
    """The same is asked for again while the watch is behind: both are carried out and told."""
    town = Town()
    town.pod("gateway-0")
    town.owned("1", "gateway-0")
    bus = await cluster.nats.connect("config")
    bucket = Bucket(bus, storage.INTENT)
    leadership = Leadership(bus, "config-0", ttl_s=2)
    placer = Placer(bus, town.view, Database(""), leadership, cluster.settings, "config-0")
    balancer = Balancer(town.view, placer, cluster.settings)
    operations = Operations(bus, town.view, placer, balancer)
    delete, tried = operations._bucket.delete, asyncio.Event()

    async def deleting(*of: Any) -> None:
        try:
            await delete(*of)
        finally:
            tried.set()

    monkeypatch.setattr(operations._bucket, "delete", deleting)
    placer.leader.begin(town.now_s)

    async def ask(operation: str) -> Entry:
        value = encode(asked(operation))
        return Entry(key=key, value=value, revision=await bucket.put(key, value), created_ms=0)

    async def told(operation: str) -> None:
        """Until the operation is over, as the placer plans, and what it asked for is deleted, if
        nothing newer lies there."""
        tried.clear()
        async with asyncio.timeout(10):
            while operation not in cluster.progress:
                await asyncio.sleep(0.02)
            plan = placer.leader.plan(town.now_s, set())
            placer.on_settled(plan.settled)
        await cluster.until_done(operation)
        async with asyncio.timeout(10):
            await tried.wait()

    first, second = await ask("first"), await ask("second")
    carrying = asyncio.create_task(operations.lead())
    try:
        town.view.entry(storage.INTENT, first)
        await told("first")
        assert (await bucket.snapshot())[key].revision == second.revision
        town.view.entry(storage.INTENT, second)
        await told("second")
        assert not await bucket.snapshot()
    finally:
        carrying.cancel()
        await asyncio.gather(carrying, return_exceptions=True)
        await bus.close()
