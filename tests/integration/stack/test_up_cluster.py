"""`modbot up --nats 3 --gateways 3 --shards 2 --edges 2`: the clustered form, once, as a person
runs it."""

import asyncio
import os
import random
import re
import signal
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import msgspec
import pytest

from components.chaos.clients import Clients
from components.simulator.client import SimulatorControl
from components.stack.live import operator_bus
from components.stack.running import RunningStack
from contracts.ids import GuildId
from contracts.operations import NatsNode
from tests.integration.stack.test_up import Up, guilds_served, left_of, up

FORM = ("--nats", "3", "--gateways", "3", "--shards", "2", "--edges", "2")
NODES = {"nats-0", "nats-1", "nats-2"}
PATIENCE_S = 5.0
"""So long a question is asked again (`components.cli.asking`): its deadline."""


async def well(started: Up) -> str:
    """What `status` says once no alarm is critical any more, a node having been killed, and no
    copy is behind at that moment."""
    async with asyncio.timeout(60):
        while True:
            code, out, _ = await started.command("status")
            if code == 0 and set(re.findall(r"^(nats-\d) +current", out, re.MULTILINE)) == NODES:
                return out


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
            status = msgspec.json.decode(out)["status"] if code == 0 else None  # None: it waits
            if status is not None and status["applied"] > since:
                return int(status["applied"])


@asynccontextmanager
async def requests_go_on(stack: RunningStack) -> AsyncIterator[Clients]:
    """Reads through the edges and writes on the bus, of every guild, inside the block."""
    token = Path(stack.credentials["operator_token"]).read_text(encoding="utf-8").strip()
    edges = {name: url for name, url in stack.urls.items() if name.startswith("edge-")}
    bus = await operator_bus(stack)
    clients = Clients(edges, token, bus, random.Random(1), PATIENCE_S)
    try:
        async with SimulatorControl(stack.urls["simulator"]) as control:
            guilds = await control.guilds()
        ids = [GuildId(str(guild.id)) for guild in guilds]
        async with asyncio.TaskGroup() as group:
            for number in range(2):
                group.create_task(clients.read(f"reader-{number}", ids, 0.05))
            group.create_task(clients.write("writer", guilds, 0.2))
            try:
                yield clients
            finally:
                clients.stop()
    finally:
        await bus.close()


@pytest.mark.timeout(300)
async def test_a_cluster_starts_serves_outlives_a_killed_node_and_is_restarted_piece_by_piece(
    tmp_path: Path,
) -> None:
    home = tmp_path / "home"
    async with up(home, *FORM, "--guilds", "3", "--rate", "5") as started:
        stack = await started.ready()
        pids = {process.name: process.pid for process in stack.processes}
        assert {name for name in pids if name.startswith("nats")} == NODES
        assert {name for name in pids if name.startswith(("gateway", "shard", "edge"))} == {
            *("gateway-0", "gateway-1", "gateway-2", "shard-0", "shard-1", "edge-0", "edge-1")
        }
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
        await well(started)

        # Everything but Discord, one after the other, servers first.
        before = {process.name: process.pid for process in started.record().processes}
        async with requests_go_on(stack) as clients:
            code, out, err = await started.command("processes", "restart", "--all")
        assert code == 0, err
        restarted = re.findall(r"^(\S+) +ready again after", out, re.MULTILINE)
        assert sorted([*restarted, "simulator"]) == sorted(before)
        after = {process.name: process.pid for process in started.record().processes}
        assert {name for name in before if before[name] == after[name]} == {"simulator"}
        refused = [asked for asked in clients.log if not asked.served]
        assert refused == []
        assert {asked.kind for asked in clients.log} == {"read", "write"}
        took_s = sorted((asked.ended_ms - asked.began_ms) / 1000 for asked in clients.log)
        print(f"{len(took_s)} requests while {len(restarted)} processes were restarted: {out}")
        print(f"p50 {took_s[len(took_s) // 2]:.3f} s, longest {took_s[-1]:.3f} s")
        await nodes_when_current(started)
        since = await applied_after(started, guild, 0)
        await applied_after(started, guild, since)

        stack = started.record()
        started.process.send_signal(signal.SIGINT)
        assert await started.ended() == 0, started.progress()
    assert left_of(stack) == []

    # The streams stay with their servers: one alone would not find them.
    async with up(home) as refused_start:
        assert await refused_start.ended() == 1
    assert "are kept by 3 of them, not by one nats-server: say --nats 3" in refused_start.progress()
