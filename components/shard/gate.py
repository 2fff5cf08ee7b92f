"""Whether a shard may act: append to the bus, save its session, connect to Discord.

Asked at every act, as a process may have been stopped in between. A connection matters as much as
an append: the RESUME of a replica that wakes late would take the session from its new holder.
"""

import asyncio

from components.bus.leases import Lease


class LeaseGate:
    """The gate of one shard id; open while its lease is valid and surely has been all along."""

    def __init__(self, lease: Lease) -> None:
        self.lease = lease
        self._sure = True
        self._changed = asyncio.Event()

    def __call__(self) -> bool:
        return self._sure and self.lease.valid

    async def opened(self) -> None:
        """Wait until the gate is open."""
        while not self():
            self._changed.clear()
            await self._changed.wait()

    def renewed(self) -> None:
        """The lease was renewed in time."""
        self._changed.set()

    def lost(self) -> None:
        """The lease ended: somebody else may have the shard id."""
        self._sure = False

    def regained(self) -> None:
        """The lease is held again and nobody else had the shard id meanwhile."""
        self._sure = True
        self._changed.set()
