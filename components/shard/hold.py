"""One shard id while this replica holds it: its lease, its session, its queue.

Promise: nothing is appended, and no connection made, without a valid lease. A lease that is lost
while NATS is away does not cost the session: the shard goes on reading, and appends again once it
has the lease back and nobody else has had the shard id meanwhile. If somebody has, it closes its
socket (4000) and forgets its queue, which the other gets by its RESUME.

`leave` hands over in order: socket closed (4000), queue stored, session saved, lease released.
`end` ends the session for good, when another number of shards takes its place: everything that
Discord had sent until then is stored, the session is marked as ended, its socket closed (1000).
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Mapping
from typing import Literal

from components.bus.buckets import Bucket
from components.bus.errors import BusError
from components.bus.leases import LeaseLost
from components.process.clock import steady_s, wall_ms
from components.shard.appender import Appender
from components.shard.catch_up import CatchUp, start_of_gap
from components.shard.connector import Connector
from components.shard.errors import NotWanted, TakenOver
from components.shard.gate import LeaseGate
from components.shard.generations import Generation
from components.shard.intake import Intake
from components.shard.overlap import Overlap
from components.shard.resume_data import ResumeData
from contracts.ids import SessionId
from contracts.message import MalformedMessage, decode, encode
from contracts.records import SessionResume, ShardLease

log = logging.getLogger(__name__)

REGAIN_EVERY_S = 0.2


class Hold:
    """A shard id whose lease was just acquired. Run `run` once."""

    def __init__(
        self,
        *,
        replica: str,
        shard: int,
        generation: Generation,
        still_wanted: Callable[[int], Awaitable[bool]],
        bucket: Bucket,
        gate: LeaseGate,
        resume_data: ResumeData,
        appender: Appender,
        intake: Intake,
        connector: Connector,
        catch_up: CatchUp,
        overlap: Overlap,
        since_ms: int,
    ) -> None:
        self.shard = shard
        self.replica = replica
        self.generation = generation.generation
        self._shard_count = generation.count
        self._still_wanted = still_wanted
        self._overlap = overlap
        self._bucket = bucket
        self._gate = gate
        self._resume_data = resume_data
        self._appender = appender
        self._intake = intake
        self._connector = connector
        self._catch_up = catch_up
        self._since_ms = since_ms
        self._leaving = asyncio.Event()
        self._ending = asyncio.Event()
        self._abandoned = asyncio.Event()
        self._grace_s = 0.0
        self._counted = (steady_s(), 0)

    def leave(self, grace_s: float) -> None:
        """Hand the shard id over; `run` returns when that is done."""
        self._grace_s = grace_s
        self._leaving.set()

    def end(self) -> None:
        """End the session for good; `run` returns when that is done. Not taken back."""
        self._ending.set()

    def abandon(self) -> None:
        """Nobody wants the shard id any more: end the session and store nothing."""
        self._abandoned.set()

    def old_ended(self, sessions: Mapping[int, int] | None) -> None:
        """Old shard ids whose sessions have ended, and the start of the gap each leaves (0:
        none); None: all have, some time ago."""
        if self._overlap.over:
            return
        if sessions is None:
            self._overlap.finish()
            self._intake.released(0)
            return
        gaps = self._overlap.ended(sessions)
        if gaps:
            log.info("shard %d goes on where old shards %s ended", self.shard, sorted(gaps))
            self._intake.released(min((gap for gap in gaps.values() if gap), default=0))

    def wake(self) -> None:
        """NATS is back."""
        self._appender.wake()
        self._resume_data.wake()

    async def run(self) -> None:
        """Hold the shard id until `leave`, or until another replica has it. Raises what ends the
        process, e.g. `CannotStart`, in a group."""
        try:
            await self._continue_session()
            async with asyncio.TaskGroup() as group:
                tasks = [
                    group.create_task(self._keep_lease()),
                    group.create_task(self._appender.run()),
                    group.create_task(self._resume_data.run()),
                    group.create_task(self._connector.run()),
                    group.create_task(self._catch_up.run()),
                ]
                await self._until_told(group)
                for task in tasks:
                    task.cancel()
        except* (TakenOver, NotWanted) as taken:
            log.warning("%s; its socket is closed", taken.exceptions[0])
        finally:
            await self._connector.stop()
            if self._abandoned.is_set() and self._gate():
                await self._resume_data.delete()
            await self._gate.lease.release()
            log.info("shard %d is given up", self.shard)

    async def _continue_session(self) -> None:
        while True:
            try:
                saved = await self._resume_data.load()
            except BusError as error:
                if not self._gate():
                    raise TakenOver(self.shard) from error
                log.warning("shard %d: its session cannot be read yet: %s", self.shard, error)
                await asyncio.sleep(REGAIN_EVERY_S)
                continue
            if saved is not None and saved.ended:
                raise NotWanted(self.shard)
            if saved is not None and saved.shard_count == self._shard_count:
                self._intake.adopt(saved)
            await self._require_wanted()
            return

    async def _require_wanted(self) -> None:
        """After the session was read: who has not heard yet that a number of shards is done with
        would find nothing of it, and begin it anew."""
        while True:
            try:
                if await self._still_wanted(self.generation):
                    return
            except (BusError, MalformedMessage) as error:
                if not self._gate():
                    raise TakenOver(self.shard) from error
                log.warning("shard %d: the plan of shards cannot be read: %s", self.shard, error)
                await asyncio.sleep(REGAIN_EVERY_S)
                continue
            raise NotWanted(self.shard)

    async def _until_told(self, group: asyncio.TaskGroup) -> None:
        ending = group.create_task(self._end_when_told())
        leaving = group.create_task(self._leaving.wait())
        abandoned = group.create_task(self._abandoned.wait())
        await asyncio.wait({ending, leaving, abandoned}, return_when=asyncio.FIRST_COMPLETED)
        for task in (ending, leaving, abandoned):
            task.cancel()
        if self._abandoned.is_set():
            await self._connector.stop(end_session=True)
        elif not ending.done():
            await self._hand_over()

    async def _end_when_told(self) -> None:
        await self._ending.wait()
        self._connector.only_resume()
        # What Discord sent while nobody listened comes before RESUMED; what comes after it, the
        # new sessions have too.
        waits = [
            asyncio.create_task(event.wait())
            for event in (self._intake.started, self._connector.session_over)
        ]
        try:
            await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in waits:
                task.cancel()
        self._intake.close()
        await self._appender.empty()
        await self._resume_data.clean()
        saved, gap_ms = self._resume_data.saved, self._catch_up.unread_since_ms
        if saved is not None and self._connector.session_over.is_set():
            lost_ms = start_of_gap(saved)
            gap_ms = min(gap_ms or lost_ms, lost_ms)
        self._resume_data.want(
            SessionResume(
                session=saved.session if saved is not None else SessionId(""),
                sequence=saved.sequence if saved is not None else 0,
                resume_url=saved.resume_url if saved is not None else "",
                shard=self.shard,
                shard_count=self._shard_count,
                saved_ms=wall_ms(),
                gap_since_ms=gap_ms,
                ended=True,
            )
        )
        await self._resume_data.clean()
        await self._connector.stop(end_session=True)
        log.info("shard %d of %d has ended its session", self.shard, self._shard_count)

    async def _hand_over(self) -> None:
        try:
            async with asyncio.timeout(self._grace_s):
                await self._connector.stop()
                if self._overlap.over:  # else the successor's RESUME repeats what is kept back
                    await self._appender.empty()
                await self._resume_data.clean()
        except TimeoutError:
            log.warning(
                "shard %d leaves before all is on the bus; its successor's RESUME repeats it",
                self.shard,
            )

    async def _keep_lease(self) -> None:
        while True:
            try:
                await self._gate.lease.keep(self.value, self._renewed)
            except LeaseLost as error:
                log.warning("shard %d: %s; appending stops", self.shard, error)
            self._gate.lost()
            await self._regain()
            self._gate.regained()
            self.wake()

    def _renewed(self) -> None:
        """Answered late, it revives a lease that had run out: whoever waits looks again."""
        self._gate.renewed()
        self.wake()

    async def _regain(self) -> None:
        while True:
            try:
                if await self._gate.lease.acquire(self.value()):
                    await self._resume_data.check()
                    log.info("shard %d: lease is back", self.shard)
                    return
                await self._require_own()
            except BusError as error:
                log.debug("shard %d: no lease yet: %s", self.shard, error)
            await asyncio.sleep(REGAIN_EVERY_S)

    async def _require_own(self) -> None:
        """Raise `TakenOver` unless the lease that is in the way is this hold's own, which then
        only has to expire."""
        entry = await self._bucket.get(self._gate.lease.key)
        if entry is None or entry.value is None:
            return
        try:
            holder = decode(entry.value, ShardLease)
        except MalformedMessage as error:
            raise TakenOver(self.shard) from error
        if (holder.holder, holder.since_ms) != (self.replica, self._since_ms):
            raise TakenOver(self.shard)

    def value(self) -> bytes:
        """The lease's value, with what operators want to see."""
        now_s, dispatches = steady_s(), self._intake.dispatches
        then_s, before = self._counted
        self._counted = (now_s, dispatches)
        elapsed_s = now_s - then_s
        return encode(
            ShardLease(
                shard=self.shard,
                holder=self.replica,
                shard_count=self._shard_count,
                generation=self.generation,
                guilds=len(self._intake.guilds),
                dispatches_per_s=round((dispatches - before) / elapsed_s, 1) if elapsed_s else 0.0,
                state=self._state(),
                overlap=self._how_far(),
                held_back=self._appender.held_back,
                refused=self._connector.refused,
                since_ms=self._since_ms,
            )
        )

    def _state(self) -> Literal["starting", "connected", "resuming", "disconnected"]:
        if self._connector.connected:
            return "connected"
        if self._connector.resuming:
            return "resuming"
        return "disconnected" if self._intake.dispatches else "starting"

    def _how_far(self) -> Literal["", "connecting", "ready", "storing", "over"]:
        if not self._overlap.from_count:
            return ""
        if not self._overlap.over:
            return "ready" if self._intake.complete else "connecting"
        return "over" if self._connector.connected and self._intake.caught_up else "storing"


def first_value(replica: str, shard: int, generation: Generation) -> tuple[bytes, int]:
    """The value that acquires the lease, and the time in it, by which the hold knows its own."""
    since_ms = wall_ms()
    lease = ShardLease(
        shard=shard,
        holder=replica,
        shard_count=generation.count,
        generation=generation.generation,
        since_ms=since_ms,
    )
    return encode(lease), since_ms
