"""Carries out placement: looks up what `decide` asks for, writes what it decides.

Promise: nothing is written without a valid leader's lease at that moment, and every write is a
compare-and-set on the revision that the decision was made on. A write that is refused or not
answered is read back from the bucket's leader, and the next plan goes on from there. Failures of
the bus are logged and tried again.
"""

import asyncio
import logging
from collections.abc import Iterable

import msgspec

from components.bus.buckets import Bucket
from components.bus.connection import Bus
from components.bus.errors import BusError, Unanswered, WrongLastSequence
from components.config import logs
from components.config.database import Database
from components.config.leadership import Leadership
from components.config.placement import decide
from components.config.settings import ConfigSettings
from components.config.view import View
from components.config.world import Assign, Fence, LogFact, Plan, World
from components.process.clock import steady_s, wall_ms
from components.telemetry.traces import span
from contracts import storage
from contracts.ids import GuildId
from contracts.message import encode

log = logging.getLogger(__name__)

AT_ONCE = 64
"""Writes in flight: 1,000 assignments take about 0.3 s so (tests/integration/config)."""
LOOKS_AT_ONCE = 512
"""Logs looked at before the plan is made again: what is urgent must not queue behind them."""
AGAIN_S = 0.2
"""Pause after the bus failed."""


class Placer:
    """Plans for everybody who asks; writes while it leads."""

    def __init__(
        self,
        bus: Bus,
        view: View,
        database: Database,
        leadership: Leadership,
        settings: ConfigSettings,
        replica: str,
    ) -> None:
        self._bus = bus
        self._view = view
        self._database = database
        self._leadership = leadership
        self._settings = settings
        self._replica = replica
        self._guilds = Bucket(bus, storage.GUILDS)
        self._pods = Bucket(bus, storage.PODS)
        self._logs: dict[GuildId, LogFact] = {}
        self._led_since_s = steady_s()
        self._news = asyncio.Event()

    def news(self) -> None:
        """Something changed; plan again."""
        self._news.set()

    async def lead(self) -> None:
        """Place guilds until cancelled."""
        self._led_since_s = steady_s()
        await self._in_sync()
        self._database.lead(self._view)
        try:
            while True:
                await self._in_sync()
                self._news.clear()
                plan = self._plan()
                try:
                    await self._carry_out(plan)
                    if plan.look_up:
                        some = plan.look_up[:LOOKS_AT_ONCE]
                        await logs.look(self._bus, some, self._logs)
                        continue
                except BusError as error:
                    log.warning("placement is held up, trying again: %s", error)
                    await asyncio.sleep(AGAIN_S)
                    continue
                await self._until_news(plan.wake_at_s)
        finally:
            self._database.follow()

    async def plan_for_people(self) -> Plan:
        """The plan with everything looked up that explains it; on any replica. What it would do
        shows as waiting."""
        plan = self._plan()
        if plan.look_up:
            try:
                await logs.look(self._bus, plan.look_up[:LOOKS_AT_ONCE], self._logs)
            except BusError as error:
                log.info("cannot look at the logs for a status: %s", error)
            plan = self._plan()
        return plan

    def _plan(self) -> Plan:
        view, now_s = self._view, steady_s()
        history = self._database.last_epochs
        world = World(
            now_s=now_s,
            judge_from_s=max(view.synced_at_s, self._led_since_s) + self._settings.pod_ttl_s,
            replace_after_s=self._settings.replace_after_s,
            pods=view.pods,
            registry=view.registry,
            assignments=view.assignments,
            logs=self._logs,
            placed_before={*(history or ()), *view.unassigned},
            history_pending_until_s=(
                self._led_since_s + self._settings.history_wait_s if history is None else None
            ),
        )
        plan = decide(world)
        for guild in [guild for guild in self._logs if guild not in plan.waiting]:
            del self._logs[guild]
        return plan

    async def _in_sync(self) -> None:
        while not self._view.complete:
            self._news.clear()
            await self._news.wait()

    async def _until_news(self, wake_at_s: float | None) -> None:
        try:
            async with asyncio.timeout(
                None if wake_at_s is None else max(0.0, wake_at_s - steady_s())
            ):
                await self._news.wait()
        except TimeoutError:
            return

    async def _carry_out(self, plan: Plan) -> None:
        if not plan.acts:
            return
        started_s = steady_s()
        with span("config.place", assignments=len(plan.assign), fences=len(plan.fence)):
            for fence in plan.fence:
                await self._fence(fence)
            done = await self._assign_all(plan.assign)
        if plan.assign:
            log.info("wrote %d assignments in %.3f s", done, steady_s() - started_s)

    async def _assign_all(self, decisions: Iterable[Assign]) -> int:
        left = iter(decisions)
        failed: list[BusError] = []
        done = 0

        async def write() -> None:
            nonlocal done
            for decision in left:
                if failed:
                    return
                try:
                    done += await self._assign(decision)
                except BusError as error:
                    failed.append(error)

        async with asyncio.TaskGroup() as group:
            for _ in range(AT_ONCE):
                group.create_task(write())
        if failed:
            raise failed[0]
        return done

    async def _assign(self, decision: Assign) -> bool:
        """Write one assignment; False when somebody else wrote the key before."""
        if not self._leadership.leading:
            return False
        assignment = msgspec.structs.replace(decision.assignment, since_ms=wall_ms())
        guild, value = assignment.guild, encode(assignment)
        try:
            revision = await self._guilds.replace(guild, value, decision.revision)
        except (WrongLastSequence, Unanswered) as error:
            entry = await self._guilds.get(guild)
            if entry is None or entry.value != value:
                log.info("assignment of guild %s was not written: %s", guild, error)
                self._view.reread_assignment(guild, entry)
                return False
            revision = entry.revision  # it had landed; only its answer was lost
        self._view.assigned(assignment, revision)
        self._database.owner_changed(assignment)
        log.debug(
            "guild %s: epoch %d on %s (%s): %s",
            guild,
            assignment.epoch,
            assignment.pod,
            assignment.incarnation,
            decision.reason,
        )
        return True

    async def _fence(self, decision: Fence) -> None:
        """Overwrite the pod's key, without a TTL: the fence stands until the pod's next
        incarnation takes it over. A pod that is back by now is left alone."""
        if not self._leadership.leading:
            return
        lease = msgspec.structs.replace(decision.lease, fenced_by=self._replica)
        try:
            await self._pods.replace(lease.pod, encode(lease), decision.revision)
            log.warning("pod %s is fenced: %s", lease.pod, decision.reason)
        except (WrongLastSequence, Unanswered) as error:
            log.info("pod %s was not fenced: %s", lease.pod, error)
        self._view.reread_pod(lease.pod, await self._pods.get(lease.pod))
