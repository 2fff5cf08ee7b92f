"""The poison protocol: after an unclean end, inputs are noted in bucket ``attempts`` before they
are applied one by one, so that an input which kills the pod is known by its second death. All pods
share a guild's note and count it up by compare-and-set: whoever tries, an input kills no more than
`DEATHS` processes that noted it.

Only what killed is blamed. A process that dies leaves the notes of all inputs that it was trying,
and one of them was it: an input that is suspected by such a note is tried alone on its pod
(`Tries`), and its note is taken back when it is applied. A note of another pod, which may be
alive, counts at last when it has stayed for `STAYS_S`. Raises `BusError`.
"""

import asyncio
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Final

from components.bus.buckets import Bucket
from components.bus.connection import Bus
from components.bus.errors import BusError, WrongLastSequence
from components.gateway.engine.model import LoggedInput
from contracts import storage
from contracts.ids import GuildId, PodId, Sequence
from contracts.message import MalformedMessage, decode, encode
from contracts.records import ReplayAttempt

log = logging.getLogger(__name__)

DEATHS: Final = 2
"""One can be a coincidence (somebody killed the pod just then)."""
STAYS_S: Final = 5.0
"""Longer than an input and its commit take; a commit beside a backup may stall for about as long,
measured with a writer that does nothing else (facts.md)."""


class Tries:
    """The inputs that a pod is trying: many at a time, or a suspected one alone."""

    def __init__(self) -> None:
        self._changed = asyncio.Condition()
        self._under_way = 0
        self._suspects = 0
        """Under way or waiting. Nothing else begins meanwhile, so that they get their turn."""

    @asynccontextmanager
    async def turn(self, *, alone: bool) -> AsyncIterator[None]:
        """Wait for the turn and have it until the end of the block."""
        if alone:
            self._suspects += 1
        try:
            async with self._changed:
                await self._changed.wait_for(
                    lambda: not self._under_way if alone else not self._suspects
                )
                self._under_way += 1
            try:
                yield
            finally:
                self._under_way -= 1
        finally:
            if alone:
                self._suspects -= 1
            async with self._changed:
                self._changed.notify_all()


class Attempts:
    """The notes on one guild's replay. ``tries``: those of all guilds of the pod."""

    def __init__(self, bus: Bus, pod: PodId, guild: GuildId, tries: Tries) -> None:
        self._bucket = Bucket(bus, storage.ATTEMPTS)
        self._pod = pod
        self._guild = guild
        self._tries = tries
        self._loaded = False
        self._known: ReplayAttempt | None = None
        self._revision = 0
        """Of the key, as far as this pod knows; 0: there never was one."""
        self._written = -1
        """The revision that this process wrote last: what it tries, it has not died of."""
        self._sent: ReplayAttempt | None = None
        """The note that this process sent last; it may have landed unheard."""

    async def load(self) -> None:
        """Read what was noted."""
        entry = await self._bucket.get(self._guild)
        self._loaded = True
        self._known = None
        self._revision = entry.revision if entry is not None else 0
        if entry is None or entry.value is None:
            return
        try:
            self._known = decode(entry.value, ReplayAttempt)
        except MalformedMessage:
            log.warning("the note on guild %s is not ours; it is overwritten", self._guild)
            return
        if self._known == self._sent:
            self._written = self._revision

    @asynccontextmanager
    async def trying(self, item: LoggedInput) -> AsyncIterator[bool]:
        """Note the attempt; the input is applied inside the block. False: it has killed `DEATHS`
        times, and the caller parks the guild."""
        if item.message_id.startswith("own:"):
            # Every start appends one of these for every guild, and applying it sets a number.
            yield True
            return
        if not self._loaded:
            await self.load()
        while True:
            if self._known is not None and item.sequence < self._known.sequence:
                # Whoever wrote the note has applied this, and the note must not be lost.
                yield True
                return
            deaths = self._deaths(item.sequence)
            if deaths >= DEATHS:
                if await self._stays():
                    break
                continue
            async with self._tries.turn(alone=deaths > 0):
                if not await self._note(item.sequence, deaths + 1):
                    continue
                yield True
                if deaths:
                    await self._absolve(item.sequence)
                return
        yield False

    async def clear(self) -> None:
        """The guild is caught up. A note that another pod has written since stays."""
        if self._known is None:
            return
        try:
            await self._bucket.delete(self._guild, self._revision)
        except WrongLastSequence:
            log.debug("another pod is replaying guild %s, too", self._guild)
        self._known, self._loaded = None, False

    async def _note(self, sequence: Sequence, attempts: int) -> bool:
        """False: another pod has written meanwhile, or we did unheard; what was written is read."""
        note = ReplayAttempt(guild=self._guild, sequence=sequence, attempts=attempts, pod=self._pod)
        self._sent = note
        try:
            self._revision = await self._bucket.replace(self._guild, encode(note), self._revision)
        except WrongLastSequence:
            await self.load()
            return False
        self._known, self._written = note, self._revision
        return True

    async def _absolve(self, sequence: Sequence) -> None:
        """The input is applied: another pod may try it, too."""
        try:
            await self._note(sequence, 0)
        except BusError as error:
            log.info("input %s of guild %s stays suspected: %s", sequence, self._guild, error)

    async def _stays(self) -> bool:
        """Whether whoever wrote the note has died, or else is given time to write another."""
        known, revision = self._known, self._revision
        if known is None or known.pod == self._pod:
            return True  # of an earlier process of this pod
        await asyncio.sleep(STAYS_S)
        await self.load()
        return self._revision == revision

    def _deaths(self, sequence: Sequence) -> int:
        known = self._known
        if known is None or known.sequence != sequence:
            return 0
        return max(0, known.attempts - (1 if self._revision == self._written else 0))
