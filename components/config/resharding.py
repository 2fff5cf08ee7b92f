"""Changes of the number of shards: begun by operators, carried on by whoever leads.

The plan is one entry of bucket ``shards``, written by compare-and-set; how far it has come is what
the shard replicas show in ``shards`` and ``sessions``. So a new leader goes on where another was
killed (`reshard`). A plan whose sessions do not start any more is aborted before its cut.
"""

import asyncio
import logging

import msgspec

from components.bus.buckets import Bucket
from components.bus.connection import Bus
from components.bus.errors import BusError, NoOwner, WrongLastSequence
from components.config import reshard
from components.config.reshard import Leases
from components.config.view import View
from components.process.clock import SteadyClock, steady_s, wall_ms
from components.telemetry.traces import carry
from contracts import storage, subjects
from contracts.errors import ErrorCode, ServiceError
from contracts.ids import GuildId
from contracts.message import MalformedMessage, decode, encode
from contracts.operations import OperationProgress, SessionBudget, ShardsStatus
from contracts.records import SessionResume, ShardLease, ShardPlan

log = logging.getLogger(__name__)

LOOK_EVERY_S = 0.2
IDLE_LOOK_EVERY_S = 1.0
STUCK_S = 300.0
"""How long no further session may become ready: two IDENTIFYs after a long pause."""
ASK_S = 5.0


