"""Appends the dispatches of one shard id to the guilds' logs: pipelined, and in order per guild.

Promise: a guild's inputs are stored in the order in which they were received, whatever fails.
Two things see to it. A guild has one append in flight, the pipeline is across guilds: so even an
append that is refused alone (a full stream takes a smaller one) is never overtaken. And after one
that is not acknowledged nothing later is sent for the shard: what is in flight ends, and sending
resumes from the lowest unacknowledged one, alone until it is stored.

A dispatch is confirmed when it and all before it are stored (and nobody else holds it).

Bounded: `require_room` raises `QueueFull` beyond the limits. Without a valid lease (``may_send``),
or while NATS is away, nothing is sent and everything waits. A single guild waits alone while it is
kept back (`Overlap`) or floods its log (`FloodLimit`). A flood takes no more than half of the
queue: beyond that the guild appends at the bus's pace, for a full queue would close the socket,
which holds up every guild of the shard id.
"""

import asyncio
import logging
from collections import deque
from collections.abc import Callable

import msgspec

from components.bus.connection import Bus
from components.bus.errors import BusError, Refused, TooLarge
from components.shard.dispatches import Append
from components.shard.errors import QueueFull
from components.shard.flood import FloodLimit
from contracts import headers, subjects
from contracts.ids import GuildId, SessionId

log = logging.getLogger(__name__)

MESSAGE_TOO_LARGE = 10054
"""err_code: message size exceeds maximum allowed."""
APPEND_TIMEOUT_S = 2.0
FIRST_PAUSE_S = 0.05
LONGEST_PAUSE_S = 1.0


class Dispatch(msgspec.Struct, kw_only=True, eq=False):
    """A dispatch on its way to the bus."""

    session: SessionId
    sequence: int
    received_ms: int = 0
    appends: list[Append] = []
    fields: dict[str, str] = {}
    """Headers of every append."""
    holds: int = 0
    """Appends not stored, and others that must be done before the dispatch is confirmed."""
    on_stored: Callable[[bool], None] | None = None
    """Called when the first append is stored, with whether the log had it already."""

    @property
    def size(self) -> int:
        """Bytes that wait."""
        return sum(len(append.data) for append in self.appends)


class _Waiting(msgspec.Struct, kw_only=True, eq=False):
    order: int
    dispatch: Dispatch
    append: Append
    first: bool


