"""One guild that this pod owns at one epoch: opened, served, closed.

Opening: check that the log continues our rows, listen (live messages wait), append `OwnerOpened`,
apply everything up to its acknowledgement, then answer, publish and act. A guild whose log does
not continue its rows is not served; it answers every request with the reason. A guild that waits
at a poison input answers reads and goes on when its log names the input in a `SkipInput`.

`Guild.run` returns when the guild is closed. A higher epoch on the log closes it at once.
"""

import asyncio
import logging
from collections.abc import Callable, Coroutine
from typing import Any, Final
from uuid import uuid4

import msgspec
from nats.errors import Error as NatsError

from components.bus.connection import Bus
from components.bus.errors import BusError
from components.bus.stream import StoredMessage
from components.gateway.engine.engine import Engine
from components.gateway.engine.inputs import ENGINE_VERSION
from components.gateway.engine.model import (
    Applied,
    ArmedTimer,
    CommandReply,
    Effect,
    PendingFact,
)
from components.gateway.shell.applier import Applier
from components.gateway.shell.attempts import Attempts
from components.gateway.shell.effects.lanes import Lanes, Outlets
from components.gateway.shell.errors import GateClosed, HoleFound
from components.gateway.shell.facts import FactPublisher
from components.gateway.shell.feed import Feed
from components.gateway.shell.gate import Gate, Permit
from components.gateway.shell.holes import refusal
from components.gateway.shell.intake import Intake
from components.gateway.shell.logbook import Logbook
from components.gateway.shell.progress import Waiters
from components.gateway.shell.requests import RequestServer
from components.gateway.shell.timers import Timers
from components.telemetry.traces import carry, span
from contracts import headers, subjects
from contracts.ids import Epoch, GuildId, Incarnation, PodId, RequestId, Sequence
from contracts.inputs import OwnerOpened, owner_opened_id
from contracts.message import encode
from contracts.records import Assignment

log = logging.getLogger(__name__)

OPEN_AGAIN_S: Final = 0.2

Spawn = Callable[[Coroutine[Any, Any, None]], asyncio.Task[None]]


class Services(msgspec.Struct, frozen=True, kw_only=True):
    """What all guilds of a pod share."""

    pod: PodId
    incarnation: Incarnation
    bus: Bus
    gate: Gate
    applier: Applier
    outlets: Outlets
    timers: Timers
    logbook: Logbook
    spawn: Spawn
    opening: asyncio.Semaphore


class _Pending(msgspec.Struct, frozen=True, kw_only=True):
    """What is left to do when a guild is caught up."""

    effects: list[Effect]
    facts: list[PendingFact]
    timers: list[ArmedTimer]


