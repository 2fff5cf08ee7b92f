"""Which replicas live and who holds which shard id: bucket ``shards``, as last read.

A hint: who takes a shard id finds out by compare-and-set. Read again when an entry appears or
goes, and every `READ_EVERY_S` in any case. An entry that nobody renews any more counts as gone,
also when the server does not let it expire (`components.bus.staleness`).
"""

import asyncio
import logging

import msgspec
from nats.errors import Error as NatsError
from nats.js.errors import Error as JetStreamError

from components.bus.buckets import Bucket
from components.bus.errors import BusError
from contracts.message import MalformedMessage, decode, encode
from contracts.records import ShardLease, ShardReplica

log = logging.getLogger(__name__)

READ_EVERY_S = 2.0
REPLICA = "replica."
IDENTIFY = "identify."


class View(msgspec.Struct, frozen=True, kw_only=True):
    """The bucket at one moment."""

    replicas: frozenset[str] = frozenset()
    leases: dict[int, ShardLease] = {}


class Board:
    """Keeps a `View` up to date while `run` runs."""

    def __init__(self, bucket: Bucket, *, ttl_s: int) -> None:
        self.bucket = bucket
        self._ttl_s = ttl_s
        self._ended: set[tuple[str, int]] = set()
        self.view: View | None = None
        self._keys: set[str] = set()
        self._stale = asyncio.Event()
        self._read = asyncio.Condition()

    async def run(self) -> None:
        """Read until cancelled."""
        async with asyncio.TaskGroup() as group:
            group.create_task(self._watch())
            while True:
                self._stale.clear()
                try:
                    async with asyncio.timeout(10):
                        await self._refresh()
                except (BusError, NatsError, JetStreamError, TimeoutError) as error:
                    log.info("shard leases cannot be read now: %s", error or type(error).__name__)
                try:
                    async with asyncio.timeout(READ_EVERY_S):
                        await self._stale.wait()
                except TimeoutError:
                    continue  # read anyway: a watch may have missed something

    async def next(self, timeout_s: float) -> None:
        """Wait for the next reading, or the timeout."""
        try:
            async with asyncio.timeout(timeout_s), self._read:
                await self._read.wait()
        except TimeoutError:
            return

    def refresh_soon(self) -> None:
        """Read again: this replica has changed something."""
        self._stale.set()

    async def _watch(self) -> None:
        async for entry in self.bucket.watch():
            if entry is not None and (entry.value is None or entry.key not in self._keys):
                self._stale.set()

    async def _refresh(self) -> None:
        replicas: set[str] = set()
        leases: dict[int, ShardLease] = {}
        entries = await self.bucket.snapshot()
        ended = {
            (key, entry.revision)
            for key, entry in entries.items()
            if not key.startswith(IDENTIFY) and self.bucket.ended(entry, self._ttl_s)
        }
        for key, revision in sorted(ended - self._ended):
            log.warning("key %s at %d is not renewed and does not expire; ignored", key, revision)
        self._ended = ended
        for key, entry in entries.items():
            if (key, entry.revision) in ended:
                continue
            try:
                if key.startswith(REPLICA):
                    replicas.add(decode(entry.value or b"", ShardReplica).replica)
                elif key.isdecimal():
                    leases[int(key)] = decode(entry.value or b"", ShardLease)
            except MalformedMessage as error:
                log.warning("entry %s in %s: %s", key, self.bucket.name, error)
        self._keys = set(entries)
        self.view = View(replicas=frozenset(replicas), leases=leases)
        async with self._read:
            self._read.notify_all()


def fair_share(shard_count: int, replicas: int) -> int:
    """Most shard ids that one of the replicas holds."""
    return -(-shard_count // max(1, replicas))


def encode_replica(replica: str, now_ms: int) -> bytes:
    """The value by which a replica shows that it lives, or takes its turn to IDENTIFY."""
    return encode(ShardReplica(replica=replica, since_ms=now_ms))
