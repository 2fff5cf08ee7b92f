"""What came while the pod was away, read once for all its guilds.

Asked for the next message of one guild, the server walks over those of all others: 0.2 ms a message
with 1,000 guilds on the stream. A pod with many guilds therefore reads the stream itself, in order,
from where all of them were complete, and each guild takes its part (`Backlog.take`). What lies
beyond `BYTES_MAX`, and what comes later, guilds read themselves.
"""

import asyncio
import logging
from collections.abc import Collection
from typing import Final

import msgspec
from nats.errors import Error as NatsError

from components.bus import stream
from components.bus.connection import Bus
from components.bus.errors import BusError
from components.gateway.engine.model import LoggedInput
from components.gateway.shell.logged import logged_input
from contracts import storage, subjects
from contracts.ids import GuildId, Sequence

log = logging.getLogger(__name__)

GUILDS_MIN: Final = 300
"""With fewer, the messages of other guilds cost more than the server's walks: 77 us each to receive
(facts.md: 13,000 a second), 0.23 us each to walk over once for every message of ours."""
BYTES_MAX: Final = 32 * 1024 * 1024
"""Of the data of everything that is read, whosever it is."""
KEEP_S: Final = 60.0
"""What nobody has taken by then is of guilds that this pod is not to hold."""


class Part(msgspec.Struct, frozen=True, kw_only=True):
    """All that one guild's log holds from some sequence to ``up_to``."""

    inputs: list[LoggedInput]
    up_to: Sequence


class Backlog:
    """Empty until it is `read`, and complete only from then on."""

    def __init__(self, bus: Bus) -> None:
        self._bus = bus
        self._inputs: dict[GuildId, list[LoggedInput]] = {}
        self._from = Sequence(0)
        self._up_to = Sequence(0)
        self._ready = asyncio.Event()
        self._ready.set()

    async def read(
        self, guilds: Collection[GuildId], complete: Sequence, *, guilds_min: int = GUILDS_MIN
    ) -> None:
        """Read what follows ``complete``, up to where these guilds have what the log holds."""
        if len(guilds) < guilds_min:
            return
        self._ready.clear()
        self._inputs = {guild: [] for guild in guilds}
        self._from, self._up_to = Sequence(complete + 1), complete
        try:
            await self._read()
        except (BusError, NatsError) as error:
            log.info("what came meanwhile is read only to %s: %s", self._up_to, error)
        finally:
            self._ready.set()
        count = sum(map(len, self._inputs.values()))
        log.info("%d inputs came for %d guilds since %s", count, len(guilds), complete)
        asyncio.get_running_loop().call_later(KEEP_S, self._inputs.clear)

    async def _read(self) -> None:
        size = 0
        while size < BYTES_MAX:
            batch = await stream.read_batch(
                self._bus, storage.INPUTS, subjects.INPUTS_WILDCARD, Sequence(self._up_to + 1)
            )
            if not batch:
                return
            for stored in batch:
                guild = GuildId(stored.subject.rpartition(".")[2])
                size += len(stored.data)
                if (mine := self._inputs.get(guild)) is not None:
                    mine.append(logged_input(guild, stored))
            self._up_to = batch[-1].sequence

    async def take(self, guild: GuildId, complete: Sequence) -> Part | None:
        """The guild's part, once; ``complete``: up to where its rows are complete. None: it lies
        further back, or is not here (any more)."""
        await self._ready.wait()
        inputs = self._inputs.pop(guild, None)
        if inputs is None or complete + 1 < self._from:
            return None
        return Part(inputs=inputs, up_to=self._up_to)
