"""One shard id while this replica holds it: its lease, its session, its queue.

Promise: nothing is appended, and no connection made, without a valid lease. A lease that is lost
while NATS is away does not cost the session: the shard goes on reading, and appends again once it
has the lease back and nobody else has had the shard id meanwhile. If somebody has, it closes its
socket (4000) and forgets its queue, which the other gets by its RESUME.

`leave` hands over in order: socket closed (4000), queue stored, session saved, lease released.
"""

import asyncio
import logging
from typing import Literal

from components.bus.buckets import Bucket
from components.bus.errors import BusError
from components.bus.leases import LeaseLost
from components.process.clock import steady_s, wall_ms
from components.shard.appender import Appender
from components.shard.catch_up import CatchUp
from components.shard.connector import Connector
from components.shard.errors import TakenOver
from components.shard.gate import LeaseGate
from components.shard.intake import Intake
from components.shard.resume_data import ResumeData
from contracts.message import MalformedMessage, decode, encode
from contracts.records import ShardLease

log = logging.getLogger(__name__)

REGAIN_EVERY_S = 0.2


class Hold:
    """A shard id whose lease was just acquired. Run `run` once."""

    def __init__(
        self,
        *,
        replica: str,
        shard: int,
        shard_count: int,
        bucket: Bucket,
        gate: LeaseGate,
        resume_data: ResumeData,
        appender: Appender,
        intake: Intake,
        connector: Connector,
        catch_up: CatchUp,
        since_ms: int,
    ) -> None:
        self.shard = shard
        self.replica = replica
        self._shard_count = shard_count
        self._bucket = bucket
        self._gate = gate
        self._resume_data = resume_data
        self._appender = appender
        self._intake = intake
        self._connector = connector
        self._catch_up = catch_up
        self._since_ms = since_ms
        self._leaving = asyncio.Event()
        self._grace_s = 0.0
        self._counted = (steady_s(), 0)

    def leave(self, grace_s: float) -> None:
        """Hand the shard id over; `run` returns when that is done."""
        self._grace_s = grace_s
        self._leaving.set()

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
                await self._leaving.wait()
                await self._hand_over()
                for task in tasks:
                    task.cancel()
        except* TakenOver as taken:
            log.warning("%s; its socket is closed", taken.exceptions[0])
        finally:
            await self._connector.stop()
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
            if saved is not None and saved.shard_count == self._shard_count:
                self._intake.adopt(saved)
            return

    async def _hand_over(self) -> None:
        try:
            async with asyncio.timeout(self._grace_s):
                await self._connector.stop()
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
                await self._gate.lease.keep(self.value, self._gate.renewed)
            except LeaseLost as error:
                log.warning("shard %d: %s; appending stops", self.shard, error)
            self._gate.lost()
            await self._regain()
            self._gate.regained()
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
        entry = await self._bucket.get(str(self.shard))
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
                guilds=len(self._intake.guilds),
                dispatches_per_s=round((dispatches - before) / elapsed_s, 1) if elapsed_s else 0.0,
                state=self._state(),
                since_ms=self._since_ms,
            )
        )

    def _state(self) -> Literal["starting", "connected", "resuming", "disconnected"]:
        if self._connector.connected:
            return "connected"
        if self._connector.resuming:
            return "resuming"
        return "disconnected" if self._intake.dispatches else "starting"


def first_value(replica: str, shard: int, shard_count: int) -> tuple[bytes, int]:
    """The value that acquires the lease, and the time in it, by which the hold knows its own."""
    since_ms = wall_ms()
    lease = ShardLease(shard=shard, holder=replica, shard_count=shard_count, since_ms=since_ms)
    return encode(lease), since_ms
