"""Another number of shards while members post, and config's processes are killed in the middle of
it: who leads next finishes it, and no message is lost or acted on twice."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

import pytest

from components.chaos.inside.steps import Step
from contracts import headers, storage, subjects
from contracts.message import decode, encode
from contracts.operations import OperationStarted, Reshard
from tests.chaos.stopping import Town, town_with
from tests.integration.shard.test_reshard import acted_on_once, connected, plan_of, reached
from tests.integration.shard.traffic import guilds_known, post

CONFIGS = ("config-0", "config-1")


@asynccontextmanager
async def leader_stopped_before(town: Town, phase: str) -> AsyncIterator[str]:
    """Whoever leads is stopped right before it writes that phase of the plan; says who."""
    write = Step(bucket=storage.SHARDS, key=storage.SHARD_PLAN, has=f'"phase":"{phase}"')
    async with AsyncExitStack() as stack:
        stopped = {
            name: await stack.enter_async_context(town.stopped(name, write)) for name in CONFIGS
        }
        await town.arena.until(
            lambda: any(is_stopped() for is_stopped in stopped.values()),
            f"the leader stops before it writes {phase}",
        )
        yield next(name for name, is_stopped in stopped.items() if is_stopped())


async def killed(town: Town, *names: str) -> None:
    """Kill the processes, and wait until each is started again."""
    before = {name: town.arena.worker(name) for name in names}
    town.arena.kill(*names)
    for name, pid in before.items():
        await town.arena.restarted(name, pid)


@pytest.mark.timeout(240)
async def test_a_reshard_whose_leaders_are_killed_at_each_phase_is_finished(
    tmp_path: Path,
) -> None:
    async with town_with(tmp_path, "--shards", "2", "--gateways", "2") as town:
        bus, control = town.bus, town.arena.live.control
        guilds = await control.create_guilds(count=6, member_count=2)
        await connected(bus, 1)
        await guilds_known(bus, guilds)
        posting = asyncio.create_task(post(control, guilds, 1_500, 0.01))
        request = encode(Reshard(count=2, by="the test"))
        said = await bus.ask(subjects.config_endpoint("reshard"), request, timeout_s=10)
        assert headers.SERVICE_ERROR not in (said.headers or {}), said.headers
        operation = decode(said.data, OperationStarted).operation

        # While the new sessions are started.
        first = await town.leader()
        await killed(town, first)
        assert (await plan_of(bus)).phase == "connect"
        # They are ready, and guilds are about to be cut over.
        async with leader_stopped_before(town, "cut") as leader:
            before = town.arena.worker(leader)
            town.arena.kill(leader)
        # All are cut over and nobody has said so yet; then nobody is left to say it.
        async with leader_stopped_before(town, "done"):
            assert (await plan_of(bus)).phase == "cut"
            await town.arena.restarted(leader, before)
            await killed(town, *CONFIGS)
        await reached(bus, "done")

        assert (await plan_of(bus)).operation == operation
        await connected(bus, 2)
        await acted_on_once(bus, await posting)
        sessions = await control.sessions()
        assert sorted(session["shard"] for session in sessions) == [[0, 2], [1, 2]]
