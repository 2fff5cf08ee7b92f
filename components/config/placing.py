"""Carries out what the `Leader` plans: pings, fences, looks at logs, writes assignments.

Promise: nothing is written without a valid leader's lease at that moment, and every write is a
compare-and-set on the revision that the decision was made on. A write that is refused or not
answered is read back from the bucket's leader, and the next plan goes on from there. Failures of
the bus are logged and tried again.
"""

import asyncio
import logging
from collections.abc import Callable, Iterable, Sequence

import msgspec

from components.bus.buckets import Bucket
from components.bus.connection import Bus
from components.bus.errors import BusError, NoOwner, Refused, Unanswered, WrongLastSequence
from components.config import logs
from components.config.database import Database
from components.config.index import is_open
from components.config.leader import Leader
from components.config.leadership import Leadership
from components.config.settings import ConfigSettings
from components.config.suspicion import PING_S
from components.config.view import View
from components.config.world import Assign, Fence, Options, Ping, Plan
from components.ownership import changes
from components.process.clock import steady_s, wall_ms
from components.telemetry.traces import span
from contracts import storage, subjects
from contracts.ids import Epoch, GuildId
from contracts.message import MalformedMessage, decode, encode
from contracts.records import Assignment, PodPing

log = logging.getLogger(__name__)

TOGETHER = 64
"""Assignments in one write to the server's disk: 300 of them took 0.05 s, and 0.12 to 0.24 s as
single writes. The pods have the first while the rest are written."""
LOOKS_AT_ONCE = 512
"""Logs looked at before the plan is made again: what is urgent must not queue behind them."""
AGAIN_S = 0.2
"""Pause after the bus failed."""


