"""A lease: a key that its holder renews by compare-and-set and that expires otherwise.

Promise: between two holders of one key there is a moment at which neither believes to hold it.
The holder counts from *before* it sent the renewal, on a steady clock, and stops ``margin_s``
before the server can let the key expire. A renewal that loses its compare-and-set means that
somebody else wrote the key: the lease is lost for good.

`Lease.valid` must be asked at every act; a timer may run late after the process was stopped.
"""

import asyncio
import contextlib
import logging
from collections import deque
from collections.abc import Callable
from typing import Final

from components.bus.buckets import Bucket
from components.bus.errors import BusError, WrongLastSequence
from components.process.clock import SteadyClock, steady_s

log = logging.getLogger(__name__)

KEPT_WRITES: Final = 8
"""More than are sent in one TTL: while a stream has no leader none of them is answered."""


class LeaseLost(Exception):
    """The lease ended: it could not be renewed in time, or somebody else wrote the key. Stop
    acting at once; a lost lease cannot be renewed, only acquired anew."""


class Lease:
    """One key of one bucket, held or not."""

    def __init__(
        self,
        bucket: Bucket,
        key: str,
        *,
        ttl_s: int = 5,
        margin_s: float = 0.5,
        renew_every_s: float = 1.0,
        clock: SteadyClock = steady_s,
    ) -> None:
        self._bucket = bucket
        self.key = key
        self.ttl_s = ttl_s
        self.renew_every_s = renew_every_s
        self._margin_s = margin_s
        self._clock = clock
        self.revision = 0
        self._sent: deque[bytes] = deque(maxlen=KEPT_WRITES)
        """Values of ours that may have landed unheard."""
        self._until = float("-inf")

    @property
    def valid(self) -> bool:
        """Whether the holder may act at this very moment."""
        return self._clock() < self._until

    @property
    def renewed_at_s(self) -> float:
        """When the last acknowledged renewal was sent, on the lease's clock."""
        return self._until - self.ttl_s + self._margin_s

    @property
    def remaining_s(self) -> float:
        """How long the lease is certainly still held; negative once it is over."""
        return self._until - self._clock()

    async def acquire(self, value: bytes) -> bool:
        """Take the lease if the key holds no value; False when somebody has it."""
        started = self._clock()
        self._sent.append(value)
        revision = await self._bucket.create(self.key, value, ttl_s=self.ttl_s)
        if revision is None:
            return False
        self._held(revision, started)
        return True

    async def take_over(self, value: bytes, revision: int) -> None:
        """Overwrite a holder that has certainly ended, at the last revision seen.

        Raises `WrongLastSequence` when the key was written meanwhile.
        """
        self.revision = revision
        await self._replace(value)

    async def renew(self, value: bytes) -> None:
        """Renew, with a new value. Raises `LeaseLost` when the key is no longer ours or the lease
        had already ended; other `BusError`s may be tried again while the lease is valid."""
        if not self.valid:
            raise LeaseLost(f"lease {self.key} had ended")
        try:
            await self._replace(value)
        except WrongLastSequence as error:
            # An earlier renewal may have landed unheard. It began to count when it was sent, so
            # it only gives the revision; the lease is extended by the one that follows it.
            if await self._landed():
                await self._replace(value)
                return
            self._until = float("-inf")
            raise LeaseLost(f"lease {self.key} was taken or fenced") from error

    async def release(self) -> None:
        """Give the lease back at once; harmless when it is lost."""
        self._until = float("-inf")
        try:
            try:
                await self._bucket.delete(self.key, self.revision)
            except WrongLastSequence:
                # A renewal that was cut short may have landed.
                if not await self._landed():
                    raise
                await self._bucket.delete(self.key, self.revision)
        except BusError as error:
            log.info("lease %s was not released, it will expire: %s", self.key, error)

    async def keep(
        self,
        value: Callable[[], bytes],
        on_renewed: Callable[[], None] | None = None,
        soon: asyncio.Event | None = None,
    ) -> None:
        """Renew until cancelled; at once when ``soon`` is set, which is cleared. Raises
        `LeaseLost` as soon as the lease cannot be kept."""
        soon = soon or asyncio.Event()
        while True:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(min(self.renew_every_s, max(0.0, self.remaining_s / 2))):
                    await soon.wait()
            soon.clear()
            try:
                await self.renew(value())
            except BusError as error:
                if not self.valid:
                    raise LeaseLost(f"lease {self.key} could not be renewed in time") from error
                log.warning("renewal of %s failed, trying again: %s", self.key, error)
                continue
            if on_renewed is not None:
                on_renewed()

    async def _replace(self, value: bytes) -> None:
        started = self._clock()
        self._sent.append(value)
        revision = await self._bucket.replace(self.key, value, self.revision, ttl_s=self.ttl_s)
        self._sent.clear()  # what was sent before it can land no more
        self._held(revision, started)

    def _held(self, revision: int, started: float) -> None:
        self.revision = revision
        self._until = started + self.ttl_s - self._margin_s

    async def _landed(self) -> bool:
        """Whether a write of ours whose answer was lost is the key's last one: a value of ours,
        which nobody else writes, at a revision after the one we knew."""
        entry = await self._bucket.get(self.key)
        if entry is None or entry.value not in self._sent or entry.revision <= self.revision:
            return False
        self.revision = entry.revision
        return True
