"""What this pod says in bucket ``handoffs``: released, silent, holds.

`released.<guild>` and `silent.<guild>` are written over an older epoch's alone and are repeated
until they are there, or a later epoch's is. `holds.<guild>.<pod>` is this pod's own key; many of
them are written a few at a time, and those that nobody waits for a moment later. Everything ends
with the pod.

Who is to own a guild next is told `released` directly as well: what is true of an epoch stays true,
so the word counts the same whichever way it comes, and over the bucket it takes a write to a disk
longer.
"""

import asyncio
import logging
from collections import deque
from typing import Final

from components.bus.buckets import Bucket
from components.bus.connection import Bus
from components.bus.errors import BusError, WrongLastSequence
from components.telemetry.traces import carry
from contracts import storage, subjects
from contracts.ids import Epoch, GuildId, Incarnation, PodId, Sequence
from contracts.message import MalformedMessage, decode, encode
from contracts.records import Holding, Released, Silent

log = logging.getLogger(__name__)

FIRST_PAUSE_S: Final = 0.05
LONGEST_PAUSE_S: Final = 2.0
AT_ONCE: Final = 32
"""Reports under way at once."""
LATER_S: Final = 1.0
"""A takeover of hundreds of guilds has more urgent things to send than that it happened."""


class Handoffs:
    """The pod's words to others about its guilds."""

    def __init__(self, bus: Bus, pod: PodId, incarnation: Incarnation) -> None:
        self._bus = bus
        self._bucket = Bucket(bus, storage.HANDOFFS)
        self._pod = pod
        self._incarnation = incarnation
        self._revisions: dict[str, int] = {}
        self._holdings: dict[GuildId, Holding] = {}
        self._held: set[GuildId] = set()
        """Guilds that were reported and not taken back."""
        self._order: deque[GuildId] = deque()
        self._waiting = asyncio.Event()
        self._writing: dict[GuildId, asyncio.Task[None]] = {}

    def seen(self, key: str, revision: int) -> None:
        """A watch has shown the key at this revision: it is written over at the first try."""
        self._revisions[key] = max(revision, self._revisions.get(key, 0))

    async def release(
        self, guild: GuildId, epoch: Epoch, sequence: Sequence, *, to: PodId | None = None
    ) -> None:
        """Write that the epoch is released; returns once that is known to everybody who reads.
        ``to``: the next owner."""
        released = Released(
            guild=guild,
            epoch=epoch,
            sequence=sequence,
            pod=self._pod,
            incarnation=self._incarnation,
        )
        if to is not None:
            try:
                await self._bus.say(subjects.pod_released(to), encode(released), carry())
            except BusError as error:
                log.info("%s is not told of guild %s directly: %s", to, guild, error)
        await self._write_over(f"released.{guild}", released)

    async def silence(self, guild: GuildId, epoch: Epoch) -> None:
        """Write that the epoch, and every one before it, is silent."""
        silent = Silent(guild=guild, epoch=epoch, pod=self._pod, incarnation=self._incarnation)
        await self._write_over(f"silent.{guild}", silent)

    def hold(self, holding: Holding, *, soon: bool) -> None:
        """Report that the rows are here; a later report of the guild takes its place. ``soon``:
        somebody waits for it."""
        self._holdings[holding.guild] = holding
        self._held.add(holding.guild)
        if soon:
            self._enqueue(holding.guild)
        else:
            asyncio.get_running_loop().call_later(LATER_S, self._enqueue, holding.guild)

    async def forget(self, guild: GuildId) -> None:
        """Take the report back, also one that is under way, but not one that is made meanwhile:
        that is of rows that the pod was asked for again. What is deleted is what was read: a
        deletion that reaches the server late, over a connection that is lost, deletes no newer
        report. Raises `BusError`."""
        self._holdings.pop(guild, None)
        self._held.discard(guild)
        if (writing := self._writing.get(guild)) is not None:
            await asyncio.wait([writing])
        key = self._holds_key(guild)
        report = await self._bucket.get(key)
        if report is not None and report.value is not None and guild not in self._held:
            await self._bucket.delete(key, report.revision)

    async def run(self) -> None:
        """Write reports until cancelled."""
        while True:
            self._waiting.clear()
            while self._order:
                some = [self._order.popleft() for _ in range(min(AT_ONCE, len(self._order)))]
                for guild in some:
                    self._writing[guild] = asyncio.create_task(self._report(guild))
                await asyncio.gather(*(self._writing[guild] for guild in some))
            await self._waiting.wait()

    def _enqueue(self, guild: GuildId) -> None:
        if guild not in self._order:
            self._order.append(guild)
        self._waiting.set()

    async def _report(self, guild: GuildId) -> None:
        pause_s = FIRST_PAUSE_S
        try:
            while (holding := self._holdings.get(guild)) is not None:
                try:
                    await self._bucket.put(self._holds_key(guild), encode(holding))
                except BusError as error:
                    log.info("report of guild %s is written again: %s", guild, error)
                    await asyncio.sleep(pause_s)
                    pause_s = min(LONGEST_PAUSE_S, pause_s * 2)
                else:
                    if self._holdings.get(guild) is holding:
                        del self._holdings[guild]
        finally:
            del self._writing[guild]

    async def _write_over(self, key: str, word: Released | Silent) -> None:
        revision = self._revisions.get(key, 0)
        pause_s = FIRST_PAUSE_S
        while True:
            try:
                self._revisions[key] = await self._bucket.replace(key, encode(word), revision)
            except WrongLastSequence:
                try:
                    entry = await self._bucket.get(key)
                except BusError as error:
                    log.info("%s is read again: %s", key, error)
                else:
                    if entry is not None and _epoch(entry.value, type(word)) >= word.epoch:
                        return
                    tried, revision = revision, entry.revision if entry is not None else 0
                    if revision > tried:
                        continue
                    # A copy of the bucket that is behind, or a key that is gone: look again later.
            except BusError as error:
                log.info("%s at epoch %s is written again: %s", key, word.epoch, error)
            else:
                return
            await asyncio.sleep(pause_s)
            pause_s = min(LONGEST_PAUSE_S, pause_s * 2)

    def _holds_key(self, guild: GuildId) -> str:
        return f"holds.{guild}.{self._pod}"


def _epoch(value: bytes | None, kind: type[Released] | type[Silent]) -> Epoch:
    if value is None:
        return Epoch(0)
    try:
        return decode(value, kind).epoch
    except MalformedMessage:
        return Epoch(0)  # whatever it is, it says nothing