class Placer:
    """Plans and writes while it leads."""

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
        self._led_since_s = float("-inf")
        self._news = asyncio.Event()
        self.on_settled: Callable[[dict[GuildId, str]], None] = lambda settled: None
        """Called with moves that have come to their end."""
        self.leader = Leader(
            view,
            Options(
                followers=settings.followers,
                joining_at_once=settings.joining_at_once,
                opening_at_once=settings.opening_at_once,
                grace_s=settings.grace_s,
                join_within_s=settings.joining_within_s,
            ),
            pod_ttl_s=settings.pod_ttl_s,
        )

    def news(self) -> None:
        """Something changed; plan again."""
        self._news.set()

    def history_read(self) -> None:
        """PostgreSQL has said which guilds are not new."""
        self.leader.looked(list(self.leader.waiting))
        self._news.set()

    def disconnected(self, server: str, client: int) -> None:
        """The server told of a lost connection."""
        self.leader.disconnected(server, client)
        self._news.set()

    async def lead(self) -> None:
        """Place guilds until cancelled."""
        await self._in_sync()
        self._led_since_s = steady_s()
        self.leader.begin(self._led_since_s)
        self._database.lead(self._view)
        try:
            async with asyncio.TaskGroup() as pings:
                while True:
                    await self._in_sync()
                    self._news.clear()
                    await self._once(pings)
        finally:
            self._database.follow()

    async def explain(self) -> None:
        """Bring what the leader's mind knows up to date, on a replica that does not lead: what it
        would do shows as waiting."""
        if self._leadership.leading:
            return
        self.leader.look_at_all()
        for _ in range(2):
            look_up = await self._decided()
            if not look_up:
                return
            try:
                await self._look(look_up)
            except BusError as error:
                log.info("cannot look at the logs for a status: %s", error)
                return

    async def _decided(self) -> list[GuildId]:
        """Decide about everything without carrying it out; returns whose logs have to be looked
        at. Ends when this replica leads: what is to be decided is the leader's."""
        look_up: list[GuildId] = []
        while not self._leadership.leading:
            plan = self._plan()
            look_up += plan.look_up
            if not plan.more:
                return look_up
            await asyncio.sleep(0)  # there may be a lease to be taken
        return []

    async def _once(self, pings: asyncio.TaskGroup) -> None:
        plan = self._plan()
        for ping in plan.ping:
            pings.create_task(self._ping(ping), name=f"ping {ping.pod}")
        try:
            await self._carry_out(plan)
            if plan.look_up:
                await self._look(plan.look_up)
                self._news.set()
        except BusError as error:
            log.warning("placement is held up, trying again: %s", error)
            self._view.dirty.update(decision.assignment.guild for decision in plan.assign)
            self._view.dirty.update(plan.look_up)
            await asyncio.sleep(AGAIN_S)
            return
        if plan.settled:
            self.on_settled(plan.settled)
        if plan.more:
            await asyncio.sleep(0)  # a plan that asks for nothing waits for nothing, either
        else:
            await self._until_news(plan.wake_at_s)

    def _plan(self) -> Plan:
        now_s, pending_until_s = steady_s(), self._led_since_s + self._settings.history_wait_s
        history = self._database.last_epochs
        if now_s < pending_until_s and not self._database.compared:
            history = None  # read while another replica led
        return self.leader.plan(now_s, history, pending_until_s)

    async def _look(self, guilds: list[GuildId]) -> None:
        some = guilds[:LOOKS_AT_ONCE]
        await logs.look(self._bus, some, self.leader.logs)
        self.leader.looked(guilds)

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

    async def _ping(self, ping: Ping) -> None:
        """Ask a suspect whether it is there."""
        question = encode(PodPing(pod=ping.pod, incarnation=ping.incarnation))
        try:
            reply = await self._bus.ask(subjects.ping(ping.pod), question, timeout_s=PING_S)
            answer = decode(reply.data, PodPing)
        except NoOwner:
            self.leader.unanswered(ping, "nobody answers for it")
        except Unanswered:
            self.leader.unanswered(ping, f"it did not answer for {PING_S:g} s")
        except BusError as error:  # our own connection: it proves nothing of the pod's
            log.info("pod %s was not pinged: %s", ping.pod, error)
            self.leader.not_pinged(ping.pod)
        except MalformedMessage as error:
            log.warning("the answer of pod %s to a ping: %s", ping.pod, error)
            self.leader.answered(ping.pod, ping.incarnation, steady_s())
        else:
            self.leader.answered(ping.pod, answer.incarnation, steady_s())
        self._news.set()

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

    async def _assign_all(self, decisions: Sequence[Assign]) -> int:
        done = 0
        for first in range(0, len(decisions), TOGETHER):
            some = [(one, self._signed(one)) for one in decisions[first : first + TOGETHER]]
            written = await self._assign_together(some) if len(some) > 1 else None
            done += await self._assign_each(some) if written is None else written
        return done

    async def _assign_together(self, signed: Sequence[tuple[Assign, Assignment]]) -> int | None:
        """Write all of them at once; None when that was refused, or when nobody knows."""
        if not self._leadership.leading:
            self._view.dirty.update(assignment.guild for _, assignment in signed)
            return 0
        try:
            revisions = await self._guilds.replace_all(
                [(one.guild, encode(one), decision.revision) for decision, one in signed]
            )
        except (Refused, Unanswered) as error:
            log.info("%d assignments are written one by one: %s", len(signed), error)
            return None
        for (decision, assignment), revision in zip(signed, revisions, strict=True):
            self._assigned(decision, assignment, revision)
        return len(signed)

    async def _assign_each(self, signed: Iterable[tuple[Assign, Assignment]]) -> int:
        writes = (self._assign(decision, assignment) for decision, assignment in signed)
        written = await asyncio.gather(*writes, return_exceptions=True)
        for error in written:
            if isinstance(error, BaseException):
                raise error
        return written.count(True)

    async def _assign(self, decision: Assign, assignment: Assignment) -> bool:
        """Write one assignment; False when somebody else wrote the key before."""
        guild, value = assignment.guild, encode(assignment)
        if not self._leadership.leading:
            self._view.dirty.add(guild)
            return False
        try:
            revision = await self._guilds.replace(guild, value, decision.revision)
        except (WrongLastSequence, Unanswered) as error:
            entry = await self._guilds.get(guild)
            if entry is None or entry.value != value:
                log.info("assignment of guild %s was not written: %s", guild, error)
                self._view.reread_assignment(guild, entry)
                return False
            revision = entry.revision  # it had landed; only its answer was lost
        self._assigned(decision, assignment, revision)
        return True

    def _assigned(self, decision: Assign, assignment: Assignment, revision: int) -> None:
        self._view.assigned(assignment, revision)
        if decision.former is None or decision.former.epoch != assignment.epoch:
            self._database.owner_changed(assignment)
        log.debug(
            "guild %s: epoch %d on %s (%s): %s",
            assignment.guild,
            assignment.epoch,
            assignment.pod,
            assignment.incarnation,
            decision.reason,
        )

    def _signed(self, decision: Assign) -> Assignment:
        now_ms, assignment = wall_ms(), decision.assignment
        joining = assignment.joining
        if joining is not None and not joining.since_ms:
            joining = msgspec.structs.replace(
                joining, since_ms=now_ms, by=joining.by or self._replica
            )
        return msgspec.structs.replace(
            assignment,
            since_ms=assignment.since_ms or now_ms,
            by=assignment.by or self._replica,
            joining=joining,
            **self._history(decision),
        )

    def _history(self, decision: Assign) -> dict[str, object]:
        """What the assignment carries of how its owner, and those before, came to own."""
        guild, former = decision.assignment.guild, decision.former

        def recorded(epoch: Epoch) -> bool:
            return self._database.recorded(guild, epoch)

        if former is None:
            return {"reason": decision.reason}
        if former.epoch == decision.assignment.epoch:
            left = [change for change in former.unrecorded if not recorded(change.epoch)]
            return {"unrecorded": left}
        holding = self._view.holds.get(guild, {}).get(former.pod)
        opened = holding if is_open(former, holding) else None
        return {
            "reason": decision.reason,
            "former": changes.owner_of(former),
            "unrecorded": changes.carried(former, opened, recorded),
        }

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
            self.leader.refused(lease.pod)
            self._news.set()
        self._view.reread_pod(lease.pod, await self._pods.get(lease.pod))
