"""Compares the ends of all logs with what was seen: a live message that was lost may be the last.

Goes round every few seconds, a few guilds at a time, since the ends of hundreds of logs in one
answer would stall the loop; and over all at once after a reconnect or when the client dropped
messages. An answer counts only if it covers the stream up to the end that STREAM.INFO gave before,
for direct gets come from any replica. A guild whose effects wait for a comparison that begins now
(`Guild.ticket`) is told, and the pod's mark "complete up to" moves (`logbook`).

Fails: when the bus does not answer, what was asked for at once is tried again after `AGAIN_S`.
"""

import asyncio
import logging
from typing import Final

from components.bus import stream
from components.bus.connection import Bus
from components.bus.errors import BusError
from components.gateway.shell.gate import Gate
from components.gateway.shell.guild import Guild
from components.gateway.shell.logbook import Logbook
from components.gateway.shell.ownership import Ownership
from contracts import storage, subjects
from contracts.ids import GuildId, Sequence

log = logging.getLogger(__name__)

CHUNK: Final = 50
"""Guilds a request: reading 500 ends in one go held a message up for 10 ms."""
AGAIN_S: Final = 0.2
BEHIND_S: Final = 0.02
WITHIN_S: Final = 10.0
"""A guild that is not complete by then is looked at again in the next round."""


class Sweep:
    """The regular comparison."""

    def __init__(
        self,
        bus: Bus,
        gate: Gate,
        ownership: Ownership,
        logbook: Logbook,
        every_s: float,
    ) -> None:
        self._bus = bus
        self._gate = gate
        self._ownership = ownership
        self._logbook = logbook
        self._every_s = every_s
        self._now = asyncio.Event()
        self._all = False

    def soon(self) -> None:
        """Compare at once: something may have been missed."""
        self._all = True
        self._now.set()

    def some_soon(self) -> None:
        """Compare at once the guilds that wait for it (`Guild.ticket`)."""
        self._now.set()

    async def run(self) -> None:
        """Compare until cancelled."""
        while True:
            try:
                await self._go_round()
            except BusError as error:
                log.info("logs are compared later: %s", error)
                await asyncio.sleep(AGAIN_S)

    async def _go_round(self) -> None:
        guilds = dict(self._ownership.guilds)
        ids = list(guilds)
        rounds = max(1, -(-len(ids) // CHUNK))
        for number in range(rounds):
            await self._pause(self._every_s / rounds)
            if chunk := ids[number * CHUNK : (number + 1) * CHUNK]:
                await self._compare(guilds, chunk)
        complete = {
            guild.id: guild.complete_up_to
            for guild in guilds.values()
            if guild.is_followed and guild.complete_up_to > 0
        }
        await self._logbook.note(complete, self._ownership.followed)

    async def _pause(self, seconds: float) -> None:
        """Wait, and compare meanwhile what is asked for at once."""
        loop = asyncio.get_running_loop()
        until = loop.time() + seconds
        while (left_s := until - loop.time()) > 0 or self._now.is_set():
            try:
                async with asyncio.timeout(max(0.0, left_s)):
                    await self._now.wait()
            except TimeoutError:
                if not self._now.is_set():
                    return
            self._now.clear()
            everything, self._all = self._all, False
            guilds = dict(self._ownership.guilds)
            ids = [guild for guild, held in guilds.items() if everything or held.ticket]
            try:
                for start in range(0, len(ids), CHUNK):
                    await self._compare(guilds, ids[start : start + CHUNK])
            except BusError:
                self._all |= everything
                self._now.set()
                raise

    async def _compare(self, guilds: dict[GuildId, Guild], ids: list[GuildId]) -> None:
        if not self._gate.is_open:
            return  # the end of the log counts only if it was read after the gate opened
        link = self._bus.link
        tickets = {guild: guilds[guild].ticket for guild in ids}  # given before the end is read
        end = (await stream.bounds(self._bus, storage.INPUTS)).last
        ends = await stream.last_sequences(
            self._bus, storage.INPUTS, [subjects.inputs(guild) for guild in ids]
        )
        if ends.up_to < end:
            log.info("a replica is behind (%s of %s); comparing again later", ends.up_to, end)
            if any(tickets.values()):
                asyncio.get_running_loop().call_later(BEHIND_S, self._now.set)
            return
        if self._bus.link != link:
            return
        # Nearly all guilds are complete, and a task for each of hundreds would stall the loop.
        compared = [
            guilds[guild].compare(last, ends.up_to, tickets[guild])
            for guild in ids
            if not guilds[guild].is_complete(
                last := ends.sequences.get(subjects.inputs(guild), Sequence(0)),
                ends.up_to,
                tickets[guild],
            )
        ]
        if not compared:
            return
        try:
            async with asyncio.timeout(WITHIN_S):
                results = await asyncio.gather(*compared, return_exceptions=True)
        except TimeoutError:
            log.info("some guilds are not complete yet")
            return
        for result in results:
            if isinstance(result, Exception):
                raise result
