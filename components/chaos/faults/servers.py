"""A server goes away: PostgreSQL, S3, NATS, a node of NATS."""

import asyncio
import signal
import time

import msgspec

from components.chaos.arena import Arena, NotThere
from components.chaos.questions import Outage
from components.chaos.returns import shards_back
from components.chaos.scenario import Fault
from contracts import storage

AWAY_S = (2.0, 8.0)


async def stop_postgres(arena: Arena) -> Fault:
    """The database of config goes away, and a gateway dies meanwhile."""
    return await _away(arena, "postgres", signal.SIGQUIT)


async def stop_s3(arena: Arena) -> Fault:
    """The backups' store goes away, and a gateway dies meanwhile."""
    return await _away(arena, "s3", signal.SIGKILL)


async def kill_nats(arena: Arena) -> Fault:
    """All of NATS, disks kept; restarted at once or after a while."""
    nodes = arena.replicas("nats")
    seconds = arena.dice.choice((0.0, arena.dice.uniform(1.0, 8.0)))
    began = time.time() * 1000
    await asyncio.gather(*(arena.kept_down(node, seconds + 0.1, signal.SIGKILL) for node in nodes))
    ended = time.time() * 1000
    await arena.until(lambda: all(arena.pid(node) for node in nodes), "every node runs")
    back_ms = await shards_back(arena, ended)
    return Fault(
        words=f"{', '.join(nodes)} killed, away for {seconds:.1f} s",
        began_ms=began,
        guilds=frozenset(arena.guilds),
        outages=(Outage(from_ms=began, to_ms=back_ms),),
    )


async def kill_nats_leader(arena: Arena) -> Fault:
    """The node that leads INPUTS, of three."""
    nodes = arena.replicas("nats")
    if len(nodes) < 3:
        raise NotThere("three NATS nodes (`modbot up --nats 3`)")
    leader = await _leader(arena)
    if leader not in nodes:
        raise NotThere(f"the leader of INPUTS is {leader!r}, which is none of {nodes}")
    before = arena.pid(leader)
    began = arena.kill(leader)
    await arena.restarted(leader, before)
    return Fault(
        words=f"{leader}, leader of INPUTS, killed",
        began_ms=began,
        guilds=frozenset(arena.guilds),
    )


async def _away(arena: Arena, server: str, number: signal.Signals) -> Fault:
    if not arena.replicas(server):
        raise NotThere(f"a {server} of the stack's own")
    pod = arena.some_owner()
    struck = arena.owned_by([pod])
    seconds = arena.dice.uniform(*AWAY_S)
    down = asyncio.create_task(arena.kept_down(server, seconds, number))
    try:
        await asyncio.sleep(arena.dice.uniform(0.5, 1.5))  # the moment is the scenario's input
        await arena.until(lambda: arena.worker(pod) is not None, f"{pod} runs")
        before = arena.worker(pod)
        began = arena.kill(pod)
        await arena.restarted(pod, before)
        await down
    finally:
        down.cancel()
        await asyncio.gather(down, return_exceptions=True)
    await arena.until(lambda: arena.pid(server) is not None, f"{server} runs")
    return Fault(
        words=f"{server} away for {seconds:.1f} s, {pod} killed meanwhile",
        began_ms=began,
        guilds=frozenset(struck),
    )


class _Cluster(msgspec.Struct, frozen=True):
    leader: str = ""


class _Info(msgspec.Struct):
    cluster: _Cluster = _Cluster()


async def _leader(arena: Arena) -> str:
    subject = f"$JS.API.STREAM.INFO.{storage.INPUTS}"
    answer = await arena.live.bus.ask(subject, b"", timeout_s=5.0)
    return msgspec.json.decode(answer.data, type=_Info).cluster.leader