class Appender:
    """The queue of one shard id. Run `run` for as long as the shard id is held."""

    def __init__(
        self,
        bus: Bus,
        *,
        window: int,
        max_dispatches: int,
        max_bytes: int,
        may_send: Callable[[], bool],
        on_confirmed: Callable[[Dispatch], None],
        keeps_back: Callable[[GuildId], bool] = lambda _: False,
        flood: FloodLimit | None = None,
    ) -> None:
        self._bus = bus
        self._window = window
        self._max_dispatches = max_dispatches
        self._max_bytes = max_bytes
        self._may_send = may_send
        self._on_confirmed = on_confirmed
        self._keeps_back = keeps_back
        self._flood = flood or FloodLimit(0, 0)
        self._kept: set[GuildId] = set()
        """Guilds that are kept back, with something that waits."""
        self._flooding: dict[GuildId, asyncio.TimerHandle] = {}
        """Guilds that wait for the limit."""
        self._told: set[GuildId] = set()
        self._received: deque[Dispatch] = deque()
        self._bytes = 0
        self._order = 0
        self._lanes: dict[GuildId, deque[_Waiting]] = {}
        self._ready: deque[GuildId] = deque()
        self._in_flight = 0
        self._failure: BusError | None = None
        self._probing = False
        self._pause_s = FIRST_PAUSE_S
        self._changed = asyncio.Event()
        self._room = asyncio.Event()
        self._empty = asyncio.Event()
        self._room.set()
        self._empty.set()
        self.stored = 0

    def require_room(self, size: int) -> None:
        """Raise `QueueFull` if a dispatch of ``size`` bytes is too much; an empty queue takes
        any. Asked before a dispatch is translated, so that nothing has happened then."""
        waiting = len(self._received)
        if waiting >= self._max_dispatches or (waiting and self._bytes + size > self._max_bytes):
            raise QueueFull(waiting, self._bytes)

    def put(self, dispatch: Dispatch) -> None:
        """Queue a dispatch; one without appends only takes its place in the order."""
        size = dispatch.size
        dispatch.holds += len(dispatch.appends)
        self._bytes += size
        self._received.append(dispatch)
        self._empty.clear()
        if 2 * len(self._received) > self._max_dispatches or 2 * self._bytes > self._max_bytes:
            self._room.clear()
        for index, append in enumerate(dispatch.appends):
            self._order += 1
            waiting = _Waiting(
                order=self._order, dispatch=dispatch, append=append, first=index == 0
            )
            lane = self._lanes.get(append.guild)
            if lane is None:
                self._lanes[append.guild] = deque([waiting])
                self._queue(append.guild)
            else:
                lane.append(waiting)
        if self._flooding and not self._room.is_set():
            self._stop_limiting()
        self._changed.set()
        self._confirm()

    @property
    def held_back(self) -> int:
        """Appends that wait because their guild is kept back or floods its log."""
        return sum(len(self._lanes[guild]) for guild in (*self._kept, *self._flooding))

    def release(self) -> None:
        """Guilds may be kept back no longer."""
        for guild in [guild for guild in self._kept if not self._keeps_back(guild)]:
            self._kept.discard(guild)
            self._queue(guild)
        self._changed.set()

    def _queue(self, guild: GuildId) -> None:
        """A guild with something to append: now, later, or not yet."""
        if self._keeps_back(guild):
            self._kept.add(guild)
            return
        wait_s = self._flood.wait_s(guild) if self._room.is_set() else 0.0
        if wait_s <= 0:
            self._ready.append(guild)
            return
        if guild not in self._told:
            self._told.add(guild)
            log.warning("guild %s floods its log: what it sends waits for the limit", guild)
        loop = asyncio.get_running_loop()
        self._flooding[guild] = loop.call_later(wait_s, self._waited, guild)

    def _waited(self, guild: GuildId) -> None:
        del self._flooding[guild]
        self._queue(guild)
        self._changed.set()

    def _stop_limiting(self) -> None:
        """Half of the queue is taken: floods go on at the bus's pace."""
        for guild, timer in self._flooding.items():
            timer.cancel()
            self._ready.append(guild)
        self._flooding.clear()

    def let_go(self, dispatch: Dispatch) -> None:
        """Drop a hold on a dispatch that something else had (`Dispatch.holds`)."""
        dispatch.holds -= 1
        self._confirm()

    def wake(self) -> None:
        """Look again: the lease is valid again, or NATS is back."""
        self._changed.set()

    async def room(self) -> None:
        """Wait until at most half of the queue is taken."""
        await self._room.wait()

    async def empty(self) -> None:
        """Wait until everything is stored and confirmed."""
        await self._empty.wait()

    async def run(self) -> None:
        """Send until cancelled."""
        async with asyncio.TaskGroup() as group:
            while True:
                window = 1 if self._probing else self._window
                while (
                    self._ready
                    and self._failure is None
                    and self._in_flight < window
                    and self._may_send()
                ):
                    self._in_flight += 1
                    guild = self._ready.popleft()
                    self._flood.take(guild)
                    group.create_task(self._send(guild))
                if self._failure is not None and self._in_flight == 0:
                    await self._recover()
                    continue
                self._changed.clear()
                await self._changed.wait()

    async def _send(self, guild: GuildId) -> None:
        lane = self._lanes[guild]
        waiting = lane[0]
        append = waiting.append
        try:
            # Asked again where bytes leave: the process may have been stopped in between.
            if self._failure is None and self._may_send():
                stored = await self._bus.append(
                    subjects.inputs(guild),
                    append.data,
                    {**waiting.dispatch.fields, headers.MSG_ID: append.message_id},
                    timeout_s=APPEND_TIMEOUT_S,
                )
                lane.popleft()
                self._stored(waiting, stored.duplicate)
        except BusError as error:
            if _too_large(error) and append.data != append.smaller:
                log.warning("guild %s: %s; sent without its content", guild, error)
                waiting.append = msgspec.structs.replace(append, data=append.smaller)
            elif self._failure is None:
                self._failure = error
        finally:
            self._in_flight -= 1
            if lane:
                self._queue(guild)
            else:
                del self._lanes[guild]
                self._told.discard(guild)
            self._changed.set()

    def _stored(self, waiting: _Waiting, duplicate: bool) -> None:
        self.stored += 1
        self._probing = False
        self._pause_s = FIRST_PAUSE_S
        if waiting.first and waiting.dispatch.on_stored is not None:
            waiting.dispatch.on_stored(duplicate)
        waiting.dispatch.holds -= 1
        self._confirm()

    def _confirm(self) -> None:
        confirmed = None
        while self._received and self._received[0].holds == 0:
            confirmed = self._received.popleft()
            self._bytes -= confirmed.size
        if confirmed is None:
            return
        if 2 * len(self._received) <= self._max_dispatches and 2 * self._bytes <= self._max_bytes:
            self._room.set()
        if not self._received:
            self._empty.set()
        self._on_confirmed(confirmed)

    async def _recover(self) -> None:
        log.warning(
            "appending stopped with %d dispatches waiting, trying again: %s",
            len(self._received),
            self._failure or "",
        )
        await asyncio.sleep(self._pause_s)
        self._pause_s = min(LONGEST_PAUSE_S, 2 * self._pause_s)
        while not self._bus.connected:
            self._changed.clear()
            await self._changed.wait()
        self._ready = deque(sorted(self._ready, key=lambda guild: self._lanes[guild][0].order))
        self._failure = None
        self._probing = True


def _too_large(error: BusError) -> bool:
    if isinstance(error, Refused):
        return error.err_code == MESSAGE_TOO_LARGE
    return isinstance(error, TooLarge)
