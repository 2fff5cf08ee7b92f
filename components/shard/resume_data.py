"""Keeps what a replacement needs to RESUME: bucket ``sessions``, written by compare-and-set.

Promise: what is saved is on the bus with all before it; and nothing is confirmed to Discord that
is not saved, or a replacement would ask for what Discord has dropped (its RESUME would be
refused). Saves at most every `SAVE_EVERY_S`, the latest state each time.

Fails: an entry that somebody else wrote means that another replica has had this shard id:
`TakenOver`, and the caller gives the shard id up.
"""

import asyncio
import logging
from collections import deque
from collections.abc import Callable

from components.bus.buckets import Bucket
from components.bus.errors import BusError, WrongLastSequence
from components.shard.errors import TakenOver
from contracts.message import MalformedMessage, decode, encode
from contracts.records import SessionResume
from contracts.storage import shard_key

log = logging.getLogger(__name__)

SAVE_EVERY_S = 0.25


class ResumeData:
    """The entry of one shard id, while this replica holds it."""

    def __init__(
        self, bucket: Bucket, shard: int, *, may_save: Callable[[], bool], generation: int = 0
    ) -> None:
        self._bucket = bucket
        self._shard = shard
        self._key = shard_key(generation, shard)
        self._may_save = may_save
        self._revision = 0
        self._sent: deque[bytes] = deque(maxlen=64)
        self._wanted: SessionResume | None = None
        self.saved: SessionResume | None = None
        self._changed = asyncio.Event()
        self._clean = asyncio.Event()
        self._clean.set()

    async def load(self) -> SessionResume | None:
        """The session that the shard id had before, if it can be read."""
        entry = await self._bucket.get(self._key)
        self._revision = entry.revision if entry else 0
        if entry is None or entry.value is None:
            return None
        try:
            self.saved = decode(entry.value, SessionResume)
        except MalformedMessage as error:
            log.warning("shard %d: its session cannot be read: %s", self._shard, error)
        return self.saved

    def want(self, data: SessionResume) -> None:
        """Have the data saved soon; replaces what waits."""
        self._wanted = data
        self._clean.clear()
        self._changed.set()

    async def clean(self) -> None:
        """Wait until everything wanted is saved."""
        await self._clean.wait()

    def wake(self) -> None:
        """Try at once: the lease is valid again, or NATS is back."""
        self._changed.set()

    async def check(self) -> None:
        """Raise `TakenOver` if somebody else wrote the entry since this replica last did."""
        entry = await self._bucket.get(self._key)
        revision = entry.revision if entry else 0
        if revision != self._revision and not (entry and entry.value in self._sent):
            raise TakenOver(self._shard)
        self._revision = revision

    async def delete(self) -> None:
        """Nobody resumes the session any more. Harmless when somebody else wrote the entry."""
        try:
            if self._revision:
                await self._bucket.delete(self._key, self._revision)
        except BusError as error:
            log.info("shard %d: its session is not deleted: %s", self._shard, error)

    async def run(self) -> None:
        """Save until cancelled."""
        while True:
            await self._changed.wait()
            self._changed.clear()
            wanted = self._wanted
            if wanted is None or not self._may_save():
                continue
            try:
                await self._save(wanted)
            except BusError as error:
                log.warning("shard %d: its session was not saved: %s", self._shard, error)
                self._changed.set()
            else:
                self.saved = wanted
                if self._wanted is wanted:
                    self._wanted = None
                    self._clean.set()
            await asyncio.sleep(SAVE_EVERY_S)

    async def _save(self, wanted: SessionResume) -> None:
        value = encode(wanted)
        self._sent.append(value)  # an unanswered write may have landed
        try:
            self._revision = await self._bucket.replace(self._key, value, self._revision)
        except WrongLastSequence:
            await self.check()
            self._revision = await self._bucket.replace(self._key, value, self._revision)
        self._sent.clear()
