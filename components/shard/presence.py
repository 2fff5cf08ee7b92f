"""That this replica lives, for others to see, and its part of Discord's global rate.

Promise: while `valid`, the key ``replica.<name>`` is this replica's, and the part that the division
names for it is its own. Each time that the key is acquired the replica enters the division anew
(`components.sharing.place`): what it had before may have been given to others. Fails: never; what
the bus refuses is tried again.
"""

import asyncio
import logging
import uuid
from collections.abc import Callable
from typing import Final

from components.bus.buckets import Bucket
from components.bus.connection import Bus
from components.bus.errors import BusError
from components.bus.leases import Lease, LeaseLost
from components.process.clock import wall_ms
from components.shard.board import encode_replica
from components.sharing.invalid import InvalidCount
from components.sharing.place import Shares
from components.sharing.slots import RateShare
from contracts import storage
from contracts.ids import Incarnation

log = logging.getLogger(__name__)

AGAIN_S: Final = 1.0


class Presence:
    """One replica's key. ``on_shown`` is called when it has been acquired."""

    def __init__(
        self, bus: Bus, replica: str, *, ttl_s: int, invalid: InvalidCount, rest_per_s: float
    ) -> None:
        self.on_shown: Callable[[], None] = lambda: None
        self.share = RateShare()
        self._bus = bus
        self._replica = replica
        self._key = f"{storage.SHARD_REPLICA}{replica}"
        self._lease = Lease(Bucket(bus, storage.SHARDS), self._key, ttl_s=ttl_s)
        self._invalid = invalid
        self._rest_per_s = rest_per_s
        self._since_ms = wall_ms()
        self._start = Incarnation("")
        self._soon = asyncio.Event()
        self.share.on_news = self._soon.set

    def valid(self) -> bool:
        """Whether the key is certainly this replica's at this very moment."""
        return self._lease.valid

    async def run(self) -> None:
        """Show it until cancelled, then give the key back."""
        try:
            while True:
                self._start = Incarnation(uuid.uuid4().hex)
                try:
                    if await self._lease.acquire(self._value()):
                        self.on_shown()
                        await self._keep()
                except* (BusError, LeaseLost) as errors:
                    log.debug("replica is not shown: %s", errors.exceptions)
                await asyncio.sleep(AGAIN_S)
        finally:
            await self._lease.release()

    async def _keep(self) -> None:
        shares = Shares(self._bus, self._key, self._start, self.share, self._rest_per_s)
        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(shares.run())
                await self._lease.keep(self._value, soon=self._soon)
        finally:
            self.share.divide(0, 0)

    def _value(self) -> bytes:
        wanted, _, revision = self.share.report()
        return encode_replica(
            self._replica,
            self._since_ms,
            invalid_requests=self._invalid.count,
            incarnation=self._start,
            rest_wanted_per_s=wanted,
            rest_share_revision=revision,
        )
