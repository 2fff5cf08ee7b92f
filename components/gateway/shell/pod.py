"""The pod's one lease: key ``<pod>`` of bucket ``pods``, and the incarnation it names.

Promise: the incarnation is new at every start, even if NATS was rebuilt, and is never reused.
An entry that names our own data folder belongs to a process that has ended, for we hold the
folder's lock; anyone else's is waited for, by the server's word and by our own clock
(`components.bus.staleness`). Raises `LeaseLost` as soon as the lease cannot be
kept: the pod then stops.
"""

import asyncio
import contextlib
import logging
from collections.abc import Callable

import msgspec

from components.bus import stream
from components.bus.buckets import Bucket, Entry
from components.bus.connection import Bus
from components.bus.errors import BusError, WrongLastSequence
from components.bus.leases import Lease, LeaseLost
from components.process.clock import SteadyClock, steady_s, wall_ms
from contracts import storage
from contracts.ids import Incarnation, PodId
from contracts.message import decode, encode
from contracts.records import PodLease

log = logging.getLogger(__name__)


class PodLoad(msgspec.Struct, frozen=True, kw_only=True):
    """What the lease tells about the pod's work."""

    guilds: int
    applied_per_s: float
    rest_wanted_per_s: float = 0.0
    rest_share_per_s: float = 0.0
    rest_share_revision: int = 0
    invalid_requests: int = 0


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
        clock: SteadyClock = steady_s,
    ) -> None:
        self._bus = bus
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
        )
        self._renew_now = asyncio.Event()

    @property
    def replica(self) -> str:
        """The prefix in the backup bucket that belongs to this incarnation alone."""
        return f"pods/{self.id}/{self.incarnation}"

    async def join(self) -> Incarnation:
        """Take the lease, waiting for another holder's end, and name the incarnation."""
        waiting = False
        generation = (await stream.bounds(self._bus, f"KV_{storage.PODS}")).generation
        while True:
            entry = await self._bucket.get(self.id)
            if entry is not None and not self._ended(entry):
                if not waiting:
                    log.info(
                        "the lease of %s is held by another process; waiting for its end", self.id
                    )
                waiting = True
                await self._changed(entry)
                continue
            try:
                await self.lease.take_over(self._value(), entry.revision if entry else 0)
            except WrongLastSequence:
                continue
            break
        self.incarnation = Incarnation(f"{_plain(generation)}-{self.lease.revision}")
        await self.change(replica=self.replica, incarnation=self.incarnation)
        log.info("joined as incarnation %s", self.incarnation)
        return self.incarnation

    async def change(self, **changes: object) -> None:
        """Renew at once with changed fields of the record."""
        self._record = msgspec.structs.replace(self._record, **changes)
        await self.lease.renew(self._value())

    def renew_soon(self) -> None:
        """Renew without waiting for the next turn, e.g. after a reconnect."""
        self._renew_now.set()

    async def keep(self, on_renewed: Callable[[int], None], **first: object) -> None:
        """Renew until cancelled; ``on_renewed`` hears on which connection a renewal was
        acknowledged. Raises `LeaseLost`."""
        self._record = msgspec.structs.replace(self._record, **first)
        self._renew_now.set()
        while True:
            # A failed renewal is tried again sooner the less time is left.
            pause_s = max(0.05, min(self.lease.renew_every_s, self.lease.remaining_s / 3))
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(pause_s):
                    await self._renew_now.wait()
            self._renew_now.clear()
            link = self._bus.link
            try:
                async with asyncio.timeout(max(0.05, self.lease.remaining_s)):
                    await self.lease.renew(self._value())
            except (BusError, TimeoutError) as error:
                if not self.lease.valid:
                    raise LeaseLost(f"lease {self.id} could not be renewed in time") from error
                log.warning("renewal failed, trying again: %s", error or type(error).__name__)
                continue
            if link == self._bus.link:
                on_renewed(link)

    async def leave(self) -> None:
        """Give the lease back: what was acted for is in others' hands from now on."""
        await self.lease.release()

    def draining(self) -> None:
        """Say in the next renewal that the pod stops."""
        self._record = msgspec.structs.replace(self._record, state="draining")
        self._renew_now.set()

    def _ended(self, entry: Entry) -> bool:
        if self._bucket.ended(entry, self.lease.ttl_s) or entry.value is None:
            return True
        record = decode(entry.value, PodLease)
        # Fenced: config saw its lease run out; it can never renew again.
        return record.data == self._record.data or record.state == "fenced"

    async def _changed(self, entry: Entry) -> None:
        """Until the entry is another one, or has ended without being."""
        ttl_s = max(self.lease.ttl_s, entry.ttl_s)
        left_s = self._bucket.remaining_s(entry.key, entry.revision, ttl_s)
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(max(0.0, left_s)):
                await self._written_after(entry.revision)

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
                guilds=load.guilds,
                applied_per_s=round(load.applied_per_s, 1),
                rest_wanted_per_s=load.rest_wanted_per_s,
                rest_share_per_s=load.rest_share_per_s,
                rest_share_revision=load.rest_share_revision,
                invalid_requests=load.invalid_requests,
            )
        )


def _plain(generation: str) -> str:
    """A stream's creation time as a name: safe in message ids, paths and metric labels."""
    return generation.replace("-", "").replace(":", "")
