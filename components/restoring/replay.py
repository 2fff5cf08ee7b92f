"""Takes a guild's rows forward along its log, as its owner did.

Whatever a later `SkipInput` names is skipped from the start, as `feed` does: a replay gives what
the first run gave. The log is read from where the rows are; whoever made the rows has checked that
it continues them.

Raises `BusError`, and what the engine raises on a log that nobody could apply.
"""

import asyncio
import sqlite3
from collections.abc import AsyncIterator, Callable
from typing import Final

from components.bus import stream
from components.bus.connection import Bus
from components.bus.stream import StoredMessage, StreamBounds
from components.gateway.engine.engine import Engine
from components.gateway.engine.errors import UnknownGuild
from components.gateway.engine.model import Applied, Checkpoint
from components.gateway.engine.transfer import GuildRows
from components.gateway.shell.feed import skip_of
from components.gateway.shell.logged import logged_input
from components.process.clock import steady_s
from components.restoring.errors import CannotRebuild
from contracts import headers, storage, subjects
from contracts.ids import GuildId, Sequence
from contracts.inputs import SkipInput

READ_WITHIN_S: Final = 30.0
REACHED_WITHIN_S: Final = 5.0
AGAIN_S: Final = 0.1


def gap(rows: GuildRows, bounds: StreamBounds) -> str:
    """Why the log does not continue the rows, in words; empty when it does."""
    if rows.generation != bounds.generation:
        return f"the rows are of stream generation {rows.generation}, not {bounds.generation}"
    if bounds.first > rows.complete + 1:
        return f"it is complete up to input {rows.complete}, the log begins at {bounds.first}"
    return ""


class Replay:
    """One guild in a database that is ours alone. May be continued, later or further."""

    def __init__(self, bus: Bus, database: sqlite3.Connection, guild: GuildId) -> None:
        self._bus = bus
        self._database = database
        self._guild = guild
        self._engine = Engine(database)
        self.applied = 0
        """Inputs applied or skipped so far."""

    @property
    def checkpoint(self) -> Checkpoint:
        """How far the rows are. Raises `UnknownGuild`."""
        found = self._engine.checkpoint(self._guild)
        if found is None:
            raise UnknownGuild(self._guild)
        return found

    async def forward(
        self,
        *,
        to: Sequence | None = None,
        until_ms: int | None = None,
        each: Callable[[Applied], None] | None = None,
    ) -> None:
        """Apply what follows: up to input ``to``, up to the last one of the time ``until_ms``, or
        to the end of the log; also not beyond an input at which the guild is parked. ``each``
        hears of every input while the rows are as it left them."""
        at = self.checkpoint
        skips = await self._skips(at.sequence)
        time_ms = at.time_ms
        async for batch in self._batches(at.sequence):
            self._database.execute("BEGIN")
            with self._database:  # commits, or rolls back on an error
                for stored in batch:
                    time_ms = max(time_ms, stored.stored_ms)  # the engine's time of an input
                    beyond = to is not None and stored.sequence > to
                    later = until_ms is not None and time_ms > until_ms
                    word = skips.get(stored.sequence)
                    parked = stored.sequence == at.parked_at and word is None
                    if beyond or later or parked:
                        return
                    applied = self._apply(stored, word)
                    if each is not None:
                        each(applied)

    async def reach(self, to: Sequence) -> None:
        """Go to input ``to``. A server that answers may be behind the one that took the input: it
        is asked again. Raises `CannotRebuild` when the log does not lead there."""
        until_s = steady_s() + REACHED_WITHIN_S
        while True:
            await self.forward(to=to)
            at = self.checkpoint.sequence
            if at == to:
                return
            if at > to or steady_s() >= until_s:
                raise CannotRebuild(f"guild {self._guild}: input {at} is reached instead of {to}")
            await asyncio.sleep(AGAIN_S)

    def _apply(self, stored: StoredMessage, word: SkipInput | None) -> Applied:
        item = logged_input(self._guild, stored)
        self.applied += 1
        return self._engine.apply(item) if word is None else self._engine.skip(item, word)

    async def _skips(self, after: Sequence) -> dict[Sequence, SkipInput]:
        """What the log says to skip; read before anything is applied."""
        found: dict[Sequence, SkipInput] = {}
        async for batch in self._batches(after):
            for stored in batch:
                word = skip_of(stored.headers.get(headers.MSG_ID, ""), stored.data)
                if word is not None and word.sequence < stored.sequence:
                    found.setdefault(word.sequence, word)
        return found

    async def _batches(self, after: Sequence) -> AsyncIterator[list[StoredMessage]]:
        start = Sequence(after + 1)
        subject = subjects.inputs(self._guild)
        while batch := await stream.read_batch(
            self._bus, storage.INPUTS, subject, start, timeout_s=READ_WITHIN_S
        ):
            yield batch
            start = Sequence(batch[-1].sequence + 1)
