"""Publishes a guild's facts to EVENTS, in order, each exactly once.

Every publish names the last sequence of the guild's facts, so an owner that was replaced cannot
add to them. A refusal (10071) is decided by the last fact as the stream's leader has it: equal or
later than ours, ours are there already; none, all have expired; of a newer epoch, `on_newer` is
told and nothing more is published.

How far facts are published is kept in the guild's state through the log (`FactsPublished`), so
that it survives the expiry of the facts; the mark is moved after `MARK_AFTER` facts or a pause.
"""

import asyncio
import logging
from collections import deque
from collections.abc import Callable, Coroutine
from typing import Any, Final

from components.bus import stream
from components.bus.connection import Bus
from components.bus.errors import BusError, WrongLastSequence
from components.gateway.engine.model import PendingFact
from components.gateway.shell.errors import GateClosed
from components.gateway.shell.gate import Gate, Permit
from components.telemetry.traces import carry, span
from contracts import headers, storage, subjects
from contracts.facts import FACT_OF_TYPE, fact_id, headers_of
from contracts.ids import Epoch, Sequence
from contracts.inputs import FactsPublished, facts_published_id
from contracts.message import encode

log = logging.getLogger(__name__)

MARK_AFTER: Final = 100
MARK_PAUSE_S: Final = 1.0
"""Facts come in bursts; a mark each would double the log."""
AGAIN_S: Final = 0.25

Place = tuple[Sequence, int]


class FactPublisher:
    """The facts of one guild at one epoch."""

    def __init__(
        self,
        bus: Bus,
        gate: Gate,
        permit: Permit,
        *,
        spawn: Callable[[Coroutine[Any, Any, None]], asyncio.Task[None]],
        on_newer: Callable[[Epoch], None],
    ) -> None:
        self._bus = bus
        self._gate = gate
        self._permit = permit
        self._spawn = spawn
        self._on_newer = on_newer
        self._waiting: deque[PendingFact] = deque()
        self._worker: asyncio.Task[None] | None = None
        self._added = asyncio.Event()
        self._closed = asyncio.Event()
        self._last: Sequence | None = None
        """Sequence in EVENTS of the guild's last fact; None: not known."""

    def add(self, facts: list[PendingFact]) -> None:
        """Publish these facts, which follow the earlier ones."""
        if not facts or self._closed.is_set():
            return
        self._waiting.extend(facts)
        self._added.set()
        if self._worker is None or self._worker.done():
            self._worker = self._spawn(self._publish())

    def stop(self) -> None:
        """Begin nothing more."""
        self._closed.set()
        self._added.set()

    async def close(self) -> None:
        """Publish nothing more."""
        self.stop()
        if self._worker is not None and not self._worker.done():
            await asyncio.wait([self._worker])

    async def _publish(self) -> None:
        unmarked = 0
        published: Place | None = None
        while not self._closed.is_set():
            self._added.clear()
            while self._waiting and not self._closed.is_set():
                if not await self._publish_first():
                    continue
                fact = self._waiting.popleft()
                published = (fact.sequence, fact.index)
                unmarked += 1
                if unmarked >= MARK_AFTER and await self._mark(published):
                    unmarked = 0
            if published is None:
                return
            # Wait for more before the mark, or else for the mark to be on the log.
            if await self._more_within(MARK_PAUSE_S):
                continue
            if unmarked == 0 or await self._mark(published):
                unmarked = 0
                if not self._waiting:  # else they came while the mark was written
                    return

    async def _publish_first(self) -> bool:
        """Whether the first waiting fact is in EVENTS now."""
        fact = self._waiting[0]
        try:
            with span("publish fact", parent=fact.traceparent, fact=fact.type):
                if self._last is None and await self._is_there(fact):
                    return True
                self._gate.check(self._permit)
                stored = await self._bus.append(
                    subjects.event(fact.guild, fact.type), fact.data, carry(self._headers(fact))
                )
        except GateClosed:
            await self._later()
        except WrongLastSequence:
            self._last = None  # ask the leader what the last one is
        except BusError as error:
            # It may have landed; the leader's last fact tells.
            log.info("fact of guild %s is published later: %s", fact.guild, error)
            self._last = None
            await self._later()
        else:
            self._last = Sequence(stored.sequence)
            return True
        return False

    async def _is_there(self, fact: PendingFact) -> bool:
        """Read the last fact from the leader; whether ``fact`` was published with or before it.

        Stops publishing when that was by a newer owner.
        """
        last = await stream.last_of_subject(self._bus, storage.EVENTS, subjects.events(fact.guild))
        if last is None:
            self._last = Sequence(0)
            return False
        if (epoch := Epoch(int(last.headers.get(headers.EPOCH, "0")))) > self._permit.epoch:
            self._closed.set()
            self._on_newer(epoch)
            raise GateClosed(fact.guild, f"facts of epoch {epoch} are published")
        place = (
            int(last.headers.get(headers.INPUT_SEQUENCE, "0")),
            int(last.headers.get(headers.INPUT_INDEX, "0")),
        )
        if place > (fact.sequence, fact.index):
            return True  # the last one stays unknown until one of ours follows it
        self._last = last.sequence
        return place == (fact.sequence, fact.index)

    def _headers(self, fact: PendingFact) -> dict[str, str]:
        fields = headers_of(
            FACT_OF_TYPE[fact.type],
            guild=fact.guild,
            sequence=fact.sequence,
            index=fact.index,
            epoch=self._permit.epoch,
            time_ms=fact.time_ms,
            subject=fact.subject,
        )
        fields[headers.MSG_ID] = fact_id(fact.guild, fact.sequence, fact.index)
        fields[headers.EXPECTED_LAST_SUBJECT_SEQUENCE] = str(self._last or 0)
        fields[headers.EXPECTED_LAST_SUBJECT_SEQUENCE_SUBJECT] = subjects.events(fact.guild)
        return fields

    async def _mark(self, place: Place) -> bool:
        """Whether the mark is on the log now."""
        mark = FactsPublished(sequence=place[0], index=place[1])
        name = facts_published_id(self._permit.guild, *place)
        try:
            with span("mark facts", parent=""):
                self._gate.check(self._permit)
                await self._bus.append(
                    subjects.inputs(self._permit.guild), encode(mark), carry({headers.MSG_ID: name})
                )
        except (BusError, GateClosed) as error:
            log.info("mark of facts is moved later: %s", error)
            await self._later()
            return False
        return True

    async def _more_within(self, seconds: float) -> bool:
        try:
            async with asyncio.timeout(seconds):
                await self._added.wait()
        except TimeoutError:
            return False
        return not self._closed.is_set()

    async def _later(self) -> None:
        try:
            async with asyncio.timeout(AGAIN_S):
                await self._closed.wait()
        except TimeoutError:
            return
