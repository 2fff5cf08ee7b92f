"""Key-value buckets with compare-and-set: reads from the leader, writes that must win, watches.

A value that a watch shows is a hint; the result of a compare-and-set is the truth.
"""

import asyncio
import logging
from collections.abc import AsyncGenerator, AsyncIterator, Sequence
from contextlib import aclosing
from typing import cast

from nats.errors import Error as NatsError
from nats.errors import TimeoutError as NatsTimeout
from nats.js.errors import Error as JetStreamError
from nats.js.kv import KeyValue

from components.bus import stream
from components.bus.cancellation import never_lost
from components.bus.connection import Bus
from components.bus.entries import Entry
from components.bus.errors import BusError, NotConnected, Unanswered, WrongLastSequence
from components.bus.staleness import MARGIN_S, Staleness
from components.process.clock import SteadyClock, steady_s
from components.telemetry.traces import carry
from contracts import headers

__all__ = ("Bucket", "Entry")

log = logging.getLogger(__name__)

OPERATION = "KV-Operation"
MARKER = "Nats-Marker-Reason"
AT_ONCE = 32
"""Updates that are shown before the event loop has its turn."""
ASKED_S = 2.0
"""A cluster without a leader of the bucket answers nothing, and what was asked then is not
answered by the next leader either: it has to be asked again."""
WATCHED_S = 5.0
"""The server deletes a watch's consumer so long after its connection is gone; one that ends in
order is deleted at once."""


