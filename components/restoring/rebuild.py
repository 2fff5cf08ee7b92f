"""One guild as it was, and as it is, side by side in scratch.

The rows of a base are taken forward along the log to the moment asked for, then further to where
the owner is: what is rebuilt of today must equal what the owner has, else what is rebuilt of then
is not to be trusted either. The guild goes on meanwhile; `Rebuilt.now` looks again.

Raises what `bases`, `replay` and `owner` raise.
"""

import contextlib
import sqlite3
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import msgspec

from components.bus.connection import Bus
from components.gateway.engine.dump import dump_digest
from components.gateway.engine.schema import open_database
from components.gateway.settings import BackupSettings
from components.restoring.bases import Base, Bases
from components.restoring.difference import Change, Parts, difference, parts_of
from components.restoring.errors import OwnerRefused
from components.restoring.owner import ask, digest
from components.restoring.replay import Replay
from contracts.ids import GuildId, Sequence
from contracts.requests import GetGuildStatus, GuildStatus


class Today(msgspec.Struct, frozen=True, kw_only=True):
    """The guild now, and what differs from then."""

    sequence: Sequence
    equal: bool | None
    """Whether it equals what the owner has; None: no owner answers."""
    changes: list[Change]


class Rebuilt:
    """A guild as it was at a moment. Use inside `rebuilt`."""

    def __init__(self, bus: Bus, guild: GuildId, base: Base, database: sqlite3.Connection) -> None:
        self._bus = bus
        self._guild = guild
        self._database = database
        self._replay = Replay(bus, database, guild)
        self.base = base
        self.sequence = base.sequence
        """The last input of then."""
        self.replayed = 0
        """Inputs from the base to then."""

    then: Parts

    async def to(self, at_ms: int) -> None:
        """Go to the moment, or to where the owner is: it may wait at an input that kills it."""
        limit: Sequence | None = None
        with contextlib.suppress(OwnerRefused):
            limit = (await ask(self._bus, self._guild, GetGuildStatus(), GuildStatus)).applied
        await self._replay.forward(until_ms=at_ms, to=limit)
        self.then = parts_of(self._database, self._guild)
        self.sequence = self._replay.checkpoint.sequence
        self.replayed = self._replay.applied

    async def now(self) -> Today:
        """Go on to where the owner is."""
        try:
            owner = await digest(self._bus, self._guild)
        except OwnerRefused:
            await self._replay.forward()
            return self._today(equal=None)
        await self._replay.reach(owner.sequence)
        equal = dump_digest(self._database, self._guild) == owner.sha256
        return self._today(equal=equal)

    def _today(self, *, equal: bool | None) -> Today:
        return Today(
            sequence=self._replay.checkpoint.sequence,
            equal=equal,
            changes=difference(self.then, parts_of(self._database, self._guild)),
        )


@asynccontextmanager
async def rebuilt(
    bus: Bus,
    settings: BackupSettings | None,
    guild: GuildId,
    at_ms: int,
    scratch: Path,
    say: Callable[[str], None],
) -> AsyncIterator[Rebuilt]:
    """The guild as it was at ``at_ms``, rebuilt below ``scratch``."""
    bases = Bases(bus, settings, scratch, say)
    base = await bases.find(guild, at_ms)
    with contextlib.closing(open_database(bases.database)) as database:
        found = Rebuilt(bus, guild, base, database)
        await found.to(at_ms)
        yield found
