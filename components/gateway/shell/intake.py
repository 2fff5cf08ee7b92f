"""A guild's log, handed on once and in order: live messages, with gaps filled from the stream.

Live messages come over a plain core subscription, which may drop any of them. Each names the
sequence before it on the guild's log, so a gap shows with the next message; the end of the log
is compared by `sweep`. A gap is filled by batched direct gets, which may come from a replica that
is behind: what a live message or an acknowledgement named must turn up within `FILL_WITHIN_S`,
or `HoleFound` says that the log has lost it.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable
from typing import Final, Protocol

from nats.aio.msg import Msg
from nats.aio.subscription import Subscription
from nats.errors import Error as NatsError

from components.bus import stream
from components.bus.connection import Bus
from components.bus.errors import BusError
from components.bus.stream import stored_message
from components.gateway.engine.model import LoggedInput
from components.gateway.shell.backlog import Backlog
from components.gateway.shell.errors import HoleFound
from components.gateway.shell.logged import logged_input
from contracts import headers, storage, subjects
from contracts.ids import GuildId, Sequence

log = logging.getLogger(__name__)

FILL_WITHIN_S: Final = 5.0
BATCH: Final = 1000

Hand = Callable[[LoggedInput], Awaitable[None]]


class Look(Protocol):
    """Watches a guild being caught up."""

    def batch(self, batch: list[LoggedInput]) -> None:
        """Sees every message before the first one is handed on."""
        ...

    async def verify(self, after: Sequence) -> None:
        """Right after a read of what follows ``after``: raises `HoleFound` if the stream may have
        lost some of it."""
        ...


class Intake:
    """The log of one guild from ``start`` on; ``hand`` gets each input, awaited one at a time."""

    def __init__(
        self,
        bus: Bus,
        guild: GuildId,
        start: Sequence,
        hand: Hand,
        on_hole: Callable[[HoleFound], None],
        saw: Callable[[int], None] = lambda stored_ms: None,
        backlog: tuple[Backlog, Sequence] | None = None,
    ) -> None:
        """``backlog``: what was read for all guilds, and up to where this one's rows are complete
        (``start`` or later)."""
        self._bus = bus
        self._guild = guild
        self._subject = subjects.inputs(guild)
        self._hand = hand
        self._on_hole = on_hole
        self._lock = asyncio.Lock()
        self._subscription: Subscription | None = None
        self._kept: list[LoggedInput] = []
        self._backlog = backlog
        self._quiet = (start, start)
        """Between these two the log is known to hold nothing of the guild."""
        self._look: Look | None = None
        self._caught_up = asyncio.Event()
        self._ended = False
        self._saw = saw
        self.seen = start
        """The last sequence handed on."""

    async def subscribe(self) -> None:
        """Listen to live messages; they wait for the first `catch_up`."""
        if self._subscription is None:
            self._subscription = await self._bus.listen(subjects.live(self._guild), self._live)

    async def end(self) -> None:
        """Stop listening; once this returns nothing more is handed on."""
        self._ended = True
        self._caught_up.set()
        await self.unsubscribe()
        async with self._lock:
            return

    async def unsubscribe(self) -> None:
        """Stop listening; what came is still handed on."""
        subscription, self._subscription = self._subscription, None
        if subscription is not None:
            try:
                await subscription.unsubscribe()
            except NatsError as error:  # the connection is gone, and the subscription with it
                log.debug("unsubscribing %s: %s", self._subject, error)

    async def catch_up(self, up_to: Sequence, look: "Look | None" = None) -> None:
        """Hand on everything up to a sequence that is known to be on the guild's log.

        ``look`` sees all of it before any of it is handed on. Raises `HoleFound`, `BusError`.
        """
        async with self._lock:
            self._look = look
            try:
                if look is not None:
                    await self._look_ahead(up_to, look)
                await self._fill(up_to)
            finally:
                self._look = None
            self._caught_up.set()

    def rewind(self, sequence: Sequence) -> None:
        """Hand on again what lies behind ``sequence``; called by ``hand`` alone."""
        self.seen = sequence

    async def _live(self, message: Msg) -> None:
        # What came before the first of them must be looked at before any of it is handed on.
        await self._caught_up.wait()
        try:
            stored = stored_message(message)
            before = int(message.headers[headers.LAST_SEQUENCE]) if message.headers else 0
        except (KeyError, ValueError) as error:
            # Only the server publishes here; whatever else this is, the sweep finds the truth.
            log.warning("message of another shape on %s: %r", message.subject, error)
            return
        self._saw(stored.stored_ms)
        async with self._lock:
            if stored.sequence <= self.seen or self._ended:
                return
            try:
                if before > self.seen:
                    await self._fill(Sequence(before))
                await self._hand_on([logged_input(self._guild, stored)])
                await self._fill(stored.sequence)  # only if it was rewound
            except BusError as error:
                log.info("gap of %s not filled yet: %s", self._subject, error)
            except HoleFound as hole:
                self._on_hole(hole)

    async def _fill(self, up_to: Sequence) -> None:
        while self.seen < up_to and not self._ended:
            await self._hand_on(await self._read(self.seen, up_to))

    async def _look_ahead(self, up_to: Sequence, look: "Look") -> None:
        at = self.seen
        kept: list[LoggedInput] = []
        whole = True
        while at < up_to and not self._ended:
            batch = await self._read(at, up_to)
            look.batch(batch)
            whole = whole and len(kept) < BATCH
            if whole:
                kept += batch
            at = batch[-1].sequence
        self._kept = kept  # mostly all of it: not read twice

    async def _read(self, after: Sequence, up_to: Sequence) -> list[LoggedInput]:
        """The next inputs after a sequence; there are some, for ``up_to`` is on the log."""
        kept, self._kept = self._kept, []
        if kept and after < kept[0].sequence and after == self.seen:
            return kept
        batch = await self._from_backlog(after)
        deadline = asyncio.get_running_loop().time() + FILL_WITHIN_S
        while True:
            batch = batch or await self._from_stream(after)
            if self._look is not None:
                await self._look.verify(after)
            if batch:
                return batch
            if asyncio.get_running_loop().time() > deadline:
                raise HoleFound(
                    self._guild, f"the log no longer holds what lies between {after} and {up_to}"
                )
            # The replica that answered is behind the stream's leader.
            await asyncio.sleep(0.05)

    async def _from_backlog(self, after: Sequence) -> list[LoggedInput]:
        """The guild's part, at the first time; it may hold nothing."""
        if self._backlog is None:
            return []
        backlog, complete = self._backlog
        part = await backlog.take(self._guild, max(after, complete))
        self._backlog = None
        if part is None:
            return []
        batch = [item for item in part.inputs if item.sequence > after]
        self._quiet = (batch[-1].sequence if batch else after, part.up_to)
        return batch

    async def _from_stream(self, after: Sequence) -> list[LoggedInput]:
        start = self._quiet[1] if after == self._quiet[0] else after
        stored = await stream.read_batch(
            self._bus, storage.INPUTS, self._subject, Sequence(start + 1), batch=BATCH
        )
        return [logged_input(self._guild, message) for message in stored]

    async def _hand_on(self, batch: list[LoggedInput]) -> None:
        for item in batch:
            if self._ended:
                return
            if item.sequence <= self.seen:
                continue
            before, self.seen = self.seen, item.sequence
            try:
                await self._hand(item)
            except BaseException:
                self.seen = before  # not taken: it comes again
                raise
            if self.seen != item.sequence:
                return  # rewound: what follows is read again