class Guild:
    """The guild while it is ours at the assignment's epoch."""

    def __init__(self, services: Services, assignment: Assignment) -> None:
        self.assignment = assignment
        self.id: GuildId = assignment.guild
        self.permit = Permit(assignment.guild, assignment.epoch)
        self.is_open = False
        """Whether the guild is caught up and served."""
        self.refusal = ""
        """Why the guild is not served; empty when it is."""
        self.complete_up_to = Sequence(0)
        """Stream sequence up to which everything of the guild is applied, as last compared."""
        self._services = services
        self._waiters = Waiters()
        self._intake: Intake | None = None
        self._attempts = Attempts(services.bus, services.pod, self.id)
        self._feed = Feed(services.applier, self._attempts, self.id, self._deliver, self._resumed)
        self._feed.careful = services.applier.unclean
        self._barrier = Sequence(0)
        self._mark = Sequence(0)
        self._serving = asyncio.Event()
        self._closing = asyncio.Event()
        self._lanes = Lanes(services.outlets, self.permit)
        self._facts = FactPublisher(
            services.bus,
            services.gate,
            self.permit,
            spawn=services.spawn,
            on_newer=self._newer_epoch,
        )
        self._requests = RequestServer(
            services.bus,
            services.gate,
            services.applier,
            self.permit,
            services.pod,
            self,
            services.spawn,
        )

    # What requests ask (`requests.Progress`)

    @property
    def applied(self) -> Sequence:
        """The last applied sequence."""
        return self._waiters.applied

    @property
    def parked_at(self) -> Sequence | None:
        """The input at which the guild waits for an operator."""
        return self._feed.poison.sequence if self._feed.poison is not None else None

    async def applied_up_to(self, sequence: Sequence) -> None:
        """Wait until everything up to ``sequence`` is applied."""
        await self._waiters.applied_up_to(sequence)

    def expect_reply(self, request: RequestId) -> asyncio.Future[CommandReply]:
        """The engine's reply to a write, once it is applied."""
        return self._waiters.expect_reply(request)

    # Life

    @property
    def seen(self) -> Sequence:
        """The last sequence taken from the log."""
        return self._intake.seen if self._intake is not None else Sequence(0)

    async def run(self) -> None:
        """Own the guild until `close` (or a higher epoch on its log)."""
        try:
            await self._opened()
            await self._closing.wait()
        finally:
            await self._close_down()

    def close(self, reason: str) -> None:
        """Let go of the guild: begin nothing more."""
        if not self._closing.is_set():
            log.info("closing guild %s at epoch %s: %s", self.id, self.permit.epoch, reason)
            self._services.gate.withdraw(self.id, self.permit.epoch)
            self._closing.set()

    def hold_effects(self) -> None:
        """The connection is lost: effects wait until the end of the log is known again."""
        self._lanes.hold()

    async def compare(self, last: Sequence, up_to: Sequence) -> None:
        """The log ends at ``last``, as known up to stream sequence ``up_to``: take what is
        missing, and then let effects go. Raises `BusError`."""
        parked = self._feed.poison is not None
        if self._intake is None or self._closing.is_set() or not (self.is_open or parked):
            return
        try:
            await self._intake.catch_up(last)
        except HoleFound as hole:
            self._on_hole(hole)
            return
        if self.is_open and self._feed.poison is None:
            await self._waiters.applied_up_to(last)
            self._complete(up_to)

    def is_complete(self, last: Sequence, up_to: Sequence) -> bool:
        """`compare` of a guild that misses nothing, done at once; False: ask `compare`."""
        if self._intake is None or self._closing.is_set() or not self.is_open:
            return False
        if self._feed.poison is not None or min(self._intake.seen, self.applied) < last:
            return False
        self._complete(up_to)
        return True

    def _complete(self, up_to: Sequence) -> None:
        self._lanes.release()
        self.complete_up_to = max(self.complete_up_to, up_to)

    async def _opened(self) -> None:
        while not self._closing.is_set():
            try:
                async with self._services.opening:
                    await self._try_open()
            except HoleFound as hole:
                self._on_hole(hole)
            except (BusError, NatsError, GateClosed) as error:
                log.info("guild %s is opened later: %s", self.id, error)
                await self._wait(OPEN_AGAIN_S)
                continue
            await self._requests.open()
            return

    async def _try_open(self) -> None:
        intake = self._intake or await self._begin()
        await intake.subscribe()
        self._barrier = await self._append_opened()
        await intake.catch_up(self._barrier, self)
        if self._feed.poison is None:
            await self._caught_up()

    async def _begin(self) -> Intake:
        services = self._services
        checkpoint = await services.applier.read(lambda engine: engine.checkpoint(self.id))
        start = checkpoint.sequence if checkpoint is not None else Sequence(0)
        state = await services.logbook.state(self.id, with_first=start == 0)
        self._mark = await services.logbook.complete_up_to(self.id)
        if reason := refusal(self.assignment, checkpoint, state, self._mark):
            raise HoleFound(self.id, reason)
        await services.applier.write(lambda engine: engine.create(self.id, state.bounds.generation))
        if self._feed.careful:
            await self._attempts.load()
        if checkpoint is not None:
            self._feed.expect_poison(checkpoint.parked_at)
        self._waiters.advance(start)
        self._intake = Intake(services.bus, self.id, start, self._feed.hand, self._on_hole)
        return self._intake

    async def _append_opened(self) -> Sequence:
        services = self._services
        opened = OwnerOpened(
            epoch=self.permit.epoch,
            pod=services.pod,
            incarnation=services.incarnation,
            engine_version=ENGINE_VERSION,
        )
        name = owner_opened_id(self.id, self.permit.epoch, services.incarnation, uuid4().hex)
        with span("open guild", parent="", guild=self.id):
            services.gate.check(self.permit)
            stored = await services.bus.append(
                subjects.inputs(self.id), encode(opened), carry({headers.MSG_ID: name})
            )
        return Sequence(stored.sequence)

    # What the intake shows while it catches up (`intake.Look`)

    def batch(self, batch: list[StoredMessage]) -> None:
        """Look for words of operators on what comes before them."""
        self._feed.note_skips(batch)

    async def verify(self, after: Sequence) -> None:
        """Whether the stream still held all that was read."""
        bounds = (await self._services.logbook.state(self.id, with_first=False)).bounds
        held_from = max(after + 1, self.assignment.first_sequence, self._mark + 1)
        if bounds.first > held_from:
            raise HoleFound(
                self.id, f"the stream lost inputs from {held_from} to {bounds.first - 1}"
            )

    async def _caught_up(self) -> None:
        """Everything up to the barrier is handed in: apply it, then serve."""
        await self._waiters.applied_up_to(self._barrier)
        await self._feed.caught_up()
        self._services.applier.call(self._left_to_do, self._serve)
        await self._serving.wait()

    def _left_to_do(self, engine: Engine) -> _Pending:
        return _Pending(
            effects=engine.pending_effects(self.id),
            facts=engine.pending_facts(self.id),
            timers=engine.timers(self.id),
        )

    def _serve(self, pending: _Pending) -> None:
        """Called in order with the results of inputs, so that nothing is taken twice or missed."""
        self._serving.set()
        if self._closing.is_set():
            return
        self.is_open = True
        for effect in pending.effects:
            self._lanes.add(effect, in_doubt=True)
        self._facts.add(pending.facts)
        self._services.timers.open(self.permit, pending.timers)
        if self._services.gate.may_act(self.permit):  # else after the next comparison
            self._lanes.release()
        log.info("guild %s is open at epoch %s", self.id, self.permit.epoch)

    def _deliver(self, applied: Applied) -> None:
        """What came of an input, after its commit."""
        if applied.reply is not None:
            self._waiters.replied(applied.reply)
        self._waiters.advance(applied.sequence)
        if applied.opened_epoch is not None and applied.opened_epoch > self.permit.epoch:
            self._newer_epoch(applied.opened_epoch)
        if applied.alarm:
            log.error("%s", applied.alarm, extra={"fields": {"alarm": "engine"}})
        if applied.status == "quarantined":
            log.warning(
                "input %s of guild %s is quarantined: %s",
                applied.sequence,
                self.id,
                applied.reason,
            )
        if applied.settled is not None:
            self._lanes.settled(applied.settled)
        if not self.is_open or self._closing.is_set():
            return  # what it asks for is pending, and found there by whoever opens the guild
        for effect in applied.effects:
            self._lanes.add(effect, in_doubt=False)
        self._facts.add(list(applied.facts))
        for timer in applied.timers:
            self._services.timers.arm(timer)

    def _resumed(self, sequence: Sequence) -> None:
        """A parked guild goes on: take again what was only searched."""
        if self._intake is not None:
            self._intake.rewind(sequence)
        self._services.spawn(self._caught_up())

    def _newer_epoch(self, epoch: Epoch) -> None:
        self.close(f"epoch {epoch} has begun")

    def _on_hole(self, hole: HoleFound) -> None:
        self.refusal = hole.reason
        self.is_open = False
        self._lanes.hold()
        log.error("%s", hole, extra={"fields": {"alarm": "hole", "guild": self.id}})

    async def _wait(self, seconds: float) -> None:
        try:
            async with asyncio.timeout(seconds):
                await self._closing.wait()
        except TimeoutError:
            return

    async def _close_down(self) -> None:
        self.close("stopped")
        self.is_open = False
        self._services.timers.close(self.id)
        await self._requests.close()
        if self._intake is not None:
            await self._intake.unsubscribe()
        self._waiters.cancel()
        await self._facts.close()
        await self._lanes.close()
