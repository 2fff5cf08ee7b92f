"""One guild on this pod: its rows, its log being applied and, while it is ours, its outputs.

Carries out what `ownership.guild.GuildMachine` asks for and tells what became of it. A follower
and an owner have the same intake and engine; an owner has a `Tenure` beside them. Every command
returns at once; what takes time goes on in tasks of its own.

A guild whose log does not continue its rows is not served; as its owner the pod answers every
request with the reason. A guild that waits at a poison input answers reads and goes on when its
log names the input in a `SkipInput`.
"""

import asyncio
import logging
from typing import Final, Protocol
from uuid import uuid4

import msgspec
from nats.errors import Error as NatsError

from components.bus.errors import BusError
from components.gateway.engine.inputs import ENGINE_VERSION
from components.gateway.engine.model import Applied, CommandReply, LoggedInput
from components.gateway.ownership.commands import Source
from components.gateway.ownership.guild import CRASHED
from components.gateway.shell.attempts import Attempts, Tries
from components.gateway.shell.backlog import Backlog
from components.gateway.shell.building import Found, Rows
from components.gateway.shell.door import Door
from components.gateway.shell.errors import (
    BucketFailed,
    GateClosed,
    HoleFound,
    ReplicaFailed,
    SnapshotFailed,
)
from components.gateway.shell.feed import Feed
from components.gateway.shell.gate import Permit
from components.gateway.shell.intake import Intake
from components.gateway.shell.log_clock import LogClock
from components.gateway.shell.logbook import Logbook
from components.gateway.shell.progress import Waiters
from components.gateway.shell.tenure import Outputs, Tenure, left_to_do
from components.gateway.shell.turns import Turns
from components.telemetry.traces import carry, span
from contracts import headers, subjects
from contracts.ids import Epoch, GuildId, Incarnation, RequestId, Sequence
from contracts.inputs import OwnerOpened, owner_opened_id
from contracts.message import encode
from contracts.records import Assignment

log = logging.getLogger(__name__)

AGAIN_S: Final = 0.2
LONGEST_PAUSE_S: Final = 5.0
LIVE_WITHIN_S: Final = 0.25
"""A follower hears its own `OwnerOpened` live; later than this the log is read for it."""

ASKED_WITHIN_S: Final = 10.0
"""A follower cannot know whether its owner has done what an input asked for; longer ago it has, or
nobody hurries any more."""


class Listener(Protocol):
    """Who hears what became of commands (`Ownership`)."""

    def built(self, guild: GuildId, source: Source, replayed: int) -> None: ...
    def not_built(self, guild: GuildId, reason: str) -> None: ...
    def caught_up(self, guild: GuildId, epoch: Epoch, replayed: int) -> None: ...
    def compared(self, guild: GuildId, ticket: int) -> None: ...
    def epoch_on_log(self, guild: GuildId, epoch: Epoch) -> None: ...
    def effects_ended(self, guild: GuildId, epoch: Epoch) -> None: ...
    def dropped(self, guild: GuildId) -> None: ...


class Services(msgspec.Struct, frozen=True, kw_only=True):
    """What all guilds of a pod share."""

    incarnation: Incarnation
    outputs: Outputs
    rows: Rows
    logbook: Logbook
    backlog: Backlog
    clock: LogClock
    opening: asyncio.Semaphore
    """Of guilds that are read from the log."""
    promoting: Turns
    """Of guilds that were followed up to the end: those that somebody waits for come first."""
    tries: Tries


