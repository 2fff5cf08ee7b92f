"""Who of config's replicas leads: the holder of the lease ``leaders.config``.

Promise: `lead` runs only while this replica holds the lease, and is cancelled as soon as it cannot
be kept. That is late by nature (a process can be stopped between any two steps), so everything a
leader writes is a compare-and-set as well. What is to be done when is for `election` to say; here
it is carried out. A leader that ends in order gives the lease back.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable

from components.bus.buckets import Bucket
from components.bus.connection import Bus
from components.bus.errors import BusError, WrongLastSequence
from components.config.election import Election, GiveBack, Look, Request, Wait, Write
from components.process.clock import steady_s, wall_ms
from contracts import storage
from contracts.message import encode
from contracts.records import LeaderLease

log = logging.getLogger(__name__)

ROLE = "config"


class Leadership:
    """One replica's part in the election."""

    def __init__(
        self,
        bus: Bus,
        replica: str,
        *,
        ttl_s: int,
        all_assigned: Callable[[], bool] = lambda: False,
    ) -> None:
        self._bus = bus
        self._bucket = Bucket(bus, storage.LEADERS)
        self._replica = replica
        self._ttl_s = ttl_s
        self._all_assigned = all_assigned
        self._election = Election(self._claim, steady_s, ttl_s=ttl_s)
        self._news = asyncio.Event()

    @property
    def leading(self) -> bool:
        """Whether this replica may act as leader at this very moment."""
        return self._election.leading

    @property
    def holder(self) -> str:
        """Who leads, as far as this replica knows; empty when nobody does."""
        return self._election.holder

    def disconnected(self, server: str, client: int) -> None:
        """The server told of a lost connection. It may be the leader's."""
        self._election.disconnected(server, client)
        self._news.set()

    async def run(self, lead: Callable[[], Awaitable[None]]) -> None:
        """Stand for election until cancelled, and lead whenever elected."""
        async with asyncio.TaskGroup() as group:
            group.create_task(self._watch(), name="watch leader")
            while True:
                while self._election.stage == "standing":
                    await self._step()
                await self._lead(lead)

    async def _lead(self, lead: Callable[[], Awaitable[None]]) -> None:
        log.info("%s leads", self._replica)
        try:
            # Nothing may fail in the group when the lease is lost: up to Python 3.12 the task that
            # waits for a group whose task has failed counts as cancelled from then on.
            async with asyncio.TaskGroup() as group:
                leading = group.create_task(_awaited(lead), name="lead")
                while self._election.stage == "leading":
                    await self._step()
                leading.cancel()
            log.warning("%s leads no longer: %s", self._replica, self._election.reason)
        finally:
            self._election.resign()
            while self._election.stage == "leaving":
                await self._step()

    async def _step(self) -> None:
        """Carry out one request of the machine and tell it what became of it."""
        self._news.clear()
        request = self._election.next()
        if isinstance(request, Wait):
            await self._until_news(request.until_s)
            return
        try:
            await self._carry_out(request)
        except WrongLastSequence:
            self._election.refused()
        except BusError as error:
            self._election.failed(str(error))

    async def _carry_out(self, request: Request) -> None:
        if isinstance(request, Look):
            entry = await self._bucket.get(ROLE)
            self._election.found(entry, self._bus.link)
        elif isinstance(request, Write):
            value, revision = encode(request.lease), request.revision
            self._election.written(
                await self._bucket.replace(ROLE, value, revision, ttl_s=self._ttl_s)
            )
        elif isinstance(request, GiveBack):
            await self._bucket.delete(ROLE, request.revision)
            self._election.given_back()

    async def _until_news(self, until_s: float) -> None:
        try:
            async with asyncio.timeout(max(0.0, until_s - steady_s())):
                await self._news.wait()
        except TimeoutError:
            return

    def _claim(self) -> LeaderLease:
        return LeaderLease(
            holder=self._replica,
            since_ms=wall_ms(),
            nats_client=self._bus.client_id,
            nats_server=self._bus.server_id,
            all_assigned=self._all_assigned(),
        )

    async def _watch(self) -> None:
        async for entry in self._bucket.watch(ROLE):
            if entry is None:
                try:
                    entry = await self._bucket.get(ROLE)
                except BusError as error:
                    log.info("cannot read who leads; the election's timer will: %s", error)
                    continue
            self._election.seen(entry)
            self._news.set()


async def _awaited(lead: Callable[[], Awaitable[None]]) -> None:
    await lead()
