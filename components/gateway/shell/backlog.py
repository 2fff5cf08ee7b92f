"""What came while the pod was away, read once for all its guilds.

Asked for the next message of one guild, the server walks over those of all others: 0.2 ms a message
with 1,000 guilds on the stream. A pod with many guilds therefore reads the stream itself, in order,
from where all of them were complete, and each guild takes its part (`Backlog.take`). What lies
beyond `BYTES_MAX`, and what comes later, guilds read themselves. Until it is taken it lies in a
file without a name: in memory 40,000 inputs cost 40 MiB, which Python keeps for good.
"""

import asyncio
import logging
import os
import tempfile
from array import array
from collections.abc import Collection
from pathlib import Path
from typing import BinaryIO, Final

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
BYTES_MAX: Final = 64 * 1024 * 1024
"""Of the data of everything that is read, whosever it is: some 70,000 messages."""
KEEP_S: Final = 60.0
"""What nobody has taken by then is of guilds that this pod is not to hold."""


_decoder: Final = msgspec.msgpack.Decoder(LoggedInput)


class Part(msgspec.Struct, frozen=True, kw_only=True):
    """All that one guild's log holds from some sequence to ``up_to``."""

    inputs: list[LoggedInput]
    up_to: Sequence


class Backlog:
    """Empty until it is `read`, and complete only from then on. ``folder``: where its file is; the
    system's for temporary files if None."""

    def __init__(self, bus: Bus, folder: Path | None = None) -> None:
        self._bus = bus
        self._folder = folder
        self._file: BinaryIO | None = None
        self._places: dict[GuildId, array[int]] = {}
        """Offset and length of each of a guild's inputs, one after the other."""
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
        self._places = {guild: array("Q") for guild in guilds}
        self._from, self._up_to = Sequence(complete + 1), complete
        try:
            self._file = tempfile.TemporaryFile(dir=self._folder)  # noqa: SIM115 `_forget` closes
            await self._read(self._file)
        except (BusError, NatsError, OSError) as error:
            log.info("what came meanwhile is read only to %s: %s", self._up_to, error)
        finally:
            self._ready.set()
        count = sum(map(len, self._places.values())) // 2
        log.info("%d inputs came for %d guilds since %s", count, len(guilds), complete)
        asyncio.get_running_loop().call_later(KEEP_S, self._forget)

    async def _read(self, file: BinaryIO) -> None:
        size = at = 0
        while size < BYTES_MAX:
            batch = await stream.read_batch(
                self._bus, storage.INPUTS, subjects.INPUTS_WILDCARD, Sequence(self._up_to + 1)
            )
            if not batch:
                return
            size += sum(len(stored.data) for stored in batch)
            guilds = [GuildId(stored.subject.rpartition(".")[2]) for stored in batch]
            ours = [
                (guild, msgspec.msgpack.encode(logged_input(guild, stored)))
                for guild, stored in zip(guilds, batch, strict=True)
                if guild in self._places
            ]
            file.write(b"".join(written for _, written in ours))
            file.flush()
            for guild, written in ours:
                self._places[guild].extend((at, len(written)))
                at += len(written)
            self._up_to = batch[-1].sequence

    async def take(self, guild: GuildId, complete: Sequence) -> Part | None:
        """The guild's part, once; ``complete``: up to where its rows are complete. None: it lies
        further back, or is not here (any more)."""
        await self._ready.wait()
        places = self._places.pop(guild, None)
        if places is None or self._file is None or complete + 1 < self._from:
            return None
        file = self._file.fileno()
        inputs = [
            _decoder.decode(os.pread(file, length, offset))
            for offset, length in zip(places[::2], places[1::2], strict=True)
        ]
        return Part(inputs=inputs, up_to=self._up_to)

    def _forget(self) -> None:
        self._places.clear()
        if self._file is not None:
            self._file.close()
            self._file = None
