"""`modbot up --nats 3`: the clustered form, once, as a person runs it."""

import asyncio
import os
import re
import signal
from pathlib import Path

import msgspec
import pytest

from components.simulator.client import SimulatorControl
from contracts.operations import NatsNode
from tests.integration.stack.test_up import Up, guilds_served, left_of, up

NODES = {"nats-0", "nats-1", "nats-2"}


async def nodes_when_current(started: Up) -> list[NatsNode]:
    """What the status shows once every guild is served and every copy is current."""
    async with asyncio.timeout(60):
        while True:
            status = await guilds_served(started, 3)
            nodes = msgspec.convert(status.get("nodes", []), list[NatsNode])
            if {node.name for node in nodes} == NODES and not any(node.behind for node in nodes):
                return nodes
            await asyncio.sleep(0.2)


async def applied_after(started: Up, guild: str, since: int) -> int:
    """Wait until the guild's owner has applied a later input; returns which."""
    async with asyncio.timeout(60):
        while True:
            code, out, _ = await started.command("guild", guild, "--json")
            if code == 0 and (applied := msgspec.json.decode(out)["status"]["applied"]) > since:
                return int(applied)


@pytest.mark.timeout(240)
async def test_a_cluster_starts_serves_and_is_shown_and_outlives_a_killed_node(
    tmp_path: Path,
) -> None:
    home = tmp_path / "home"
    async with up(home, "--nats", "3", "--guilds", "3", "--rate", "5") as started:
        stack = await started.ready()
        pids = {process.name: process.pid for process in stack.processes}
        assert {name for name in pids if name.startswith("nats")} == NODES
        nodes = await nodes_when_current(started)
        (leader,) = [node.name for node in nodes if "INPUTS" in node.leads]

        os.kill(pids[leader], signal.SIGKILL)
        async with asyncio.timeout(60):
            while {p.name: p.pid for p in started.record().processes}.get(leader) in (
                None,
                pids[leader],
            ):
                await asyncio.sleep(0.1)
        async with SimulatorControl(stack.urls["simulator"]) as control:
            guild = str(next(iter(await control.guilds())).id)
        since = await applied_after(started, guild, 0)
        await applied_after(started, guild, since)
        await nodes_when_current(started)
        code, out, _ = await started.command("status")
        assert code == 0
        assert set(re.findall(r"^(nats-\d) +current", out, re.MULTILINE)) == NODES, out
        started.process.send_signal(signal.SIGINT)
        assert await started.ended() == 0, started.progress()
    assert left_of(stack) == []

    # The streams stay with their servers: one alone would not find them.
    async with up(home) as refused:
        assert await refused.ended() == 1
    assert "are kept by 3 of them, not by one nats-server: say --nats 3" in refused.progress()