class Resharding:
    """What a replica of config has to do with shards."""

    def __init__(
        self, bus: Bus, view: View, *, shard_ttl_s: float, clock: SteadyClock = steady_s
    ) -> None:
        self._bus = bus
        self._view = view
        self._shard_ttl_s = shard_ttl_s
        self._clock = clock
        self._shards = Bucket(bus, storage.SHARDS)
        self._sessions = Bucket(bus, storage.SESSIONS)
        self._max_concurrency = 1
        self._ready = (0, float("-inf"))
        """How many sessions were ready, and since when no more of them are."""
        self._over = ""
        """The operation whose end was told."""
        self._told: OperationProgress | None = None
        self._told_s = float("-inf")
        self.running: list[OperationProgress] = []
        """The change that is under way, if this replica leads."""

    async def begin(self, count: int, operation: str, by: str) -> str:
        """Plan a change; returns what will be done, in words. Raises `ServiceError`, `BusError`."""
        plan, revision = await self._plan()
        if plan is not None and reshard.under_way(plan):
            raise ServiceError(
                ErrorCode.CONFLICT,
                f"the number of shards is being changed from {plan.from_count} to {plan.count}: "
                "wait until that is done (modbot ops status)"
                + ("" if plan.phase == "cut" else ", or modbot ops reshard --abort"),
            )
        now = reshard.running(plan, await self._leases())
        if not now.count:
            raise ServiceError(
                ErrorCode.CONFLICT,
                "no shard replica holds a shard, or they were started with different numbers: "
                "look at the shards first (modbot status)",
            )
        budget = await self._budget()
        if refused := reshard.refusal(count, now, self._guilds(), budget):
            raise ServiceError(ErrorCode.CONFLICT, f"the number of shards stays: {refused}")
        wanted = ShardPlan(
            generation=(plan.generation if plan is not None else 0) + 1,
            count=count,
            from_generation=now.generation,
            from_count=now.count,
            phase="connect",
            operation=operation,
            by=by,
            since_ms=wall_ms(),
        )
        await self._write(wanted, revision)
        takes_s = reshard.connects_in_s(count, budget.max_concurrency)
        return (
            f"change from {now.count} to {count} shards: {count} of {budget.remaining} sessions "
            f"left today, about {takes_s} s until they are started, then each guild is cut over"
        )

    async def abort(self, by: str) -> str:
        """Take the change back. Raises `ServiceError`, `BusError`."""
        plan, revision = await self._plan()
        if plan is None or not reshard.under_way(plan):
            raise ServiceError(ErrorCode.CONFLICT, "the number of shards is not being changed")
        if plan.phase == "cut":
            raise ServiceError(
                ErrorCode.CONFLICT,
                "guilds are being cut over already: it ends by itself, then change it again",
            )
        await self._write(
            msgspec.structs.replace(plan, phase="aborted", text=f"{by} asked for it"), revision
        )
        return f"the number of shards stays {plan.from_count}"

    async def status(self) -> ShardsStatus | None:
        """What is known of the shards; None while it cannot be read."""
        try:
            plan, _ = await self._plan()
            leases = await self._leases()
        except (BusError, ServiceError) as error:
            log.info("shards cannot be read now: %s", error)
            return None
        return reshard.status(plan, leases, self._guilds())

    async def lead(self) -> None:
        """Carry a change on until cancelled."""
        self._told = None
        self._ready = (0, self._clock())
        try:
            while True:
                try:
                    await self._step()
                except (BusError, ServiceError) as error:
                    log.info("the change of shards is held up, trying again: %s", error)
                await asyncio.sleep(LOOK_EVERY_S if self.running else IDLE_LOOK_EVERY_S)
        finally:
            self.running = []

    async def _step(self) -> None:
        plan, revision = await self._plan()
        if plan is None or (not reshard.under_way(plan) and self._over == plan.operation):
            return
        leases = await self._leases()
        ended = await self._ended(plan)
        now_s, ready = self._clock(), reshard.ready(plan, leases)
        if plan.phase != "connect" or ready != self._ready[0] or not self.running:
            self._ready = (ready, now_s)
        waited_s = now_s - self._ready[1]
        following = reshard.next_phase(plan, leases, ended, waited_s)
        after = plan
        if following is not None:
            cut_ms = wall_ms() if following == "cut" else plan.cut_ms
            after = msgspec.structs.replace(plan, phase=following, cut_ms=cut_ms)
        elif plan.phase == "connect" and (text := reshard.refused(plan, leases)):
            after = msgspec.structs.replace(plan, phase="aborted", text=text)
        elif plan.phase == "connect" and waited_s > STUCK_S:
            text = f"no further session could be started for {STUCK_S:g} s"
            after = msgspec.structs.replace(plan, phase="aborted", text=text)
        if after is not plan:
            try:
                await self._shards.replace(storage.SHARD_PLAN, encode(after), revision)
            except WrongLastSequence:
                return  # an operator was faster; read again
            log.info("change from %d to %d shards: %s", after.from_count, after.count, after.phase)
        await self._tell(reshard.progress(after, leases, ended, self._max_concurrency))

    async def _tell(self, progress: OperationProgress) -> None:
        self.running = [progress] if progress.state == "running" else []
        if progress == self._told and self._clock() - self._told_s < 1.0:
            return
        await self._bus.say(subjects.progress(progress.operation), encode(progress), carry())
        if progress.state != "running":
            self._over = progress.operation
        self._told, self._told_s = progress, self._clock()

    async def _plan(self) -> tuple[ShardPlan | None, int]:
        entry = await self._shards.get(storage.SHARD_PLAN)
        if entry is None or entry.value is None:
            return None, entry.revision if entry else 0
        try:
            return decode(entry.value, ShardPlan), entry.revision
        except MalformedMessage as error:
            raise ServiceError(
                ErrorCode.CONFLICT, f"the plan of shards cannot be read: {error}"
            ) from error

    async def _write(self, plan: ShardPlan, revision: int) -> None:
        try:
            await self._shards.replace(storage.SHARD_PLAN, encode(plan), revision)
        except WrongLastSequence as error:
            raise ServiceError(
                ErrorCode.CONFLICT, "somebody else changed the shards just now: modbot ops status"
            ) from error

    async def _leases(self) -> Leases:
        leases: dict[tuple[int, int], ShardLease] = {}
        for key, entry in (await self._shards.snapshot()).items():
            where = storage.shard_of_key(key)
            if where is None or self._shards.ended(entry, self._shard_ttl_s):
                continue
            try:
                leases[where] = decode(entry.value or b"", ShardLease)
            except MalformedMessage as error:
                log.warning("shard lease %s cannot be read: %s", key, error)
        return leases

    async def _ended(self, plan: ShardPlan) -> set[int]:
        if plan.phase != "cut":
            return set()
        ended: set[int] = set()
        for key, entry in (await self._sessions.snapshot()).items():
            where = storage.shard_of_key(key)
            if where is None or where[0] != plan.from_generation or entry.value is None:
                continue
            try:
                if decode(entry.value, SessionResume).ended:
                    ended.add(where[1])
            except MalformedMessage as error:
                log.warning("session %s cannot be read: %s", key, error)
        return ended

    async def _budget(self) -> SessionBudget:
        try:
            answer = await self._bus.ask(subjects.SHARD_BUDGET, b"", carry(), timeout_s=ASK_S)
            budget = decode(answer.data, SessionBudget)
        except NoOwner as error:
            raise ServiceError(
                ErrorCode.UNAVAILABLE, "no shard replica answers: start one first"
            ) from error
        except MalformedMessage as error:
            raise ServiceError(ErrorCode.UNAVAILABLE, f"a shard's answer: {error}") from error
        self._max_concurrency = budget.max_concurrency
        return budget

    def _guilds(self) -> list[GuildId]:
        return [guild for guild, known in self._view.registry.items() if known.present]
