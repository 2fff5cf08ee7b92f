"""Which replicas live, who holds which shard id and how many there are: bucket ``shards``, as last
read; while old sessions are to end, also which of them have (bucket ``sessions``).

A hint: who takes a shard id finds out by compare-and-set, and reads the plan anew before it acts
(`read_plan`). Read again when an entry appears or goes, when the plan changes, and every
`READ_EVERY_S` in any case. An entry that nobody renews any more counts as gone,
also when the server does not let it expire (`components.bus.staleness`).
"""

import asyncio
import logging
from typing import Any

import msgspec
from nats.errors import Error as NatsError
from nats.js.errors import Error as JetStreamError

from components.bus.buckets import Bucket
from components.bus.errors import BusError
from contracts.message import MalformedMessage, decode, encode
from contracts.records import SessionResume, ShardLease, ShardPlan, ShardReplica
from contracts.storage import SHARD_PLAN, SHARD_REPLICA, shard_of_key

log = logging.getLogger(__name__)

READ_EVERY_S = 2.0
IDENTIFY = "identify."


class View(msgspec.Struct, frozen=True, kw_only=True):
    """The bucket at one moment."""

    replicas: frozenset[str] = frozenset()
    leases: dict[tuple[int, int], ShardLease] = {}
    """By generation and shard id."""
    plan: ShardPlan | None = None


class Board:
    """Keeps a `View` up to date while `run` runs."""

    def __init__(self, bucket: Bucket, sessions: Bucket, *, ttl_s: int) -> None:
        self.bucket = bucket
        self._sessions = sessions
        self._ttl_s = ttl_s
        self._ended: set[tuple[str, int]] = set()
        self._cutting = False
        self.view: View | None = None
        self.version = 0
        """Grows with every change that was seen."""
        self.old_ended: dict[int, int] = {}
        """Old shard ids whose sessions have ended, and the start of the gap each leaves."""
        self._keys: set[str] = set()
        self._stale = asyncio.Event()
        self._read = asyncio.Condition()

    async def run(self) -> None:
        """Read until cancelled."""
        async with asyncio.TaskGroup() as group:
            group.create_task(self._watch())
            sessions: asyncio.Task[None] | None = None
            while True:
                self._stale.clear()
                try:
                    async with asyncio.timeout(10):
                        await self._refresh()
                except (
                    BusError,
                    NatsError,
                    JetStreamError,
                    TimeoutError,
                    MalformedMessage,
                ) as error:
                    log.info("shard leases cannot be read now: %s", error or type(error).__name__)
                if self._cutting and sessions is None:
                    sessions = group.create_task(self._watch_old_sessions())
                elif not self._cutting and sessions is not None:
                    sessions.cancel()
                    sessions = None
                try:
                    async with asyncio.timeout(READ_EVERY_S):
                        await self._stale.wait()
                except TimeoutError:
                    continue  # read anyway: a watch may have missed something

    async def next(self, timeout_s: float, after: int | None = None) -> int:
        """Wait for the next reading (after that version), or the timeout; returns its version."""
        seen = self.version if after is None else after
        try:
            async with asyncio.timeout(timeout_s), self._read:
                await self._read.wait_for(lambda: self.version > seen)
        except TimeoutError:
            pass
        return self.version

    async def read_plan(self) -> ShardPlan | None:
        """The plan as the bucket's leader has it now. Raises `BusError`, `MalformedMessage`."""
        entry = await self.bucket.get(SHARD_PLAN)
        if entry is None or entry.value is None:
            return None
        return decode(entry.value, ShardPlan)

    def refresh_soon(self) -> None:
        """Read again: this replica has changed something."""
        self._stale.set()

    async def _watch(self) -> None:
        async for entry in self.bucket.watch():
            if entry is None:
                continue
            known = entry.value is not None and entry.key in self._keys
            if not known or entry.key == SHARD_PLAN:
                self._stale.set()

    async def _watch_old_sessions(self) -> None:
        async for entry in self._sessions.watch():
            if entry is not None and entry.value is not None:
                await self._old_session(entry.key, entry.value)

    async def _old_session(self, key: str, value: bytes) -> None:
        plan = self.view.plan if self.view is not None else None
        where = shard_of_key(key)
        if plan is None or where is None or where[0] != plan.from_generation:
            return
        try:
            session = decode(value, SessionResume)
        except MalformedMessage as error:
            log.warning("session %s cannot be read: %s", key, error)
            return
        if session.ended and where[1] not in self.old_ended:
            self.old_ended[where[1]] = session.gap_since_ms
            await self._notify()

    async def _refresh(self) -> None:
        replicas: set[str] = set()
        leases: dict[tuple[int, int], ShardLease] = {}
        plan = await self.read_plan()
        entries = await self.bucket.snapshot()
        ended = {
            (key, entry.revision)
            for key, entry in entries.items()
            if key != SHARD_PLAN
            and not key.startswith(IDENTIFY)
            and self.bucket.ended(entry, self._ttl_s)
        }
        for key, revision in sorted(ended - self._ended):
            log.warning("key %s at %d is not renewed and does not expire; ignored", key, revision)
        self._ended = ended
        for key, entry in entries.items():
            if (key, entry.revision) in ended:
                continue
            try:
                if key.startswith(SHARD_REPLICA):
                    replicas.add(decode(entry.value or b"", ShardReplica).replica)
                elif (where := shard_of_key(key)) is not None:
                    leases[where] = decode(entry.value or b"", ShardLease)
            except MalformedMessage as error:
                log.warning("entry %s in %s: %s", key, self.bucket.name, error)
        self._keys = set(entries)
        self.view = View(replicas=frozenset(replicas), leases=leases, plan=plan)
        self._cutting = plan is not None and plan.phase == "cut"
        if not self._cutting:
            self.old_ended.clear()
        await self._notify()

    async def _notify(self) -> None:
        self.version += 1
        async with self._read:
            self._read.notify_all()


def fair_share(shard_count: int, replicas: int) -> int:
    """Most shard ids that one of the replicas holds."""
    return -(-shard_count // max(1, replicas))


def encode_replica(replica: str, now_ms: int, **fields: Any) -> bytes:
    """The value by which a replica shows that it lives, or takes its turn to IDENTIFY. ``fields``:
    others of `ShardReplica`."""
    return encode(ShardReplica(replica=replica, since_ms=now_ms, **fields))
