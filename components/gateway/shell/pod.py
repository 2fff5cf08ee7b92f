"""The pod's one lease: key ``<pod>`` of bucket ``pods``, and the incarnation it names.

Promise: the incarnation is new at every start, even if NATS was rebuilt, and is never reused. The
lease is taken only when its former holder can act no more (`ownership.joining`). When it is
renewed is for `ownership.pod` to say. Raises `LeaseLost` as soon as it cannot be kept: the pod
then ends.
"""

import asyncio
import contextlib
import logging
from collections.abc import Callable
from typing import Final, Literal

import msgspec

from components.bus import stream
from components.bus.buckets import Bucket, Entry
from components.bus.connection import Bus
from components.bus.errors import WrongLastSequence
from components.bus.leases import Lease
from components.gateway.ownership.joining import Gone, Joiner
from components.process.clock import SteadyClock, steady_s, wall_ms
from contracts import storage
from contracts.ids import GuildId, Incarnation, PodId, Sequence
from contracts.message import decode, encode
from contracts.records import PodLease

log = logging.getLogger(__name__)

SHORTEST_S: Final = 0.05


class PodLoad(msgspec.Struct, frozen=True, kw_only=True):
    """What the lease tells about the pod's work."""

    guilds: int
    applied_per_s: float
    rest_wanted_per_s: float = 0.0
    rest_share_per_s: float = 0.0
    rest_share_revision: int = 0
    invalid_requests: int = 0
    beat: int = 0
    complete_up_to: Sequence = Sequence(0)
    backed_up_beat: int = 0
    backed_up_to: Sequence = Sequence(0)
    backup_lag_s: float = 0.0
    backup_retention_h: float = 0.0
    pruning_looked_ms: int = 0
    pruned_replicas: int = 0
    parked: dict[GuildId, Sequence] = {}
    refused: dict[GuildId, str] = {}


class Pod:
    """This pod's membership of the cluster."""

    def __init__(
        self,
        bus: Bus,
        pod: PodId,
        *,
        data: str,
        capacity: int,
        version: str,
        engine_version: int,
        ttl_s: int = 5,
        margin_s: float = 0.5,
        process: str = "",
        zone: str = "",
        backed_up: bool = False,
        clock: SteadyClock = steady_s,
    ) -> None:
        self._bus = bus
        self._clock = clock
        self._margin_s = margin_s
        self._backed_up = backed_up
        self._bucket = Bucket(bus, storage.PODS, clock=clock)
        self.lease = Lease(self._bucket, pod, ttl_s=ttl_s, margin_s=margin_s, clock=clock)
        self.id = pod
        self.incarnation = Incarnation("")
        self.load: Callable[[], PodLoad] = lambda: PodLoad(guilds=0, applied_per_s=0.0)
        self._record = PodLease(
            pod=pod,
            data=data,
            state="starting",
            capacity=capacity,
            version=version,
            engine_version=engine_version,
            started_ms=wall_ms(),
            ttl_s=ttl_s,
            process=process,
            zone=zone,
        )

    @property
    def replica(self) -> str:
        """The prefix in the backup bucket that belongs to this incarnation alone; empty without
        a backup."""
        return self._record.replica

    async def join(self) -> Incarnation:
        """Take the lease, waiting until its holder can act no more, and name the incarnation."""
        joiner = Joiner(self._record.data, ttl_s=self.lease.ttl_s, margin_s=self._margin_s)
        waiting = False
        generation = (await stream.bounds(self._bus, f"KV_{storage.PODS}")).generation
        while True:
            link = self._bus.link
            entry = await self._bucket.get(self.id)
            revision = entry.revision if entry is not None else 0
            now_s = self._clock()
            free_at_s = joiner.free_at_s(_holder(entry), revision, link, now_s)
            if free_at_s > now_s:
                if not waiting:
                    log.info(
                        "the lease of %s is held by another process; waiting for its end", self.id
                    )
                waiting = True
                await self._changed(revision, free_at_s - now_s)
                continue
            try:
                await self.lease.take_over(self._value(), revision)
            except WrongLastSequence:
                continue
            break
        self.incarnation = Incarnation(f"{_plain(generation)}-{self.lease.revision}")
        replica = f"pods/{self.id}/{self.incarnation}" if self._backed_up else ""
        await self.change(replica=replica, incarnation=self.incarnation)
        log.info("joined as incarnation %s", self.incarnation)
        return self.incarnation

    async def change(self, **changes: object) -> None:
        """Renew at once with changed fields of the record."""
        self._record = msgspec.structs.replace(self._record, **changes)
        await self.lease.renew(self._value())

    def state(self, state: Literal["serving", "draining"]) -> None:
        """What the next renewal says."""
        self._record = msgspec.structs.replace(self._record, state=state)

    async def renew(self) -> None:
        """Renew once. Raises `LeaseLost`, and `BusError` or `TimeoutError` when it may be tried
        again."""
        async with asyncio.timeout(max(SHORTEST_S, self.lease.remaining_s)):
            await self.lease.renew(self._value())

    async def leave(self) -> None:
        """Give the lease back: what was acted for is in others' hands from now on."""
        await self.lease.release()

    async def _changed(self, revision: int, within_s: float) -> None:
        """Until the entry is another one, or so long."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(within_s):
                await self._written_after(revision)

    async def _written_after(self, revision: int) -> None:
        async for entry in self._bucket.watch(self.id):
            if entry is not None and entry.revision > revision:
                return
            if entry is None and await self._bucket.get(self.id) is None:
                return

    def _value(self) -> bytes:
        load = self.load()
        return encode(
            msgspec.structs.replace(
                self._record,
                nats_client=self._bus.client_id,
                nats_server=self._bus.server_id,
                beat=load.beat,
                complete_up_to=load.complete_up_to,
                backed_up_beat=load.backed_up_beat,
                backed_up_to=load.backed_up_to,
                backup_lag_s=round(load.backup_lag_s, 3),
                backup_retention_h=load.backup_retention_h,
                pruning_looked_ms=load.pruning_looked_ms,
                pruned_replicas=load.pruned_replicas,
                guilds=load.guilds,
                applied_per_s=round(load.applied_per_s, 1),
                rest_wanted_per_s=load.rest_wanted_per_s,
                rest_share_per_s=load.rest_share_per_s,
                rest_share_revision=load.rest_share_revision,
                invalid_requests=load.invalid_requests,
                parked=load.parked,
                refused=load.refused,
            )
        )


def _holder(entry: Entry | None) -> PodLease | Gone:
    if entry is None:
        return "never"
    if entry.value is None:
        return "expired" if entry.expired else "left"
    return decode(entry.value, PodLease)


def _plain(generation: str) -> str:
    """A stream's creation time as a name: safe in message ids, paths and metric labels."""
    return generation.replace("-", "").replace(":", "")
