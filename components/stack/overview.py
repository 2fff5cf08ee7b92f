"""What the live table shows: every process with its state, memory and work."""

import asyncio
import contextlib
from collections.abc import Iterable

import msgspec
import psutil

from components.stack.cluster import Cluster
from components.stack.readiness import NOT_YET
from components.stack.supervisor import Supervised
from contracts.records import PodLease, ShardLease


class Row(msgspec.Struct, frozen=True, kw_only=True):
    """A line of the table."""

    name: str
    state: str
    pid: int | None = None
    restarts: int = 0
    memory_mib: float = 0.0
    guilds: int | None = None
    """Guilds owned (a pod) or connected (a shard)."""
    events_per_s: float | None = None
    words: str = ""


async def rows(supervised: Iterable[Supervised], cluster: Cluster | None) -> list[Row]:
    """One row a process, and one for each Litestream that a gateway runs."""
    pods: dict[str, PodLease] = {}
    shards: dict[str, ShardLease] = {}
    if cluster is not None:
        with contextlib.suppress(*NOT_YET):  # NATS is away: the rest is shown all the same
            pods, shards = await asyncio.gather(cluster.pods(), cluster.shards())
    found: list[Row] = []
    for child in supervised:
        guilds, events = _work(child.name, pods, shards)
        memory, helpers = _memory(child)
        found.append(
            Row(
                name=child.name,
                state=child.state,
                pid=child.pid,
                restarts=child.restarts,
                memory_mib=memory,
                guilds=guilds,
                events_per_s=events,
                words=child.words if child.state in ("restarting", "refused") else "",
            )
        )
        found += helpers
    return found


def _work(
    name: str, pods: dict[str, PodLease], shards: dict[str, ShardLease]
) -> tuple[int | None, float | None]:
    if pod := pods.get(name):
        return pod.guilds, pod.applied_per_s
    held = [lease for lease in shards.values() if lease.holder == name]
    if held:
        return sum(x.guilds for x in held), sum(x.dispatches_per_s for x in held)
    return None, None


def _memory(child: Supervised) -> tuple[float, list[Row]]:
    """Resident memory in MiB. What forked children share with their parent counts once."""
    if child.pid is None:
        return 0.0, []
    total = 0
    helpers: list[Row] = []
    with contextlib.suppress(psutil.NoSuchProcess, psutil.AccessDenied):
        main = psutil.Process(child.pid)
        total = main.memory_info().rss
        for process in main.children(recursive=True):
            memory = process.memory_info()
            if process.name() == "litestream":
                helpers.append(
                    Row(
                        name=f"litestream ({child.name})",
                        state="running",
                        pid=process.pid,
                        memory_mib=memory.rss / 2**20,
                    )
                )
            else:
                total += max(0, memory.rss - getattr(memory, "shared", 0))
    return total / 2**20, helpers