class Bucket:
    """One bucket of `contracts.storage`. Who waits for a key to end keeps the same `Bucket`, which
    remembers since when it has seen the key unchanged."""

    def __init__(self, bus: Bus, name: str, *, clock: SteadyClock = steady_s) -> None:
        self._bus = bus
        self._staleness = Staleness(clock)
        self.name = name
        self._stream = f"KV_{name}"

    async def get(self, key: str) -> Entry | None:
        """The latest entry, from the leader; None when the key was never written (or its
        deletion's marker has gone too)."""
        found = await stream.last_of_subject(self._bus, self._stream, self._subject(key))
        if found is None:
            return None
        gone = OPERATION in found.headers or MARKER in found.headers
        return Entry(
            key=key,
            value=None if gone else found.data,
            revision=found.sequence,
            created_ms=found.stored_ms,
            ttl_s=_seconds(found.headers.get(headers.TTL, "")),
            expired=MARKER in found.headers,
        )

    async def put(self, key: str, value: bytes, *, ttl_s: int | None = None) -> int:
        """Write unconditionally; returns the revision."""
        return await self._write(key, value, {}, ttl_s)

    async def replace(
        self, key: str, value: bytes, revision: int, *, ttl_s: int | None = None
    ) -> int:
        """Write if the key's last revision is still ``revision`` (0: never written).

        Returns the new revision; raises `WrongLastSequence` when somebody else wrote.
        """
        expected = {headers.EXPECTED_LAST_SUBJECT_SEQUENCE: str(revision)}
        return await self._write(key, value, expected, ttl_s)

    async def replace_all(self, changes: Sequence[tuple[str, bytes, int]]) -> list[int]:
        """Write all of these (key, value, revision), or none: each key's last revision must still
        be the one given. The bucket must allow it (`contracts.storage`).

        Returns the new revisions; raises `Refused` when none is written, `Unanswered` when all may
        be.
        """
        last = await self._bus.append_all(
            [
                (
                    self._subject(key),
                    value,
                    carry({headers.EXPECTED_LAST_SUBJECT_SEQUENCE: str(revision)}),
                )
                for key, value, revision in changes
            ]
        )
        return list(range(last - len(changes) + 1, last + 1))

    async def create(self, key: str, value: bytes, *, ttl_s: int | None = None) -> int | None:
        """Write if the key holds no value; None when it does (or somebody else was faster).

        With a time to live, a value that nobody has renewed for that long counts as none
        (`staleness`), so who asks again and again gets past a key that does not expire.
        """
        entry = await self.get(key)
        if entry is not None and entry.value is not None:
            if ttl_s is None or not self.ended(entry, ttl_s):
                return None
            log.warning("key %s of %s has ended but not expired; overwritten", key, self.name)
        try:
            return await self.replace(key, value, entry.revision if entry else 0, ttl_s=ttl_s)
        except WrongLastSequence:
            return None

    def ended(self, entry: Entry, ttl_s: float) -> bool:
        """Whether whoever wrote the entry has certainly stopped to act on it: it is gone, or was
        not renewed (`staleness`). ``ttl_s`` is what such keys live at most. An entry that a
        snapshot or a watch showed makes this a hint; a compare-and-set at its revision decides."""
        if entry.value is None:
            self._staleness.forget(entry.key)
            return True
        return self.remaining_s(entry.key, entry.revision, max(ttl_s, entry.ttl_s)) <= 0

    def remaining_s(self, key: str, revision: int, ttl_s: float) -> float:
        """In how long a key with a value has `ended`, if its revision stays the same."""
        unchanged_s = self._staleness.unchanged_s(key, self._bus.link, revision)
        return ttl_s + MARGIN_S - unchanged_s

    async def delete(self, key: str, revision: int | None = None) -> None:
        """Delete, only if the last revision is ``revision`` when one is given."""
        fields = {OPERATION: "DEL"}
        if revision is not None:
            fields[headers.EXPECTED_LAST_SUBJECT_SEQUENCE] = str(revision)
        await self._bus.append(self._subject(key), b"", carry(fields))

    async def snapshot(self, keys: str = ">", *, timeout_s: float = 10.0) -> dict[str, Entry]:
        """All present entries that match, as new as the bucket's leader knew them when asked.

        Raises `NotConnected` when the connection breaks before they are complete, `Unanswered`
        when nobody says within `ASKED_S` that it will send them, as in a cluster without a leader,
        or when nothing more of them comes for ``timeout_s``.
        """
        entries, _ = await self.snapshot_to(keys, timeout_s=timeout_s)
        return entries

    async def snapshot_to(
        self, keys: str = ">", *, timeout_s: float = 10.0
    ) -> tuple[dict[str, Entry], int]:
        """`snapshot`, and the revision up to which it is certainly complete: a key that is not
        among them had no value then. A leader that was deposed may answer with an old one."""
        entries: dict[str, Entry] = {}
        seen, last = 0, None
        try:
            async with (
                asyncio.timeout(timeout_s) as patience,
                aclosing(self._once(keys)) as shown,
            ):
                async for entry in shown:
                    # Hundreds of thousands of entries take longer than anybody waits for one.
                    patience.reschedule(asyncio.get_running_loop().time() + timeout_s)
                    if entry is None:
                        # A key that was just being overwritten was not sent with the others, and
                        # a replica may be behind: go on up to the last write the leader knows.
                        newest = await stream.last_of_subject(
                            self._bus, self._stream, self._subject(keys)
                        )
                        last = newest.sequence if newest is not None else 0
                    else:
                        seen = entry.revision
                        if entry.value is not None:
                            entries[entry.key] = entry
                        else:
                            entries.pop(entry.key, None)
                    if last is not None and seen >= last:
                        return entries, max(seen, last)
        except TimeoutError as error:
            raise Unanswered(f"bucket {self.name}", timeout_s) from error
        except (NatsError, JetStreamError) as error:
            raise NotConnected(f"bucket {self.name} cannot be read: {error}") from error
        raise NotConnected(f"the connection broke while bucket {self.name} was read")

    async def held(self, ttl_s: float, keys: str = ">") -> dict[str, Entry]:
        """A snapshot without the leases that have `ended`: a fence, which nobody renews, and what
        came back without its time to live."""
        entries = await self.snapshot(keys)
        return {key: entry for key, entry in entries.items() if not self.ended(entry, ttl_s)}

    async def watch(self, keys: str = ">") -> AsyncIterator[Entry | None]:
        """The present entries, then None, then every change, for ever.

        After a lost connection it starts over: the entries again, None again. A key that was
        deleted meanwhile is then simply not among them.
        """
        while True:
            link = self._bus.link
            try:
                async with aclosing(self._once(keys)) as shown:
                    async for entry in shown:
                        yield entry
                        if self._bus.link != link:
                            break
            except (NatsError, JetStreamError, BusError, TimeoutError) as error:
                log.info("watch of %s starts over: %s", self.name, error or type(error).__name__)
                await asyncio.sleep(0.2)

    async def _once(self, keys: str) -> AsyncGenerator[Entry | None, None]:
        link = self._bus.link
        try:
            with never_lost():
                kv = await self._bus.client.jetstream(timeout=ASKED_S).key_value(self.name)
                watcher = await kv.watch(keys, inactive_threshold=WATCHED_S)
        except NatsTimeout as error:
            raise Unanswered(f"bucket {self.name}", ASKED_S) from error
        complete = False
        at_once = 0
        try:
            while self._bus.link == link:
                at_once = (at_once + 1) % AT_ONCE
                try:
                    update = await _next(watcher, at_once=at_once > 0)
                except NatsTimeout:
                    continue  # nothing new; look whether the connection is still the same
                if update is None:
                    # The client says so too early when everything was sent before it looked:
                    # believe it of an empty bucket alone, and otherwise the last entry below.
                    if not complete and await _nothing_sent(watcher):
                        complete = True
                        yield None
                    continue
                gone = update.operation is not None
                yield Entry(
                    key=update.key,
                    value=None if gone else (update.value or b""),
                    revision=update.revision or 0,
                    created_ms=0,
                )
                if update.delta == 0 and not complete:
                    complete = True
                    yield None
        finally:
            await self._stop(watcher)

    async def _stop(self, watcher: KeyValue.KeyWatcher) -> None:
        """Unsubscribe, and delete the consumer without waiting for the answer: an end must not
        take long because the server just went away, and then it deletes the consumer itself."""
        subscription = watcher._sub
        if subscription is None or not self._bus.connected:
            return
        try:
            await watcher.stop()
            consumer = subscription._consumer
            await self._bus.say(f"$JS.API.CONSUMER.DELETE.{self._stream}.{consumer}", b"")
        except (NatsError, BusError) as error:  # lost in this very moment
            log.debug("watch of %s was not ended in order: %s", self.name, error)

    async def _write(
        self, key: str, value: bytes, fields: dict[str, str], ttl_s: int | None
    ) -> int:
        if ttl_s is not None:
            fields[headers.TTL] = f"{ttl_s}s"
        stored = await self._bus.append(self._subject(key), value, carry(fields))
        return stored.sequence

    def _subject(self, key: str) -> str:
        return f"$KV.{self.name}.{key}"


def _seconds(ttl: str) -> int:
    """A time to live as we write it; 0 for none and for what a person wrote in another way."""
    number = ttl.removesuffix("s")
    return int(number) if number.isdecimal() else 0


async def _next(watcher: KeyValue.KeyWatcher, *, at_once: bool) -> KeyValue.Entry | None:
    """The next update; ``at_once``: without giving way to the event loop if it is there already,
    which takes the client two turns of the loop. Raises `NatsTimeout` after a second."""
    if at_once and not watcher._updates.empty():
        return cast("KeyValue.Entry | None", watcher._updates.get_nowait())
    with never_lost():
        return cast("KeyValue.Entry | None", await watcher.updates(timeout=1.0))


async def _nothing_sent(watcher: KeyValue.KeyWatcher) -> bool:
    """Whether the server had no entry to send when the watch began."""
    assert watcher._sub is not None  # it has just told of an update
    with never_lost():
        info = await watcher._sub.consumer_info()
    delivered = info.delivered.consumer_seq if info.delivered is not None else 0
    return not info.num_pending and not delivered
