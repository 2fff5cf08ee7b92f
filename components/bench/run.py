"""Runs a measurement: the stack, the baseline's process, the guilds, then the figures."""

import asyncio
import os
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

from components.bench.event import EventOptions, create_half, measure
from components.bench.result import BenchResult
from components.simulator.client import GuildInfo, SimulatorControl
from components.stack.live import LiveStack, live_stack
from contracts import subjects
from contracts.message import decode
from contracts.operations import ClusterStatus

TOKEN = "baseline-token"  # noqa: S105 - of the simulated Discord
READY_S = 120.0


async def run_event(home: Path, options: EventOptions, say: Callable[[str], None]) -> BenchResult:
    """The `event` measurement on a stack of its own below ``home``."""
    say("starting the stack")
    async with live_stack(home, "--guilds", "0", "--log-level", "WARNING") as stack:
        control = stack.control
        await control.set_limits(enabled=False)
        ours = (await control.applications())[0]
        theirs = await control.create_application(TOKEN, name="baseline")
        say(f"creating {options.guilds} guilds for each bot")
        our_half = await create_half(control, options, int(ours["id"]), "ours")
        their_half = await create_half(control, options, int(theirs["id"]), "theirs")
        async with _baseline(stack.record.urls["simulator"]):
            await _ready(stack, len(our_half))
            await _baseline_ready(control, their_half)
            say("everything is connected; measuring")
            return await measure(control, our_half, their_half, options, say)


@asynccontextmanager
async def _baseline(simulator: str) -> AsyncIterator[None]:
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "components.bench.baseline",
        f"{simulator}/api/v10",
        simulator.replace("http://", "ws://") + "/gateway",
        env={**os.environ, "BASELINE_TOKEN": TOKEN},
    )
    try:
        yield
    finally:
        process.terminate()
        await process.wait()


async def _ready(stack: LiveStack, guilds: int) -> None:
    """Wait until every guild is served."""
    async with asyncio.timeout(READY_S):
        while True:
            reply = await stack.bus.ask(subjects.config_endpoint("status"), b"{}", timeout_s=5)
            status = decode(reply.data, ClusterStatus)
            if sum(pod.open for pod in status.pods) >= guilds and not status.waiting_total:
                return
            await asyncio.sleep(0.5)


async def _baseline_ready(control: SimulatorControl, guilds: list[GuildInfo]) -> None:
    """Wait until the baseline has been sent its last guild."""
    last = str(guilds[-1].id)
    async with asyncio.timeout(READY_S):
        async for entry in control.follow(("dispatch",)):
            if entry.data["event"] == "GUILD_CREATE" and entry.data["guild_id"] == last:
                return
