"""What the bus shows of the running components: leases of pods and shards, config's answers.

Seen as the operator, who may read everything that is kept on the bus and write nothing. May be
a moment old: nothing is decided by it but what a person sees.
"""

import asyncio
import contextlib
from typing import Any, Self, TypeVar

import msgspec

from components.bus.buckets import Bucket
from components.bus.connection import Bus, connect
from components.bus.provisioning import copies_current
from components.bus.settings import BusSettings
from components.process.clock import steady_s, wall_ms
from contracts import storage, subjects
from contracts.message import MalformedMessage, Message, decode
from contracts.operations import ClusterStatus
from contracts.records import PodLease, ShardLease, ShardReplica

M = TypeVar("M", bound=Message)

SHARDS_EVERY_S = 0.5
"""Who waits for shards asks ten times a second, and each reading is a watch of its own."""


class Cluster:
    """Reads of the moment; next to nothing is kept but the connection."""

    def __init__(self, bus: Bus) -> None:
        self.bus = bus
        self._config_seen_ms: dict[str, int] = {}
        self._shards: dict[str, ShardLease] = {}
        self._shards_read_s = float("-inf")

    @classmethod
    async def open(cls, settings: BusSettings, *, name: str, wait_s: float = 10.0) -> Self:
        """Connect as the operator. Raises `NotConnected`."""
        return cls(await connect(settings, user="operator", name=name, wait_s=wait_s))

    async def close(self) -> None:
        """Disconnect."""
        await self.bus.close()

    async def pods(self) -> dict[str, PodLease]:
        """Leases of gateway pods by pod. Raises what `Bucket.snapshot` raises."""
        return await self._leases(storage.PODS, PodLease)

    async def shards(self) -> dict[str, ShardLease]:
        """Leases of Discord shard ids by id."""
        return await self._leases(storage.SHARDS, ShardLease)

    async def pod_serves(self, pod: str, since_ms: int) -> bool:
        """Whether the pod's lease is of a process started since then, and serves."""
        entry = await Bucket(self.bus, storage.PODS).get(pod)
        if entry is None or entry.value is None:
            return False
        lease = decode(entry.value, PodLease)
        return lease.state == "serving" and lease.started_ms >= since_ms

    async def shard_connected(self, replica: str, since_ms: int) -> bool:
        """Whether the replica holds connected shards, or has shown since then that it lives while
        others hold every shard there is."""
        if steady_s() - self._shards_read_s >= SHARDS_EVERY_S:
            self._shards = await self.shards()
            self._shards_read_s = steady_s()
        held = [lease for lease in self._shards.values() if lease.state == "connected"]
        if any(lease.holder == replica and lease.since_ms >= since_ms for lease in held):
            return True
        others = [lease for lease in held if lease.holder != replica]
        if not others or len(others) < others[0].shard_count:
            return False
        entry = await Bucket(self.bus, storage.SHARDS).get(f"replica.{replica}")
        if entry is None or entry.value is None:
            return False
        return decode(entry.value, ShardReplica).since_ms >= since_ms

    async def config_answers(self, replica: str, since_ms: int) -> bool:
        """Whether this replica of config has answered since then. One of all replicas answers
        each time, so it takes a few questions."""
        answer = await self.bus.ask(subjects.config_endpoint("status"), b"{}", timeout_s=1.0)
        self._config_seen_ms[decode(answer.data, ClusterStatus).replica] = wall_ms()
        return self._config_seen_ms.get(replica, 0) >= since_ms

    async def streams(self) -> list[dict[str, Any]]:
        """Every stream as its server describes it. Raises what `Bus.ask` raises."""
        answer = await self.bus.ask("$JS.API.STREAM.LIST", b"{}", timeout_s=2.0)
        return list(msgspec.json.decode(answer.data).get("streams") or [])

    async def unsettled(self, *, guilds: bool) -> str:
        """What somebody who is about to stop a process should wait for, in words: streams whose
        copies are behind and, if asked for, guilds that nobody serves. Empty when nothing."""
        found = {stream["config"]["name"]: stream for stream in await self.streams()}
        wanted = [config["name"] for config in storage.streams()]
        behind = [x for x in wanted if x not in found or not copies_current(found[x])]
        if behind:
            return f"copies of {', '.join(behind)} are not current"
        if not guilds:
            return ""
        answer = await self.bus.ask(subjects.config_endpoint("status"), b"{}", timeout_s=1.0)
        waiting = decode(answer.data, ClusterStatus).waiting_total
        return f"{waiting} guilds wait for an owner" if waiting else ""

    async def _leases(self, bucket: str, kind: type[M]) -> dict[str, M]:
        found: dict[str, M] = {}
        async with asyncio.timeout(2.0):
            entries = await Bucket(self.bus, bucket).snapshot()
        for key, entry in entries.items():
            with contextlib.suppress(MalformedMessage):  # not a lease, e.g. a lock beside them
                found[key] = decode(entry.value or b"", kind)
        return found
