"""Watches the buckets in which ownership is written, and remembers what it saw and when.

A bucket holds one value a key: what was there in between is known only to who watched. After a
break of the connection the watch starts over; a value that came and went in the break is missed.
"""

import asyncio
import time
from collections import Counter
from collections.abc import Collection

import msgspec

from components.bus.buckets import Bucket
from components.bus.connection import Bus
from contracts import storage
from contracts.ids import GuildId
from contracts.message import MalformedMessage, decode
from contracts.records import Assignment, Holding, PodLease, ProcessEnd, Silent

BUCKETS = (storage.GUILDS, storage.PODS, storage.HANDOFFS, storage.ENDS)


class Change(msgspec.Struct, frozen=True, kw_only=True):
    """A value as the watch showed it; ``value`` None: deleted or expired."""

    seen_ms: float
    bucket: str
    key: str
    revision: int
    value: bytes | None


class Fence(msgspec.Struct, frozen=True, kw_only=True):
    """A start of a pod that can never renew again."""

    seen_ms: float
    """When the watch showed it: after it was written."""
    ttl_s: float
    """How long the last renewal before it may have been good for."""


class WatchEnded(Exception):
    """A watch has ended, and with it what could be said about fences and silences."""


class Watched:
    """Everything the watches have shown."""

    def __init__(self) -> None:
        self.changes: list[Change] = []
        self.assignments: dict[GuildId, Assignment] = {}
        self.leases: dict[str, PodLease] = {}
        self._holdings: dict[tuple[GuildId, str], Holding] = {}
        self._known: set[tuple[str, int]] = set()
        self._moved = asyncio.Event()
        self._failure: Exception | None = None

    async def run(self, bus: Bus) -> None:
        """Watch until cancelled. What ends it is raised, and again by `require_alive`."""
        try:
            async with asyncio.TaskGroup() as group:
                for name in BUCKETS:
                    group.create_task(self._watch(Bucket(bus, name)))
        except Exception as error:
            self._failure = error
            raise

    def require_alive(self) -> None:
        """Raises `WatchEnded` once a watch has ended: what came later was not seen."""
        if self._failure is not None:
            raise WatchEnded(repr(self._failure)) from self._failure

    async def changed(self) -> None:
        """Wait for the next change of anything."""
        await self._moved.wait()

    def is_followed(self, guild: GuildId) -> bool:
        """Whether the follower that the guild's last assignment names holds the rows."""
        known = self.assignments.get(guild)
        if known is None or known.follower is None:
            return False
        held = self._holdings.get((guild, known.follower.pod))
        return held is not None and held.incarnation == known.follower.incarnation

    def is_open(self, guild: GuildId) -> bool:
        """Whether the owner that the guild's last assignment names has said that it serves it."""
        known = self.assignments.get(guild)
        if known is None:
            return False
        held = self._holdings.get((guild, known.pod))
        return held is not None and held.role == "own" and held.epoch == known.epoch

    def causes(self, guilds: Collection[GuildId]) -> dict[str, int]:
        """How many epochs of these guilds began for which cause, as far as was seen."""
        epochs: dict[tuple[str, int], str] = {}
        for change in self.changes:
            if change.bucket == storage.GUILDS and change.value is not None:
                assignment = decode(change.value, Assignment)
                if assignment.guild in guilds:
                    epochs[assignment.guild, assignment.epoch] = assignment.cause
        return dict(Counter(epochs.values()))

    def fences(self) -> dict[tuple[str, str], Fence]:
        """(pod, incarnation) to its fence. Who fences a pod that the bus has forgotten does not
        know its TTL: the longest that any lease of the pod named counts."""
        seen: dict[tuple[str, str], float] = {}
        ttl_s: dict[str, float] = {}
        for change in self.changes:
            if change.bucket == storage.PODS and change.value is not None:
                lease = decode(change.value, PodLease)
                ttl_s[lease.pod] = max(ttl_s.get(lease.pod, 0.0), lease.ttl_s)
                if lease.state == "fenced" and lease.incarnation is not None:
                    seen.setdefault((lease.pod, lease.incarnation), change.seen_ms)
        return {start: Fence(seen_ms=at, ttl_s=ttl_s[start[0]]) for start, at in seen.items()}

    def silences(self) -> dict[tuple[GuildId, int], float]:
        """(guild, epoch) to the moment at which its owner's silence was seen."""
        found: dict[tuple[GuildId, int], float] = {}
        for change in self.changes:
            is_silence = change.bucket == storage.HANDOFFS and change.key.startswith("silent.")
            if is_silence and change.value is not None:
                silent = decode(change.value, Silent)
                found.setdefault((silent.guild, silent.epoch), change.seen_ms)
        return found

    def ends(self) -> list[ProcessEnd]:
        """Ends of processes that their parents attested."""
        return [
            decode(change.value, ProcessEnd)
            for change in self.changes
            if change.bucket == storage.ENDS and change.value is not None
        ]

    async def _watch(self, bucket: Bucket) -> None:
        async for entry in bucket.watch():
            if entry is None or (bucket.name, entry.revision) in self._known:
                continue
            self._known.add((bucket.name, entry.revision))
            change = Change(
                seen_ms=time.time() * 1000,
                bucket=bucket.name,
                key=entry.key,
                revision=entry.revision,
                value=entry.value,
            )
            self.changes.append(change)
            self._note(change)
            self._moved.set()
            self._moved = asyncio.Event()

    def _note(self, change: Change) -> None:
        try:
            if change.bucket == storage.GUILDS and change.value is not None:
                self.assignments[GuildId(change.key)] = decode(change.value, Assignment)
            elif change.bucket == storage.HANDOFFS and change.key.startswith("holds."):
                if change.value is not None:
                    holding = decode(change.value, Holding)
                    self._holdings[holding.guild, holding.pod] = holding
            elif change.bucket == storage.PODS:
                if change.value is None:
                    self.leases.pop(change.key, None)
                else:
                    self.leases[change.key] = decode(change.value, PodLease)
        except MalformedMessage:
            return  # not ours to judge here: the change itself is kept
