"""Carries the division of Discord's global rate out while this replica leads.

Promise: a division is written by compare-and-set on the one it was made from, and only with a
valid leader's lease; a refused or unanswered write is read back. Follows the buckets ``pods``,
``ends`` and ``shares`` and the replicas in ``shards`` by itself, since every renewal counts here.
Fails: never; what the bus refuses is tried again, and meanwhile the last division holds.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Iterable
from typing import Final, TypeVar

from components.bus.buckets import Bucket, Entry
from components.bus.connection import Bus
from components.bus.errors import BusError
from components.config.leadership import Leadership
from components.config.settings import ConfigSettings
from components.config.shares import ShareBook
from components.process.clock import SteadyClock, steady_s
from components.sharing.division import REST
from contracts import storage
from contracts.ids import PodId
from contracts.message import MalformedMessage, Message, decode, encode
from contracts.records import PodLease, ProcessEnd, RestShares, ShardReplica

log = logging.getLogger(__name__)

M = TypeVar("M", bound=Message)

AGAIN_S: Final = 0.2
PACE_S: Final = 0.03
"""Least time between two divisions: several pods' news become one."""
LOOK_EVERY_S: Final = 1.0
"""Time alone changes the division when a lease has ended."""


class Divider:
    """The leader's work on the shares."""

    def __init__(
        self,
        bus: Bus,
        leadership: Leadership,
        settings: ConfigSettings,
        clock: SteadyClock = steady_s,
    ) -> None:
        self._bus = bus
        self._leadership = leadership
        self._settings = settings
        self._clock = clock
        self._pods = Bucket(bus, storage.PODS)
        self._ends = Bucket(bus, storage.ENDS)
        self._shares = Bucket(bus, storage.SHARES)
        self._shards = Bucket(bus, storage.SHARDS)
        self._book = self._new_book()
        self._known: set[PodId] = set()
        self._known_shards: set[str] = set()
        self._unread: set[str] = set()
        self._news = asyncio.Event()

    async def lead(self) -> None:
        """Divide until cancelled."""
        self._book = self._new_book()
        self._unread = {storage.PODS, storage.ENDS, storage.SHARES, storage.SHARDS}
        async with asyncio.TaskGroup() as group:
            group.create_task(self._follow(self._pods, ">", self._pod, self._read_pods))
            group.create_task(self._follow(self._ends, ">", self._end))
            group.create_task(self._follow(self._shares, REST, self._record))
            shards = storage.SHARD_REPLICA
            group.create_task(
                self._follow(self._shards, f"{shards}>", self._shard, self._read_shards)
            )
            while True:
                await self._until_news()
                if self._unread:
                    continue
                try:
                    await self._confirm()
                    if await self._write():
                        await asyncio.sleep(PACE_S)
                except BusError as error:
                    log.info("the rate limit is divided later: %s", error)
                    await asyncio.sleep(AGAIN_S)
                    self._news.set()

    def _new_book(self) -> ShareBook:
        return ShareBook(
            limit=self._settings.rest_per_s,
            ttl_s=self._settings.pod_ttl_s,
            shard_ttl_s=self._settings.shard_ttl_s,
        )

    async def _until_news(self) -> None:
        try:
            async with asyncio.timeout(LOOK_EVERY_S):
                await self._news.wait()
        except TimeoutError:
            log.debug("looking for leases that have ended")
        self._news.clear()

    async def _follow(
        self,
        bucket: Bucket,
        keys: str,
        change: Callable[[Entry], None],
        read: Callable[[], Awaitable[None]] | None = None,
    ) -> None:
        async for entry in bucket.watch(keys):
            if entry is not None:
                change(entry)
            else:
                if read is not None:
                    await read()
                self._unread.discard(bucket.name)
            self._news.set()

    def _pod(self, entry: Entry) -> None:
        pod = PodId(entry.key)
        self._known.add(pod)
        lease = _read(entry, PodLease)
        if lease is not None or entry.value is None:
            self._book.pod_seen(pod, lease, entry.revision, self._clock())

    def _shard(self, entry: Entry) -> None:
        self._known_shards.add(entry.key)
        replica = _read(entry, ShardReplica)
        if replica is not None or entry.value is None:
            self._book.shard_seen(entry.key, replica, entry.revision, self._clock())

    def _end(self, entry: Entry) -> None:
        if (ended := _read(entry, ProcessEnd)) is not None:
            self._book.end_seen(ended)

    def _record(self, entry: Entry) -> None:
        self._book.record_seen(_read(entry, RestShares), entry.revision, self._clock())

    async def _read_pods(self) -> None:
        for pod, revision in (await self._gone(self._pods, self._known)).items():
            self._book.pod_seen(PodId(pod), None, revision, self._clock())

    async def _read_shards(self) -> None:
        for key, revision in (await self._gone(self._shards, self._known_shards)).items():
            self._book.shard_seen(key, None, revision, self._clock())

    async def _gone(self, bucket: Bucket, known: Iterable[str]) -> dict[str, int]:
        """Keys that hold nothing any more, and at which revision: a watch that starts over does
        not tell of those that were deleted meanwhile."""
        while True:
            try:
                entries = {key: await bucket.get(key) for key in list(known)}
            except BusError as error:
                log.info("leases in %s are read later: %s", bucket.name, error)
                await asyncio.sleep(AGAIN_S)
            else:
                return {
                    key: entry.revision if entry is not None else 0
                    for key, entry in entries.items()
                    if entry is None or entry.value is None
                }

    async def _confirm(self) -> None:
        for who, revision in self._book.to_confirm(self._clock()).items():
            incarnation = self._book.named(who)
            shard = who.startswith(storage.SHARD_REPLICA)
            entry = await (self._shards if shard else self._pods).get(who)
            # Also the mark of an expiry expires, long after it.
            still = entry is None or (entry.value is None and entry.revision == revision)
            if still and incarnation is not None:
                self._book.confirm(who, incarnation)

    async def _write(self) -> bool:
        made = self._book.next(self._clock())
        if made is None or not self._leadership.leading:
            return False
        record, revision = made
        try:
            revision = await self._shares.replace(REST, encode(record), revision)
        except BusError:
            entry = await self._shares.get(REST)
            if entry is not None:
                self._record(entry)
            self._news.set()
            return True
        log.debug("revision %d divides %s", revision, record.shares)
        self._book.record_seen(record, revision, self._clock())
        return True


def _read(entry: Entry, expected: type[M]) -> M | None:
    if entry.value is None:
        return None
    try:
        return decode(entry.value, expected)
    except MalformedMessage as error:
        log.warning("key %s at revision %d: %s", entry.key, entry.revision, error)
        return None
