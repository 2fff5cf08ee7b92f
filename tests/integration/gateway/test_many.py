"""A takeover and a move of hundreds of guilds at once. The limits are loose, for a machine that
does other things as well; the benches `failover` and `handoff` measure."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from components.bus import stream
from components.bus.buckets import Bucket
from components.bus.connection import Bus
from components.bus.errors import BusError
from components.simulator.bootstrap import Simulator
from components.simulator.client import SimulatorControl
from contracts import headers, storage, subjects
from contracts.ids import Epoch, Incarnation, PodId
from contracts.records import EarlierOwner, Holder
from tests.integration.gateway.conftest import make_towns
from tests.integration.gateway.town import PodProcess, Pods, Town, until
from tests.support.nats import RunningNats

MANY = 300


@pytest.fixture
async def towns(
    discord: Simulator, control: SimulatorControl, nats_server: RunningNats
) -> list[Town]:
    """Hundreds of guilds."""
    return await make_towns(MANY, discord, control, nats_server, members=1)


@pytest.fixture
async def pods(
    discord: Simulator, nats_server: RunningNats, towns: list[Town], tmp_path: Path
) -> AsyncIterator[Pods]:
    """Starts pods; ends them after the test."""
    started = Pods(discord, nats_server, tmp_path, towns[0].operator)
    try:
        yield started
    finally:
        await started.close()


async def _assign(towns: list[Town], owner: PodProcess, follower: PodProcess, **more: Any) -> None:
    async def one(town: Town) -> None:
        before = [
            EarlierOwner(
                pod=PodId(follower.name),
                incarnation=Incarnation(follower.incarnation),
                epoch=Epoch(town.epoch),
            )
        ]
        await town.assign(
            owner.name,
            owner.incarnation,
            before=before if town.epoch else [],
            follower=Holder(
                pod=PodId(follower.name), incarnation=Incarnation(follower.incarnation)
            ),
            **more,
        )

    await asyncio.gather(*(one(town) for town in towns))


async def _all_hold(bus: Bus, pod: str) -> None:
    bucket = Bucket(bus, storage.HANDOFFS)

    async def all_there() -> bool:
        return len(await bucket.snapshot(f"holds.*.{pod}")) == MANY

    await until(all_there, timeout_s=60)


async def _answered(bus: Bus, town: Town) -> float:
    """When the guild's owner of the present epoch answers."""
    while True:
        try:
            message = await bus.ask(subjects.request(town.guild, "status"), b"{}", timeout_s=0.5)
        except BusError:  # nobody is there yet
            await asyncio.sleep(0.01)
            continue
        if (message.headers or {}).get(headers.EPOCH) == str(town.epoch):
            return asyncio.get_running_loop().time()


async def test_the_followers_of_a_killed_pod_answer_within_a_moment(
    towns: list[Town], pods: Pods, nats_server: RunningNats
) -> None:
    first, second = pods.make("gateway-0", MODBOT_GATEWAY_PROCESS="p"), pods.make("gateway-1")
    await asyncio.gather(first.start(), second.start())
    await _assign(towns, first, second)
    await _all_hold(towns[0].operator, first.name)
    await _all_hold(towns[0].operator, second.name)
    asking = await nats_server.connect("operator")
    await first.kill()
    began = asyncio.get_running_loop().time()
    await pods.attest(first.name, "p")
    some = towns[-20:]  # asking all of them all the time would be the larger load
    waiting = [asyncio.create_task(_answered(asking, town)) for town in some]
    await _assign(towns, second, first, cause="promoted")
    written = asyncio.get_running_loop().time() - began
    took = sorted(at - began for at in await asyncio.gather(*waiting))
    print(f"written {written:.3f} s, answers p50 {took[len(took) // 2]:.3f}, last {took[-1]:.3f} s")
    await asyncio.gather(*(_answered(asking, town) for town in towns))
    assert took[-1] < 5
    # The last that are assigned are asked for something: they do not wait for all the others.
    logs = [subjects.inputs(town.guild) for town in towns]
    opened = (await stream.last_sequences(asking, storage.INPUTS, logs)).sequences
    order = sorted(logs, key=opened.__getitem__)
    places = sorted(order.index(subjects.inputs(town.guild)) for town in some)
    print(f"places of those that were waited for: {places}")
    assert places[len(places) // 2] < 2 * MANY / 3


async def test_guilds_move_one_after_the_other_in_milliseconds(
    towns: list[Town], pods: Pods, nats_server: RunningNats
) -> None:
    first, second = pods.make("gateway-0"), pods.make("gateway-1")
    await asyncio.gather(first.start(), second.start())
    await _assign(towns, first, second)
    await _all_hold(towns[0].operator, first.name)
    await _all_hold(towns[0].operator, second.name)
    asking = await nats_server.connect("operator")
    pauses = []
    for town in towns[:60]:
        await _assign([town], second, first, cause="moved")
        began = asyncio.get_running_loop().time()
        pauses.append(await _answered(asking, town) - began)
    pauses.sort()
    print(f"moved: p50 {pauses[30] * 1000:.1f} ms, p90 {pauses[54] * 1000:.1f} ms")
    assert pauses[30] < 0.5
