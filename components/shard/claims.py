"""Which shard ids this replica holds: its fair share, claimed, kept, handed over.

A replica shows that it lives by a key of its own (`presence`); the share is the shard ids over the
living replicas, rounded up. It claims what nobody holds up to its share, and hands over in order
what it holds beyond it. Who gets a shard id is decided by compare-and-set, never by what was seen.

While the number of shards changes (`generations`) this holds for the old and the new shard ids
alike; which of them are to end, and which may go on, is what the plan says.

After NATS was away nobody claims for one time to live, so that each can get its own back first.
"""

import asyncio
import logging
from collections.abc import Callable

from components.bus.buckets import Bucket
from components.bus.errors import BusError
from components.bus.leases import Lease
from components.process.clock import steady_s
from components.shard.board import Board, View, fair_share
from components.shard.gate import LeaseGate
from components.shard.generations import Generation, wanted
from components.shard.hold import Hold, first_value
from components.shard.presence import Presence
from contracts.records import ShardPlan
from contracts.storage import shard_key, shard_of_key

log = logging.getLogger(__name__)

LOOK_EVERY_S = 1.0

Where = tuple[int, int]
"""Generation and shard id."""


class Claims:
    """The shard ids of one replica."""

    def __init__(
        self,
        *,
        replica: str,
        board: Board,
        sessions: Bucket,
        ttl_s: int,
        grace_s: float,
        shard_count: int,
        count_is_advice: bool,
        new_hold: Callable[[int, Generation, LeaseGate, int], Hold],
        presence: Presence,
    ) -> None:
        self._replica = replica
        self._board = board
        self._sessions = sessions
        self._ttl_s = ttl_s
        self._grace_s = grace_s
        self._shard_count = shard_count
        self._count_is_advice = count_is_advice
        self._new_hold = new_hold
        self._presence = presence
        presence.on_shown = board.refresh_soon
        self._holds: dict[Where, Hold] = {}
        self._tidied: tuple[int, str] | None = None
        self._told: int | None = None
        self._quiet_until = float("-inf")
        self._changed = asyncio.Event()
        self.first_shard = asyncio.Event()
        """Set once this replica holds shard 0."""

    @property
    def held(self) -> int:
        """How many shard ids this replica holds."""
        return len(self._holds)

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
                    helpers.create_task(self._presence.run()),
                    helpers.create_task(self._claim_for_ever(holds)),
                ]
                await stop.wait()
                for task in tasks:
                    task.cancel()
            for hold in self._holds.values():
                hold.leave(self._grace_s)

    async def _claim_for_ever(self, group: asyncio.TaskGroup) -> None:
        seen = 0
        while True:
            seen = await self._board.next(LOOK_EVERY_S, seen)
            if self._board.view is None:
                continue
            self._follow(self._board.view.plan)
            if steady_s() < self._quiet_until:
                continue
            try:
                if self._agree_on_count(self._board.view):
                    for generation in wanted(self._board.view.plan, self._shard_count):
                        await self._adjust(self._board.view, generation, group)
                    await self._tidy(self._board.view.plan)
            except BusError as error:
                log.info("no shard id claimed now: %s", error)

    async def still_wanted(self, generation: int) -> bool:
        """Whether shard ids of that generation are held, as the plan says at this moment. Raises
        `BusError`, `MalformedMessage`."""
        plan = await self._board.read_plan()
        return any(one.generation == generation for one in wanted(plan, self._shard_count))

    def _follow(self, plan: ShardPlan | None) -> None:
        """Tell what is held how far the change of the number of shards has come."""
        now = {one.generation: one for one in wanted(plan, self._shard_count)}
        for hold in self._holds.values():
            generation = now.get(hold.generation)
            if generation is None:
                hold.abandon()
            elif generation.ending:
                hold.end()
            elif not generation.from_count:
                hold.old_ended(None)
            elif plan is not None and plan.phase == "cut":
                hold.old_ended(self._board.old_ended)

    async def _tidy(self, plan: ShardPlan | None) -> None:
        """After a change nobody needs the sessions of another number of shards."""
        if plan is None or plan.phase not in ("done", "aborted"):
            return
        [now] = wanted(plan, self._shard_count)
        if (now.generation, 0) not in self._holds:
            return
        if self._tidied == (plan.generation, plan.phase):
            return
        for key, entry in (await self._sessions.snapshot()).items():
            where = shard_of_key(key)
            if where is not None and where[0] != now.generation:
                await self._sessions.delete(key, entry.revision)
        self._tidied = (plan.generation, plan.phase)

    def _agree_on_count(self, view: View) -> bool:
        """Two counts at once would deliver guilds twice: follow the plan, or the others, or
        wait."""
        if view.plan is not None:
            count = wanted(view.plan, self._shard_count)[-1].count
            if not self._count_is_advice and count != self._shard_count and self._told != count:
                self._told = count
                log.warning(
                    "this replica is set to %d shards, but the installation was changed to %d "
                    "(modbot ops reshard), which counts; set MODBOT_SHARD_COUNT to that",
                    self._shard_count,
                    count,
                )
            return True
        others = {
            lease.shard_count
            for where, lease in view.leases.items()
            if where not in self._holds and lease.shard_count != self._shard_count
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

    async def _adjust(self, view: View, generation: Generation, group: asyncio.TaskGroup) -> None:
        share = fair_share(generation.count, len(view.replicas | {self._replica}))
        held = [where for where in self._holds if where[0] == generation.generation]
        if not generation.ending:
            for where in sorted(held, reverse=True)[: max(0, len(held) - share)]:
                log.info("shard %d goes to another replica", where[1])
                self._holds[where].leave(self._grace_s)
        room = share - len(held)
        for shard in range(generation.count):
            if room <= 0:
                return
            where = (generation.generation, shard)
            if where in self._holds or where in view.leases:
                continue
            if generation.ending and shard in self._board.old_ended:
                continue
            if await self._claim(shard, generation, group):
                room -= 1

    async def _claim(self, shard: int, generation: Generation, group: asyncio.TaskGroup) -> bool:
        key = shard_key(generation.generation, shard)
        lease = Lease(self._board.bucket, key, ttl_s=self._ttl_s)
        value, since_ms = first_value(self._replica, shard, generation)
        if not await lease.acquire(value):
            return False
        log.info("shard %d of %d is held", shard, generation.count)
        hold = self._new_hold(shard, generation, LeaseGate(lease), since_ms)
        self._holds[generation.generation, shard] = hold
        group.create_task(self._hold(hold))
        self._board.refresh_soon()
        if shard == 0:
            self.first_shard.set()
        return True

    async def _hold(self, hold: Hold) -> None:
        try:
            await hold.run()
        finally:
            del self._holds[hold.generation, hold.shard]
            self._board.refresh_soon()
