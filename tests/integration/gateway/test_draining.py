"""A pod that is told to stop serves on until its guilds have moved; what it tells of itself."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from components.bus.buckets import Bucket
from components.gateway.ownership.guild import Me
from components.gateway.shell.applier import Applier
from components.gateway.shell.loads import Loads, rows_of
from contracts import storage, subjects
from contracts.ids import GuildId, Incarnation, PodId
from contracts.message import decode, encode
from contracts.records import LeaderLease, PodLoads, PodPing
from tests.integration.gateway.test_handover import earlier, holder, pair
from tests.integration.gateway.town import Pods, Town, until
from tests.support.nats import RunningNats


@contextlib.asynccontextmanager
async def a_leader(town: Town) -> AsyncIterator[None]:
    """Somebody renews the leader's lease, as config does."""

    async def renew() -> None:
        bucket = Bucket(town.config, storage.LEADERS)
        while True:
            await bucket.put("config", encode(LeaderLease(holder="config-0", since_ms=0)), ttl_s=5)
            await asyncio.sleep(0.3)

    renewing = asyncio.create_task(renew())
    try:
        yield
    finally:
        renewing.cancel()


async def test_a_pod_that_drains_serves_on_until_its_guilds_have_moved(
    town: Town, pods: Pods
) -> None:
    async with a_leader(town):
        first, second = await pair(town, pods)
        assert first.process is not None
        first.process.terminate()

        async def draining() -> bool:
            lease = await first.lease()
            return lease is not None and lease.state == "draining"

        await until(draining)
        await asyncio.sleep(0.5)
        assert (await town.status()).pod == first.name
        before = [earlier(first, town.epoch)]
        await town.assign(second.name, second.incarnation, cause="drained", before=before)
        assert (await town.served()).pod == second.name
        assert await first.process.wait() == 0
    assert "left with 0 guilds" in first.words()
    assert await first.lease() is None


async def test_a_pod_that_drains_between_two_leaders_serves_on_until_the_next_moves_its_guilds(
    town: Town, pods: Pods
) -> None:
    async with a_leader(town):
        first, second = await pair(town, pods)
    await Bucket(town.config, storage.LEADERS).delete("config")
    assert first.process is not None
    first.process.terminate()
    await asyncio.sleep(1.0)
    assert (await town.status()).pod == first.name
    before = [earlier(first, town.epoch)]
    await town.assign(second.name, second.incarnation, cause="drained", before=before)
    assert (await town.served()).pod == second.name
    assert await first.process.wait() == 0
    assert "left with 0 guilds" in first.words()


async def test_a_pod_whose_guilds_nobody_moves_goes_after_its_grace(town: Town, pods: Pods) -> None:
    async with a_leader(town):
        first, _ = await pair(town, pods, MODBOT_GATEWAY_GRACE_S="1")
        assert await first.stop() == 0
    assert "left with 1 guilds" in first.words()


async def test_a_single_pod_does_not_wait_for_anybody(town: Town, pods: Pods) -> None:
    async with a_leader(town):
        pod = await pods.start(MODBOT_GATEWAY_GRACE_S="600")
        await town.assign(pod.name, pod.incarnation)
        await town.served()
        async with asyncio.timeout(60):
            assert await pod.stop() == 0
    assert "left with 1 guilds" in pod.words()


async def test_a_pod_answers_a_ping_with_its_start(town: Town, pods: Pods) -> None:
    pod = await pods.start()
    ping = PodPing(pod=PodId(pod.name), incarnation=Incarnation(""))
    answer = await town.config.ask(subjects.ping(PodId(pod.name)), encode(ping))
    assert decode(answer.data, PodPing).incarnation == pod.incarnation


async def test_loads_say_what_each_guild_costs(
    town: Town, pods: Pods, nats_server: RunningNats, tmp_path: Path
) -> None:
    pod = await pods.start()
    await town.assign(pod.name, pod.incarnation, follower=holder(pod))
    await town.served()
    assert rows_of(pod.data / "gateway.db")[town.guild] > 2
    applier = Applier(tmp_path / "other.db")
    await applier.start()
    await applier.write(lambda engine: engine.create(town.guild, "g"))
    me = Me(pod=PodId("gateway-7"), incarnation=Incarnation("i"), data="d")
    bus = await nats_server.connect("gateway")
    loads = Loads(
        bus, me, applier, tmp_path / "other.db", lambda: {GuildId(town.guild)}, every_s=0.1
    )
    running = asyncio.create_task(loads.run())

    async def told() -> PodLoads | None:
        applier._count(town.guild, 2_000_000)  # what came before the first interval has passed
        entry = await Bucket(town.operator, storage.LOADS).get("gateway-7")  # does not count
        report = decode(entry.value, PodLoads) if entry is not None and entry.value else None
        return report if report is not None and report.guilds[0].events_per_s > 0 else None

    (load,) = (await until(told)).guilds
    assert (load.guild, load.rows) == (town.guild, 1)
    assert load.engine_ms_per_s == pytest.approx(2 * load.events_per_s, rel=0.01)
    assert load.over_s > 0
    running.cancel()
    await applier.stop()
