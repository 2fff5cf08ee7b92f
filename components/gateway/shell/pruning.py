"""Old replicas are deleted when nobody can need them any more.

A replica goes when no assignment and no lease names it, and its newest object is older than the
retention by the store's own clock: what the pod that looks has put there itself just now is the
measure, so no machine's wall clock decides (0006, step 22). A pod prunes its own former
incarnations; those of pods without a lease are pruned by the first of the serving pods by name.

None goes unless config's leader says that every guild which the history knows has an assignment: a
guild that has lost its own may wait for any replica.

Fails never: what cannot be read or deleted now is looked at again the next time.
"""

import asyncio
import logging
from collections.abc import Collection
from datetime import timedelta
from typing import Final

from components.bus.buckets import Bucket
from components.bus.connection import Bus
from components.bus.errors import BusError
from components.gateway.shell.bucket import PODS, ReplicaBucket
from components.gateway.shell.errors import BucketFailed
from components.gateway.shell.sights import LEADER
from components.process.clock import wall_ms
from contracts import storage
from contracts.ids import PodId
from contracts.message import MalformedMessage, decode
from contracts.records import Assignment, LeaderLease, PodLease

log = logging.getLogger(__name__)

SOON_S: Final = 30.0
"""What could not be looked at, or had nothing to tell the time by yet, is looked at again."""
READ_WITHIN_S: Final = 60.0


class Pruning:
    """The pruning that one pod does. ``replica``: where it backs up to now."""

    def __init__(
        self,
        bus: Bus,
        bucket: ReplicaBucket,
        pod: PodId,
        replica: str,
        *,
        retention_h: float,
        every_s: float = 3600.0,
    ) -> None:
        self._pods = Bucket(bus, storage.PODS)
        self._guilds = Bucket(bus, storage.GUILDS)
        self._leaders = Bucket(bus, storage.LEADERS)
        self._bucket = bucket
        self._pod = pod
        self._replica = replica
        self._retention = timedelta(hours=retention_h)
        self._every_s = every_s
        self.looked_ms = 0
        """When it was last looked what may go, by our own clock, for people; 0: not yet."""
        self.replicas = 0
        """Replicas deleted since the start."""
        self.objects = 0
        """Objects of them."""

    async def run(self) -> None:
        """Look now and then until cancelled."""
        while True:
            looked_ms = self.looked_ms
            try:
                await self.prune()
            except (BusError, BucketFailed, MalformedMessage) as error:
                log.warning("old replicas are not pruned this time: %s", error)
            looked = self.looked_ms > looked_ms
            await asyncio.sleep(self._every_s if looked else min(SOON_S, self._every_s))

    async def prune(self) -> list[str]:
        """Delete what may go; returns it. Raises `BusError` and `BucketFailed`, and
        `MalformedMessage` for an assignment by newer code, which may name anything."""
        own = await self._bucket.files(self._replica)
        if not own:
            return []  # nothing of ours is there yet to tell the time by
        before = max(file.stored for file in own) - self._retention
        there = await self._bucket.replicas()
        # Read behind the listing: what was named meanwhile is kept.
        leases = [
            decode(entry.value, PodLease)
            for entry in (await self._pods.snapshot(timeout_s=READ_WITHIN_S)).values()
            if entry.value is not None
        ]
        named = {lease.replica for lease in leases} | await self._assigned() | {self._replica}
        if not await self._all_assigned():
            log.info("old replicas stay: config does not say that every guild is assigned")
            return []
        pruned = []
        for replica in candidates(there, named, leases, self._pod):
            files = await self._bucket.files(replica)
            if not files or max(file.stored for file in files) >= before:
                continue
            removed = await self._bucket.remove(replica)
            log.info("pruned %s: %d objects, no guild depends on it", replica, removed)
            pruned.append(replica)
            self.replicas += 1
            self.objects += removed
        self.looked_ms = wall_ms()
        return pruned

    async def _all_assigned(self) -> bool:
        entry = await self._leaders.get(LEADER)
        if entry is None or entry.value is None:
            return False
        return decode(entry.value, LeaderLease).all_assigned

    async def _assigned(self) -> set[str]:
        """Every replica that an assignment names, or that a pod which it names backs up to."""
        named: set[str] = set()
        for entry in (await self._guilds.snapshot(timeout_s=READ_WITHIN_S)).values():
            if entry.value is None:
                continue
            known = decode(entry.value, Assignment)
            named.update(source.replica for source in known.sources)
            named.update(
                f"{PODS}/{holder.pod}/{holder.incarnation}"
                for holder in (known, known.follower, known.joining)
                if holder is not None
            )
        return named


def candidates(
    there: Collection[str], named: Collection[str], leases: Collection[PodLease], pod: PodId
) -> list[str]:
    """Replicas that nobody names and that this pod is the one to prune."""
    alive = {lease.pod for lease in leases}
    serving = sorted(lease.pod for lease in leases if lease.state == "serving")
    first = bool(serving) and serving[0] == pod
    found = []
    for replica in sorted(set(there) - set(named)):
        owner = replica.split("/")[1]
        if owner == pod or (first and owner not in alive):
            found.append(replica)
    return found
