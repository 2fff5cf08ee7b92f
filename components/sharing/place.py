"""The place of a pod, or of a replica of the shard, in the division of Discord's global rate
(bucket ``shares``, key ``rest``).

Promise: it uses a share only from a division that names this start of it; it enters itself, by
compare-and-set, and again when a division does not name it. Started again, it takes its former
share over after what was sent before has been counted. While NATS or config is away the last
division holds. Fails: never; what the bus refuses is tried again.
"""

import asyncio
import logging
from collections.abc import Callable
from typing import Final

from components.bus.buckets import Bucket, Entry
from components.bus.connection import Bus
from components.bus.errors import BusError, WrongLastSequence
from components.process.clock import SteadyClock, steady_s
from components.sharing.division import REST, enter
from components.sharing.slots import WINDOW_S, RateShare
from contracts import storage
from contracts.ids import Incarnation
from contracts.message import MalformedMessage, decode, encode
from contracts.records import RestShares

log = logging.getLogger(__name__)

AGAIN_S: Final = 0.2


class Shares:
    """Follows the division for one start of ``who``, which must hold its lease by now: whoever had
    the name before has ended. ``heard`` gets each division."""

    def __init__(
        self,
        bus: Bus,
        who: str,
        incarnation: Incarnation,
        share: RateShare,
        limit: float,
        heard: Callable[[RestShares], None] = lambda record: None,
        clock: SteadyClock = steady_s,
    ) -> None:
        self._bucket = Bucket(bus, storage.SHARES)
        self._who = who
        self._incarnation = incarnation
        self._share = share
        self._heard = heard
        self._limit = limit
        self._clock = clock
        self._joined_s = clock()
        self._revision = -1

    async def run(self) -> None:
        """Follow until cancelled."""
        async for entry in self._bucket.watch(REST):
            if (entry is None and self._revision < 0) or not self._see(entry):
                await self._enter()

    def _see(self, entry: Entry | None) -> bool:
        """Keep to the division; False when it does not name this start."""
        if entry is None or entry.revision < self._revision:
            return True
        self._revision = entry.revision
        record = _record(entry)
        if record is None or record.incarnations.get(self._who) != self._incarnation:
            self._share.divide(0, entry.revision)
            return False
        self._share.divide(int(record.shares[self._who]), entry.revision)
        self._heard(record)
        return True

    async def _enter(self) -> None:
        while True:
            try:
                entry = await self._bucket.get(REST)
                if entry is not None and entry.value is not None and self._see(entry):
                    return
                known = None if entry is None else _record(entry)
                if known is not None and self._who in known.shares:
                    left_s = self._joined_s + WINDOW_S - self._clock()
                    if left_s > 0:
                        await asyncio.sleep(left_s)
                entered = enter(known, self._who, self._incarnation, self._limit)
                if entered is None:
                    return
                value = encode(entered)
                revision = entry.revision if entry is not None else 0
                revision = await self._bucket.replace(REST, value, revision)
                self._see(Entry(key=REST, value=value, revision=revision, created_ms=0))
                return
            except WrongLastSequence:
                continue  # others enter, too
            except BusError as error:
                log.info("not in the division of the rate limit yet: %s", error)
                await asyncio.sleep(AGAIN_S)


def _record(entry: Entry) -> RestShares | None:
    """None: deleted, or not readable; then the division begins anew."""
    if entry.value is None:
        return None
    try:
        return decode(entry.value, RestShares)
    except MalformedMessage as error:
        log.error(  # noqa: TRY400 the words say all
            "the division of the rate limit is not readable: %s", error
        )
        return None
