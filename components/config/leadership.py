"""Who of config's replicas leads: the holder of the lease ``leaders.config``.

Promise: `lead` runs only while this replica holds the lease, and is cancelled as soon as it cannot
be kept. That is late by nature (a process can be stopped between any two steps), so everything a
leader writes is a compare-and-set as well. A leader that ends in order releases the lease; one
that is killed is replaced when its TTL has run out, by the server's word or by our own clock
(`components.bus.staleness`).
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable

from components.bus.buckets import Bucket, Entry
from components.bus.connection import Bus
from components.bus.errors import BusError
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
        self._bucket = Bucket(bus, storage.LEADERS)
        self._replica = replica
        self._vacant = asyncio.Event()
        self.lease = Lease(self._bucket, ROLE, ttl_s=ttl_s, renew_every_s=min(1.0, ttl_s / 5))
        self.holder = ""
        """Who leads, as far as this replica knows; empty when nobody does."""

    @property
    def leading(self) -> bool:
        """Whether this replica may act as leader at this very moment."""
        return self.lease.valid

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
            value = encode(LeaderLease(holder=self._replica, since_ms=wall_ms()))
            try:
                if await self.lease.acquire(value):
                    self._value = value
                    return
            except BusError as error:
                log.info("cannot stand for election, trying again: %s", error)
                await asyncio.sleep(AGAIN_S)
                self._vacant.set()

    async def _lead(self, lead: Callable[[], Awaitable[None]]) -> None:
        log.info("%s leads", self._replica)
        self.holder = self._replica
        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(self.lease.keep(lambda: self._value), name="keep lease")
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
        self.holder = _holder(entry)
        if not self.holder:
            self._vacant.set()


async def _awaited(lead: Callable[[], Awaitable[None]]) -> None:
    await lead()


def _holder(entry: Entry | None) -> str:
    if entry is None or entry.value is None:
        return ""
    try:
        return decode(entry.value, LeaderLease).holder
    except MalformedMessage as error:
        log.warning("the leader's lease cannot be read: %s", error)
        return "unknown"
