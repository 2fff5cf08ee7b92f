"""Which shard ids this replica holds: its fair share, claimed, kept, handed over.

A replica shows that it lives by a key of its own; the share is the shard ids over the living
replicas, rounded up. It claims what nobody holds up to its share, and hands over in order what it
holds beyond it. Who gets a shard id is decided by compare-and-set, never by what was seen.

After NATS was away nobody claims for one time to live, so that each can get its own back first.
"""

import asyncio
import logging
from collections.abc import Callable

from components.bus.errors import BusError
from components.bus.leases import Lease, LeaseLost
from components.process.clock import steady_s, wall_ms
from components.shard.board import REPLICA, Board, View, encode_replica, fair_share
from components.shard.gate import LeaseGate
from components.shard.hold import Hold, first_value

log = logging.getLogger(__name__)

LOOK_EVERY_S = 1.0


class Claims:
    """The shard ids of one replica."""

    def __init__(
        self,
        *,
        replica: str,
        board: Board,
        ttl_s: int,
        grace_s: float,
        shard_count: int,
        count_is_advice: bool,
        new_hold: Callable[[int, int, LeaseGate, int], Hold],
    ) -> None:
        self._replica = replica
        self._board = board
        self._ttl_s = ttl_s
        self._grace_s = grace_s
        self._shard_count = shard_count
        self._count_is_advice = count_is_advice
        self._new_hold = new_hold
        self._holds: dict[int, Hold] = {}
        self._quiet_until = float("-inf")
        self._changed = asyncio.Event()
        self.first_shard = asyncio.Event()
        """Set once this replica holds shard 0."""

    async def nats_is_back(self) -> None:
        """Wake what waits for NATS; claim nothing yet."""
        self._quiet_until = steady_s() + self._ttl_s
        for hold in self._holds.values():
            hold.wake()

    async def run(self, stop: asyncio.Event) -> None:
        """Claim and hold until stopped, then hand everything over."""
        async with asyncio.TaskGroup() as holds:
            async with asyncio.TaskGroup() as helpers:
                tasks = [
                    helpers.create_task(self._board.run()),
                    helpers.create_task(self._show_life()),
                    helpers.create_task(self._claim_for_ever(holds)),
                ]
                await stop.wait()
                for task in tasks:
                    task.cancel()
            for hold in self._holds.values():
                hold.leave(self._grace_s)

    async def _claim_for_ever(self, group: asyncio.TaskGroup) -> None:
        while True:
            await self._board.next(LOOK_EVERY_S)
            if self._board.view is None or steady_s() < self._quiet_until:
                continue
            try:
                if self._agree_on_count(self._board.view):
                    await self._adjust(self._board.view, group)
            except BusError as error:
                log.info("no shard id claimed now: %s", error)

    def _agree_on_count(self, view: View) -> bool:
        """Two counts at once would deliver guilds twice: follow the others', or wait."""
        others = {
            lease.shard_count
            for shard, lease in view.leases.items()
            if shard not in self._holds and lease.shard_count != self._shard_count
        }
        if not others or self._holds:
            return True
        if not self._count_is_advice:
            log.warning(
                "waiting: other replicas run %s shards, this one is set to %d",
                others,
                self._shard_count,
            )
            return False
        self._shard_count = max(others)
        return True

    async def _adjust(self, view: View, group: asyncio.TaskGroup) -> None:
        share = fair_share(self._shard_count, len(view.replicas | {self._replica}))
        surplus = sorted(self._holds, reverse=True)[: max(0, len(self._holds) - share)]
        for shard in surplus:
            log.info("shard %d goes to another replica", shard)
            self._holds[shard].leave(self._grace_s)
        for shard in range(self._shard_count):
            if len(self._holds) >= share:
                return
            if shard not in self._holds and shard not in view.leases:
                await self._claim(shard, group)

    async def _claim(self, shard: int, group: asyncio.TaskGroup) -> None:
        lease = Lease(self._board.bucket, str(shard), ttl_s=self._ttl_s)
        value, since_ms = first_value(self._replica, shard, self._shard_count)
        if not await lease.acquire(value):
            return
        log.info("shard %d of %d is held", shard, self._shard_count)
        hold = self._new_hold(shard, self._shard_count, LeaseGate(lease), since_ms)
        self._holds[shard] = hold
        group.create_task(self._hold(hold))
        self._board.refresh_soon()
        if shard == 0:
            self.first_shard.set()

    async def _hold(self, hold: Hold) -> None:
        try:
            await hold.run()
        finally:
            del self._holds[hold.shard]
            self._board.refresh_soon()

    async def _show_life(self) -> None:
        lease = Lease(self._board.bucket, f"{REPLICA}{self._replica}", ttl_s=self._ttl_s)
        value = encode_replica(self._replica, wall_ms())
        try:
            while True:
                try:
                    if await lease.acquire(value):
                        self._board.refresh_soon()
                        await lease.keep(lambda: value)
                except (BusError, LeaseLost) as error:
                    log.debug("replica is not shown: %s", error)
                await asyncio.sleep(LOOK_EVERY_S)
        finally:
            await lease.release()
