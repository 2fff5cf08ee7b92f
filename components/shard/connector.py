"""Keeps one shard id connected: RESUME where possible, IDENTIFY where not, never in a loop.

Pauses between attempts grow and carry jitter; between IDENTIFYs they grow much faster, for each
one counts against the day's budget. Runs until told to stop; ends only by `CannotStart` and what
the receiver raises for good.
"""

import asyncio
import logging
import random

from components.bus.errors import BusError
from components.process.clock import SteadyClock, steady_s
from components.shard.appender import Appender
from components.shard.discord_rest import DiscordRest
from components.shard.errors import (
    DiscordUnavailable,
    IdentifyRefused,
    NumberRefused,
    QueueFull,
)
from components.shard.gate import LeaseGate
from components.shard.identify import IdentifyTurns
from components.shard.intake import Intake
from components.shard.overlap import Overlap
from components.shard.websocket import Connection, Ended

log = logging.getLogger(__name__)

RECONNECT_PAUSES_S = (0.0, 0.5, 1.0, 2.0, 5.0, 10.0, 30.0)
IDENTIFY_PAUSES_S = (0.0, 1.0, 5.0, 30.0, 120.0, 300.0)
RESUME_URL_ATTEMPTS = 3
"""Attempts in a row at the URL that Discord gave for resuming. It may be gone for good, and it is
saved with the session: from then on the session is resumed at the gateway's general URL."""
STEADY_AFTER_S = 60.0
"""A session that lasted this long was a good one: the pauses start over."""


class Connector:
    """The connections of one shard id."""

    def __init__(
        self,
        *,
        shard: int,
        shard_count: int,
        gate: LeaseGate,
        rest: DiscordRest,
        turns: IdentifyTurns,
        intake: Intake,
        appender: Appender,
        overlap: Overlap,
        clock: SteadyClock = steady_s,
    ) -> None:
        self._shard = shard
        self._shard_count = shard_count
        self._gate = gate
        self._rest = rest
        self._turns = turns
        self._intake = intake
        self._appender = appender
        self._overlap = overlap
        self._clock = clock
        self._connection: Connection | None = None
        self._stopping = asyncio.Event()
        self._ends_session = False
        self._may_identify = True
        self.session_over = asyncio.Event()
        """Set, after `only_resume`, when there is no session left to resume."""
        self.refused = ""
        """Why Discord takes no session of the new number of shards."""
        self._attempts = 0
        self._identifies = 0

    @property
    def connected(self) -> bool:
        """Whether a session is running on the socket."""
        return self._connection is not None and self._intake.started.is_set()

    @property
    def resuming(self) -> bool:
        """Whether there is a session to continue."""
        return self._intake.session is not None

    async def stop(self, *, end_session: bool = False) -> None:
        """Close the socket, so that the session can be resumed or so that it ends; `run` then
        returns."""
        self._ends_session |= end_session
        self._stopping.set()
        if self._connection is not None:
            await self._end(self._connection)

    async def _end(self, connection: Connection) -> None:
        if self._ends_session:
            await connection.end_session()
        else:
            await connection.close()

    def only_resume(self) -> None:
        """From now on a session that is lost is not replaced: other sessions deliver."""
        self._may_identify = False
        if self._connection is None and self._intake.session is None:
            self.session_over.set()

    async def run(self) -> None:
        """Connect again and again until `stop`."""
        while not self._stopping.is_set():
            try:
                await self._appender.room()
                await self._once()
            except Ended as end:
                log.info("shard %d: %s", self._shard, end)
                if not end.resume:
                    self._intake.forget()
            except QueueFull as error:
                log.warning("shard %d: socket closed, %s", self._shard, error)
            except NumberRefused as error:
                if not self._overlap.can_be_taken_back:
                    raise
                self.refused = (
                    f"Discord refuses shard {self._shard} of {self._shard_count} "
                    f"(close code {error.code})"
                )
                log.error("%s; the old shards go on", self.refused)  # noqa: TRY400 the words say all
                await self._stopping.wait()
            except IdentifyRefused as error:
                log.warning("shard %d: %s", self._shard, error)
                await self._pause(min(error.reset_after_s, 600.0))
            except (DiscordUnavailable, BusError) as error:
                log.warning("shard %d cannot connect: %s", self._shard, error)

    async def _once(self) -> None:
        await self._gate.opened()
        resume = self._intake.session
        if resume is None:
            self._intake.forget()
            if self._may_identify:
                await self._pause(_at(IDENTIFY_PAUSES_S, self._identifies))
        await self._pause(_at(RECONNECT_PAUSES_S, self._attempts))
        if self._stopping.is_set():
            return
        self._attempts += 1
        if resume is None:
            if self._may_identify:
                await self._turns.take(self._shard)
            if not self._may_identify:
                self.session_over.set()
                await self._stopping.wait()
                return
            self._identifies += 1
        await self._gate.opened()
        self._intake.connecting()
        resume_url = resume[1] if resume and self._attempts <= RESUME_URL_ATTEMPTS else None
        connection = await Connection.open(
            self._rest.http,
            self._intake,
            shard=self._shard,
            shard_count=self._shard_count,
            session=resume[0] if resume else None,
            resume_url=resume_url,
        )
        self._connection = connection
        if self._stopping.is_set():
            await self._end(connection)
        started_s = self._clock()
        try:
            await connection.run()
        finally:
            self._connection = None
            if self._intake.started.is_set():
                self._attempts = 0
            self._intake.connecting()
            if self._clock() - started_s > STEADY_AFTER_S:
                self._identifies = 0

    async def _pause(self, pause_s: float) -> None:
        if pause_s <= 0:
            return
        try:
            async with asyncio.timeout(pause_s * random.uniform(0.8, 1.2)):
                await self._stopping.wait()
        except TimeoutError:
            return


def _at(pauses: tuple[float, ...], attempts: int) -> float:
    return pauses[min(attempts, len(pauses) - 1)]
