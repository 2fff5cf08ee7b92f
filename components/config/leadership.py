"""Who of config's replicas leads: the holder of the lease ``leaders.config``.

Promise: `lead` runs only while this replica holds the lease, and is cancelled as soon as it cannot
be kept. That is late by nature (a process can be stopped between any two steps), so everything a
leader writes is a compare-and-set as well. That is also why nothing has to be certain before
another replica takes over: at once when the server tells that the leader's connection is gone, by
compare-and-set at the last revision (docs/decisions/0006, step 24); else when its TTL has run out,
by the server's word or by our own clock (`components.bus.staleness`). A leader that ends in order
releases the lease.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable

from components.bus.buckets import Bucket, Entry
from components.bus.connection import Bus
from components.bus.errors import BusError, WrongLastSequence
from components.bus.leases import Lease, LeaseLost
from components.process.clock import wall_ms
from contracts import storage
from contracts.message import MalformedMessage, decode, encode
from contracts.records import LeaderLease

log = logging.getLogger(__name__)

ROLE = "config"
AGAIN_S = 0.2
LOOK_EVERY_S = 1.0


class Leadership:
    """One replica's part in the election."""

    def __init__(self, bus: Bus, replica: str, *, ttl_s: int) -> None:
        self._bus = bus
        self._bucket = Bucket(bus, storage.LEADERS)
        self._replica = replica
        self._since_ms = 0
        self._vacant = asyncio.Event()
        self._seen: tuple[int, LeaderLease] | None = None
        """The lease of another replica, and its revision."""
        self._gone_at = 0
        """The revision of a lease whose connection is gone."""
        self.lease = Lease(self._bucket, ROLE, ttl_s=ttl_s, renew_every_s=min(1.0, ttl_s / 5))
        self.holder = ""
        """Who leads, as far as this replica knows; empty when nobody does."""

    @property
    def leading(self) -> bool:
        """Whether this replica may act as leader at this very moment."""
        return self.lease.valid

    def disconnected(self, server: str, client: int) -> None:
        """The server told of a lost connection. It may be the leader's."""
        if self._seen is None or not client or self.leading:
            return
        revision, lease = self._seen
        if lease.nats_client == client and lease.nats_server in ("", server):
            log.warning("the connection of the leader %s is gone", lease.holder)
            self._gone_at = revision
            self._vacant.set()

    async def run(self, lead: Callable[[], Awaitable[None]]) -> None:
        """Stand for election until cancelled, and lead whenever elected."""
        async with asyncio.TaskGroup() as group:
            group.create_task(self._watch(), name="watch leader")
            while True:
                await self._elected()
                await self._lead(lead)

    async def _elected(self) -> None:
        while True:
            try:
                # The watch says when; the timer is for a watch that missed it, and for a lease
                # that has ended without a sign.
                async with asyncio.timeout(LOOK_EVERY_S):
                    await self._vacant.wait()
            except TimeoutError:
                log.debug("looking whether anybody leads")
            self._vacant.clear()  # before trying: what becomes vacant from here on counts
            self._since_ms = wall_ms()
            try:
                if await self._take_over() or await self.lease.acquire(self._value()):
                    return
            except BusError as error:
                log.info("cannot stand for election, trying again: %s", error)
                await asyncio.sleep(AGAIN_S)
                self._vacant.set()

    async def _take_over(self) -> bool:
        """Overwrite the lease of a leader whose connection is gone, unless it has renewed."""
        revision, self._gone_at = self._gone_at, 0
        if not revision:
            return False
        try:
            await self.lease.take_over(self._value(), revision)
        except WrongLastSequence:
            log.info("the leader has renewed, or another replica was faster")
            return False
        return True

    def _value(self) -> bytes:
        lease = LeaderLease(
            holder=self._replica,
            since_ms=self._since_ms,
            nats_client=self._bus.client_id,
            nats_server=self._bus.server_id,
        )
        return encode(lease)

    async def _lead(self, lead: Callable[[], Awaitable[None]]) -> None:
        log.info("%s leads", self._replica)
        self.holder = self._replica
        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(self.lease.keep(self._value), name="keep lease")
                group.create_task(_awaited(lead), name="lead")
        except* LeaseLost as lost:
            log.warning("%s leads no longer: %s", self._replica, lost.exceptions[0])
        finally:
            await self.lease.release()

    async def _watch(self) -> None:
        async for entry in self._bucket.watch(ROLE):
            if entry is not None:
                self._see(entry)
                continue
            try:
                self._see(await self._bucket.get(ROLE))
            except BusError as error:
                log.info("cannot read who leads; the election's timer will: %s", error)

    def _see(self, entry: Entry | None) -> None:
        lease = _lease(entry)
        self._seen = (entry.revision, lease) if entry is not None and lease is not None else None
        held = entry is not None and entry.value is not None
        self.holder = lease.holder if lease is not None else "unknown" if held else ""
        if not self.holder:
            self._vacant.set()


async def _awaited(lead: Callable[[], Awaitable[None]]) -> None:
    await lead()


def _lease(entry: Entry | None) -> LeaderLease | None:
    if entry is None or entry.value is None:
        return None
    try:
        return decode(entry.value, LeaderLease)
    except MalformedMessage as error:
        log.warning("the leader's lease cannot be read: %s", error)
        return None