class Guild:
    """The guild while this pod has to do with it."""

    def __init__(self, services: Services, listener: Listener, guild: GuildId) -> None:
        self.id = guild
        self.assignment: Assignment | None = None
        self.tenure: Tenure | None = None
        self.refusal = ""
        """Why the guild is not served; empty when it is."""
        self.complete_up_to = Sequence(0)
        """Stream sequence up to which everything of the guild is applied, as last compared."""
        self.ticket = 0
        """Of the last comparison that was asked for."""
        self._services = services
        self._out = services.outputs
        self._listener = listener
        self._waiters = Waiters()
        self._attempts = Attempts(self._out.bus, self._out.pod, guild, services.tries)
        self._feed = self._new_feed()
        self._intake: Intake | None = None
        self._last_intake: Intake | None = None
        """What was taken of the log before."""
        self._door: Door | None = None
        """Open before a tenure is: whoever asks waits for it."""
        self._live = False
        """Whether the log was once applied up to its end."""
        self._asked_s = float("-inf")
        """When an input last asked for something to be done at Discord, on the loop's clock."""
        self._barrier = Sequence(0)
        self._mark = Sequence(0)
        self._taken = 0
        self._building: asyncio.Task[None] | None = None
        self._keeping_up: asyncio.Task[None] | None = None
        self._ending: asyncio.Task[None] | None = None
        self._leaving: asyncio.Task[None] | None = None
        """The end of the last tenure."""

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

    # What others ask

    @property
    def is_open(self) -> bool:
        """Whether the guild is ours, caught up and served."""
        return self.tenure is not None and self.tenure.serving

    @property
    def is_followed(self) -> bool:
        """Whether its log is being applied, as an owner or as a follower."""
        return self._intake is not None

    # Commands

    def build(self, assignment: Assignment) -> None:
        """Have the rows here and apply the log."""
        self.assignment = assignment
        refused, self.tenure = self.tenure, None
        self.refusal = ""
        leaving: asyncio.Task[None] | None = None
        if refused is not None:
            refused.stop()
            leaving = self._leaving = self._out.spawn(self._end(refused, refused.permit.epoch))
        self._building = self._out.spawn(self._build(self._building, leaving))

    def keep_up(self) -> None:
        """Apply the log as a follower does. What was built to be owned reads it at its opening,
        and applies nothing until then; it may be followed before, or instead."""
        if self._keeping_up is not None and not self._keeping_up.done():
            return
        if self._intake is not None and not self._live:
            self._keeping_up = self._out.spawn(self._keep_up(self._intake))

    def stop_following(self) -> None:
        """Apply nothing more."""
        self._ending = self._out.spawn(self._stop_following(self._building, self._ending))
        self._building = None

    def await_requests(self) -> None:
        """Let requests in, to wait until the guild is served."""
        door = self._door = self._new_door()
        self._out.spawn(door.open())

    def turn_away(self) -> None:
        """The guild will not be served here: whoever waits is told to ask again."""
        door, self._door = self._door, None
        if door is not None:
            self._out.spawn(door.close())

    def open(self, epoch: Epoch, *, careful: bool) -> None:
        """Open the guild at an epoch: append `OwnerOpened` and apply up to it."""
        self._feed.careful = self._feed.careful or careful
        tenure = self.tenure = self._new_tenure(epoch)
        self._out.spawn(tenure.requests.expect())
        self._out.spawn(self._open(tenure))

    def serve(self) -> None:
        """Begin with everything but effects."""
        tenure = self.tenure
        if tenure is None:
            return
        self._out.spawn(tenure.requests.open())
        if self._feed.poison is None:
            self._out.applier.call(lambda engine: left_to_do(engine, self.id), tenure.load)
        log.debug("guild %s is open at epoch %s", self.id, tenure.permit.epoch)

    def refuse(self, epoch: Epoch, reason: str) -> None:
        """Answer every request with the reason."""
        self.refusal = reason
        if self.tenure is None:
            self.tenure = self._new_tenure(epoch)
        self.tenure.refuse()
        self._out.spawn(self.tenure.requests.open())
        log.error(
            "guild %s cannot be served: %s",
            self.id,
            reason,
            extra={"fields": {"alarm": "hole", "guild": self.id}},
        )

    def stop_owning(self, epoch: Epoch) -> None:
        """End the tenure at once."""
        tenure, self.tenure = self.tenure, None
        self.refusal = ""
        log.debug("letting go of guild %s at epoch %s", self.id, epoch)
        if tenure is not None:
            tenure.stop()
        self._leaving = self._out.spawn(self._end(tenure, epoch))

    def drop(self) -> None:
        """Apply nothing more and delete the rows."""
        self.stop_following()
        self._out.spawn(self._drop())

    async def ended(self) -> None:
        """Wait until nothing more is applied, after `stop_following`."""
        if self._ending is not None:
            await asyncio.wait([self._ending])

    async def left(self) -> None:
        """Wait until those who still asked have been told to ask again, after `stop_owning`."""
        if self._leaving is not None:
            await asyncio.wait([self._leaving])

    async def compare(self, last: Sequence, up_to: Sequence, ticket: int) -> None:
        """The log ends at ``last``, as known up to stream sequence ``up_to``, and was read after
        ``ticket`` was given: take what is missing. Raises `BusError`."""
        if self._intake is None or not self._live:
            return
        try:
            await self._intake.catch_up(last)
        except HoleFound as hole:
            self._on_hole(hole)
            return
        if self._feed.poison is None and self._live:
            await self._waiters.applied_up_to(last)
            self._complete(up_to, ticket)

    def is_complete(self, last: Sequence, up_to: Sequence, ticket: int) -> bool:
        """`compare` of a guild that misses nothing, done at once; False: ask `compare`."""
        if self._intake is None or not self._live or self._feed.poison is not None:
            return False
        if min(self._intake.seen, self.applied) < last:
            return False
        self._complete(up_to, ticket)
        return True

    def _complete(self, up_to: Sequence, ticket: int) -> None:
        self.complete_up_to = max(self.complete_up_to, up_to)
        self._mark = max(self._mark, up_to)  # a quiet guild's inputs may all have expired since
        if ticket:
            self._listener.compared(self.id, ticket)

    # Rows and log

    async def _build(
        self, former: asyncio.Task[None] | None, leaving: asyncio.Task[None] | None
    ) -> None:
        if leaving is not None:
            await asyncio.wait([leaving])
        await self._end_following(former)
        await self.ended()
        pause_s = AGAIN_S
        while (assignment := self.assignment) is not None:  # it may change meanwhile
            try:
                found = await self._services.rows.bring(assignment)
                async with self._services.opening:
                    await self._begin(assignment, found)
            except HoleFound as hole:
                if self._is_owner(assignment):
                    self._listener.not_built(self.id, hole.reason)
                    return
                why: Exception = hole
            except (BusError, NatsError, SnapshotFailed, ReplicaFailed, BucketFailed) as error:
                why = error
            else:
                self._listener.built(self.id, found.source, self._taken)
                return
            log.info("guild %s is built later: %s", self.id, why or type(why).__name__)
            await self._end_following(None)
            await asyncio.sleep(pause_s)
            pause_s = min(LONGEST_PAUSE_S, pause_s * 2)

    async def _begin(self, assignment: Assignment, found: Found) -> None:
        self._feed = self._new_feed()
        # A follower too: what killed the owner before it would kill it as well.
        crashed = assignment.cause in CRASHED or (
            assignment.cause == "restarted" and not self._is_owner(assignment)
        )
        self._feed.careful = self._out.applier.unclean or crashed
        if self._feed.careful:
            await self._attempts.load()
        self._feed.expect_poison(found.checkpoint.parked_at)
        start = found.checkpoint.sequence
        self._mark = found.mark
        self.complete_up_to = Sequence(0)  # what was said of the rows that were here before
        self._waiters = Waiters()
        self._waiters.advance(start)
        self._taken = 0
        intake = Intake(
            self._out.bus,
            self.id,
            start,
            self._feed.hand,
            self._on_hole,
            self._services.clock.saw,
            (self._services.backlog, max(start, found.mark)),
        )
        self._intake = intake
        await intake.subscribe()
        # An owner's barrier is its `OwnerOpened`; the pod may be another's follower by now.
        if not self._is_owner(self.assignment or assignment):
            await self._catch_up_to_end(intake)

    async def _keep_up(self, intake: Intake) -> None:
        while self._intake is intake and not self._live and self.tenure is None:
            try:
                async with self._services.opening:
                    await self._catch_up_to_end(intake)
            except HoleFound as hole:
                self._on_hole(hole)
                return
            except (BusError, NatsError) as error:
                log.info("guild %s is followed later: %s", self.id, error)
                await asyncio.sleep(AGAIN_S)

    async def _catch_up_to_end(self, intake: Intake) -> None:
        end = await self._services.logbook.last(self.id)
        await intake.catch_up(end, self)
        if self._feed.poison is None:
            await self._waiters.applied_up_to(end)
            if self.tenure is not None:
                return  # it is being opened, and what comes until then is to be tried as carefully
            await self._feed.caught_up()
        self._live = True

    async def _end_following(self, building: asyncio.Task[None] | None) -> None:
        """Take nothing more from the log, and wait until what was taken is applied."""
        for task in (building, self._keeping_up):
            if task is not None and not task.done():
                if not task.cancelling():  # what it still does about the first time is its own
                    task.cancel()
                await asyncio.wait([task])
        self._last_intake, self._intake = self._intake or self._last_intake, None
        self._live = False
        # Ended or not: whoever was to end it may have been cut short.
        if self._last_intake is not None:
            await self._last_intake.end()
        await self._feed.applied()

    async def _stop_following(
        self, building: asyncio.Task[None] | None, before: asyncio.Task[None] | None
    ) -> None:
        if building is not None:
            building.cancel()  # it may wait for the end before this one
        if before is not None:
            await asyncio.wait([before])
        await self._end_following(building)
        self._waiters.cancel()

    async def _drop(self) -> None:
        await self.ended()
        await self._out.applier.write(lambda engine: engine.drop(self.id))
        log.info("the rows of guild %s are dropped", self.id)
        self._listener.dropped(self.id)

    # Opening

    async def _open(self, tenure: Tenure) -> None:
        before = self._taken if self._live else 0
        while not tenure.ended.is_set():
            try:
                if self._live:
                    hurry = tenure.requests.awaited or self._is_asked_of
                    async with self._services.promoting.turn(first=hurry, name=self.id):
                        await self._try_open(tenure)
                else:
                    async with self._services.opening:
                        await self._try_open(tenure)
            except HoleFound as hole:
                self._on_hole(hole)
                return
            except (BusError, NatsError, GateClosed) as error:
                log.info("guild %s is opened later: %s", self.id, error)
                try:
                    async with asyncio.timeout(AGAIN_S):
                        await tenure.ended.wait()
                except TimeoutError:
                    continue
            else:
                self._listener.caught_up(self.id, tenure.permit.epoch, self._taken - before)
                return
        if self.tenure is None:  # given up: the log is read to its end as a follower reads it
            self._live = False
            self.keep_up()

    async def _try_open(self, tenure: Tenure) -> None:
        intake = self._followed()
        self._barrier = await self._append_opened(tenure.permit)
        if self._followed() is not intake:
            raise GateClosed(self.id, "its log is followed anew")
        if self._live and self._feed.poison is None:
            try:
                async with asyncio.timeout(LIVE_WITHIN_S):
                    await self._waiters.applied_up_to(self._barrier)
            except TimeoutError:
                log.info("guild %s: reading the log for its opening", self.id)
        if self.applied < self._barrier:
            await intake.catch_up(self._barrier, self)
        if self._followed() is not intake:  # it ended: nothing more would be applied
            raise GateClosed(self.id, "its log is followed anew")
        if self._feed.poison is None:
            await self._waiters.applied_up_to(self._barrier)
            await self._feed.caught_up()
        self._live = True

    def _followed(self) -> Intake:
        if self._intake is None:
            raise GateClosed(self.id, "its log is not followed any more")
        return self._intake

    async def _append_opened(self, permit: Permit) -> Sequence:
        opened = OwnerOpened(
            epoch=permit.epoch,
            pod=self._out.pod,
            incarnation=self._services.incarnation,
            engine_version=ENGINE_VERSION,
        )
        name = owner_opened_id(self.id, permit.epoch, self._services.incarnation, uuid4().hex)
        self._out.gate.check(permit)
        with span("open guild", parent="", guild=self.id):
            stored = await self._out.bus.append(
                subjects.inputs(self.id), encode(opened), carry({headers.MSG_ID: name})
            )
        return Sequence(stored.sequence)

    # What the intake shows while it catches up (`intake.Look`)

    def batch(self, batch: list[LoggedInput]) -> None:
        """Look for words of operators on what comes before them."""
        self._feed.note_skips(batch)

    async def verify(self, after: Sequence) -> None:
        """Whether the stream still held all that was read."""
        bounds = (await self._services.logbook.state(self.id, with_first=False)).bounds
        first = self.assignment.first_sequence if self.assignment is not None else Sequence(0)
        held_from = max(after + 1, first, self._mark + 1)
        if bounds.first > held_from:
            raise HoleFound(
                self.id, f"the stream lost inputs from {held_from} to {bounds.first - 1}"
            )

    # What comes of inputs

    def _deliver(self, applied: Applied) -> None:
        """After the commit of an input."""
        self._taken += 1
        if applied.reply is not None:
            self._waiters.replied(applied.reply)
        self._waiters.advance(applied.sequence)
        if applied.opened_epoch is not None:
            self._listener.epoch_on_log(self.id, applied.opened_epoch)
        tenure = self.tenure
        if applied.effects and (tenure is None or not tenure.serving):
            self._asked_s = asyncio.get_running_loop().time()
            self._services.promoting.hurry(self.id)
        if tenure is None:
            return  # a follower: what it asks for is pending in its database as in the owner's
        if applied.alarm:
            log.error("%s", applied.alarm, extra={"fields": {"alarm": "engine"}})
        if applied.status == "quarantined":
            log.warning(
                "input %s of guild %s is quarantined: %s",
                applied.sequence,
                self.id,
                applied.reason,
            )
        tenure.deliver(applied)

    @property
    def _is_asked_of(self) -> bool:
        """Whether something is to be done at Discord that somebody may be waiting for."""
        return asyncio.get_running_loop().time() - self._asked_s < ASKED_WITHIN_S

    def _resumed(self, sequence: Sequence) -> None:
        """A parked guild goes on: take again what was only searched."""
        if self._intake is not None:
            self._intake.rewind(sequence)
        self._out.spawn(self._goes_on(self.tenure))

    async def _goes_on(self, tenure: Tenure | None) -> None:
        await self._waiters.applied_up_to(self._barrier)
        await self._feed.caught_up()
        if tenure is not None:
            self._out.applier.call(lambda engine: left_to_do(engine, self.id), tenure.load)

    def _on_hole(self, hole: HoleFound) -> None:
        self._listener.not_built(self.id, hole.reason)

    # The end of a tenure

    async def _end(self, tenure: Tenure | None, epoch: Epoch) -> None:
        if tenure is not None:
            # Others wait for this; callers at the door, who are told to ask again, do not.
            await tenure.outputs_ended()
        self._listener.effects_ended(self.id, epoch)
        if tenure is not None:
            await tenure.requests.close()

    def _newer_epoch(self, epoch: Epoch) -> None:
        self._listener.epoch_on_log(self.id, epoch)

    def _new_feed(self) -> Feed:
        return Feed(self._out.applier, self._attempts, self.id, self._deliver, self._resumed)

    def _new_tenure(self, epoch: Epoch) -> Tenure:
        door, self._door = self._door or self._new_door(), None
        return Tenure(self._out, Permit(self.id, epoch), self, door, self._newer_epoch)

    def _new_door(self) -> Door:
        return Door(self._out.bus, self.id, lambda: self._services.promoting.hurry(self.id))

    def _is_owner(self, assignment: Assignment) -> bool:
        return (assignment.pod, assignment.incarnation) == (
            self._out.pod,
            self._services.incarnation,
        )
