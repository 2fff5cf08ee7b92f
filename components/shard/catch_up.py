"""Appends what can be read of a gap, after Discord refused a RESUME (design.md, Shard appends).

Promise: for every guild of the new session, once its snapshot is on its log, what `History` finds
in the gap is appended as inputs marked ``catch_up``, in the background and only while the shard
may act. What this process has received as a dispatch is left out; what an earlier process had
appended within the margin is on the log twice, and the engine takes it once by its Discord id.

Fails: never the shard. What cannot be read is logged; what cannot be appended is tried again. When
the process ends meanwhile, whoever resumes the session begins the gap again (`unread_since_ms` is
saved with the session), for the guilds that the registry names.
"""

import asyncio
import logging
from collections import deque
from typing import Final

import msgspec

from components.bus.connection import Bus
from components.bus.errors import BusError, TooLarge
from components.process.clock import wall_ms
from components.process.exits import CannotStart
from components.shard.dispatches import MAX_INPUT_BYTES
from components.shard.gate import LeaseGate
from components.shard.history import EVENT_OF, Channel, Found, Gap, History, active
from components.shard.registry import Registry
from components.telemetry.traces import carry, span
from contracts import headers, subjects
from contracts.ids import GuildId, SessionId
from contracts.inputs import DiscordDispatch, catch_up_id
from contracts.message import encode
from contracts.records import SessionResume

log = logging.getLogger(__name__)

MARGIN_MS: Final = 30_000
"""The gap starts this long before the last saved dispatch arrived: Discord's clock is not ours,
and a dispatch may be late."""
LONGEST_GAP_MS: Final = 24 * 3_600_000
GUILDS_AT_ONCE: Final = 4
"""Bounds the memory too: each holds what was found in one guild."""
HEARD: Final = 20_000
"""Messages and audit entries known as received, the newest of them."""
RETRY_S: Final = 1.0


class _Id(msgspec.Struct):
    id: str


class _Ready(msgspec.Struct):
    guilds: list[_Id] = []


class _Snapshot(msgspec.Struct):
    unavailable: bool = False
    channels: list[Channel] | None = None
    threads: list[Channel] | None = None


_decode_id = msgspec.json.Decoder(_Id).decode
_decode_ready = msgspec.json.Decoder(_Ready).decode
_decode_snapshot = msgspec.json.Decoder(_Snapshot).decode
_MALFORMED: Final = (msgspec.MsgspecError, UnicodeDecodeError, RecursionError)


class CatchUp:
    """The gaps of one shard id, across its sessions."""

    def __init__(
        self,
        *,
        shard: int,
        shard_count: int,
        bus: Bus,
        gate: LeaseGate,
        history: History,
        registry: Registry,
    ) -> None:
        self._shard = shard
        self._shard_count = shard_count
        self._registry = registry
        self._bus = bus
        self._gate = gate
        self._history = history
        self._heard: dict[str, None] = {}
        self._session: SessionId | None = None
        self._since: dict[GuildId, int] = {}
        """Guilds with a gap that is not read yet."""
        self._waiting: deque[Gap] = deque()
        """Their snapshots are not stored yet; in the session's order."""
        self._ready: deque[Gap] = deque()
        self._changed = asyncio.Event()
        self._inherited_ms = 0
        """Start of the gap that another process did not read to its end."""
        self._resumed_at: int | None = None
        """Sequence of the RESUMED after which the session's snapshots are surely on the logs."""
        self._inherit = asyncio.Event()

    @property
    def unread_since_ms(self) -> int:
        """Start of what is not read yet; 0: nothing is left."""
        starts = list(self._since.values())
        if self._inherited_ms:
            starts.append(self._inherited_ms)
        return min(starts, default=0)

    def adopt(self, saved: SessionResume) -> None:
        """Another process had the session, and may have left its gap."""
        self._session = saved.session
        recent = saved.gap_since_ms > wall_ms() - LONGEST_GAP_MS
        self._inherited_ms = saved.gap_since_ms if recent else 0

    def inherit(self, since_ms: int, sequence: int) -> None:
        """A session of another number of shards left a gap: it is read once what this session has
        received, up to the sequence, is stored."""
        self._inherited_ms = min(self._inherited_ms or since_ms, since_ms)
        self._resumed_at = sequence
        self._inherit.clear()  # a gap that is due already is read together with this one

    def resumed(self, sequence: int) -> None:
        """RESUMED: everything that the session had missed has been received."""
        if self._inherited_ms:
            self._resumed_at = sequence

    def session_started(
        self, session: SessionId, data: bytes, before: SessionResume | None
    ) -> None:
        """READY: a session that continues none. ``before``: what was saved of the last one; a
        shard id without is new and lacks nothing."""
        guilds = guilds_of_ready(data)
        new = None if before is None else start_of_gap(before)
        since: dict[GuildId, int] = {}
        for guild in guilds:
            starts = [start for start in (self._since.get(guild), new) if start is not None]
            if starts:
                since[guild] = min(starts)
        self._since = since
        self._session = session
        self._inherited_ms = 0
        self._resumed_at = None
        self._inherit.clear()
        self._waiting.clear()
        self._ready.clear()
        self._history.begin()
        if new is not None:
            log.warning(
                "shard %d: the session could not be resumed, reading the last %d s of %d guilds",
                self._shard,
                (wall_ms() - new) // 1000,
                len(guilds),
            )

    def received(
        self, session: SessionId, sequence: int, guild: GuildId, event: str, data: bytes
    ) -> None:
        """A dispatch that is queued for its guild's log."""
        try:
            if event in EVENT_OF.values():
                self._heard[_decode_id(data).id] = None
                if len(self._heard) > HEARD:
                    del self._heard[next(iter(self._heard))]
            elif event == "GUILD_CREATE" and guild in self._since:
                snapshot = _decode_snapshot(data)
                if not snapshot.unavailable:
                    since_ms = self._since[guild]
                    channels = [*(snapshot.channels or []), *(snapshot.threads or [])]
                    self._waiting.append(
                        Gap(
                            guild=guild,
                            session=session,
                            sequence=sequence,
                            since_ms=since_ms,
                            channels=active(channels, since_ms),
                        )
                    )
            elif event == "GUILD_DELETE" and not _decode_snapshot(data).unavailable:
                self._since.pop(guild, None)  # the bot was removed
        except _MALFORMED as error:
            log.info("a malformed %s is not looked at: %s", event, error)

    def stored(self, session: SessionId, sequence: int) -> None:
        """Everything of the session up to the sequence is on the bus."""
        while self._waiting and (
            self._waiting[0].session == session and self._waiting[0].sequence <= sequence
        ):
            self._ready.append(self._waiting.popleft())
            self._changed.set()
        if self._resumed_at is not None and self._resumed_at <= sequence:
            self._resumed_at = None
            self._inherit.set()

    async def run(self) -> None:
        """Read and append until cancelled."""
        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(self._take_over())
                for _ in range(GUILDS_AT_ONCE):
                    group.create_task(self._work())
        finally:
            if self._since:
                log.warning(
                    "shard %d: the gap of %d guilds is not read to its end",
                    self._shard,
                    len(self._since),
                )

    async def _take_over(self) -> None:
        """Begin again what another process left."""
        while True:
            await self._inherit.wait()
            session = self._session
            try:
                guilds = await self._registry.present(self._shard, self._shard_count)
            except BusError as error:
                log.warning("shard %d: guilds with a gap are not known: %s", self._shard, error)
                await asyncio.sleep(RETRY_S)
                continue
            if session is None or session != self._session or not self._inherit.is_set():
                continue
            log.warning("shard %d: reads the gap of %d guilds again", self._shard, len(guilds))
            self._inherit.clear()
            since_ms, self._inherited_ms = self._inherited_ms, 0
            self._resumed_at = None  # of a RESUMED that came meanwhile: nothing is left for it
            for guild in guilds:
                self._since[guild] = since_ms
                self._ready.append(
                    Gap(guild=guild, session=session, sequence=0, since_ms=since_ms, channels=None)
                )
            self._changed.set()

    async def _work(self) -> None:
        while True:
            while not self._ready:
                self._changed.clear()
                await self._changed.wait()
            gap = self._ready.popleft()
            try:
                with span("catch up", parent="", guild=gap.guild, shard=self._shard):
                    await self._fill(gap)
            except CannotStart as error:
                log.warning("guild %s: its gap is not read: %s", gap.guild, error)
                self._history.give_up()
            except Exception:  # history is a help: nothing that it holds may stop the live log
                log.exception("guild %s: its gap is not read", gap.guild)
            if gap.session == self._session:
                self._since.pop(gap.guild, None)

    async def _fill(self, gap: Gap) -> None:
        found = await self._history.read(gap)
        appended = 0
        for item in found:
            if str(item.id) not in self._heard and await self._append(gap, item):
                appended += 1
        log.info("guild %s: %d inputs read after the gap", gap.guild, appended)

    async def _append(self, gap: Gap, item: Found) -> bool:
        data = encode(
            DiscordDispatch(
                session=gap.session,
                shard=self._shard,
                sequence=gap.sequence,
                event=EVENT_OF[item.kind],
                catch_up=True,
                data=msgspec.Raw(msgspec.json.encode(item.data)),
            )
        )
        if len(data) > MAX_INPUT_BYTES:
            log.error("guild %s: %d bytes are more than the bus takes", gap.guild, len(data))
            return False
        fields = {**carry(), headers.MSG_ID: catch_up_id(item.kind, str(item.id))}
        while True:
            await self._gate.opened()
            if gap.session != self._session:
                return False  # a newer session's snapshot begins again
            try:
                await self._bus.append(subjects.inputs(gap.guild), data, fields)
            except TooLarge as error:
                log.warning("guild %s: %s", gap.guild, error)
                return False
            except BusError as error:
                log.warning("guild %s: not appended yet: %s", gap.guild, error)
                await asyncio.sleep(RETRY_S)
            else:
                return True


def guilds_of_ready(data: bytes) -> set[GuildId]:
    """The guilds that a READY announces."""
    try:
        return {GuildId(guild.id) for guild in _decode_ready(data).guilds}
    except _MALFORMED as error:
        log.warning("a READY without its guilds: %s", error)
        return set()


def start_of_gap(before: SessionResume) -> int:
    """From when on dispatches may be missing, after the session that was saved is lost."""
    start_ms = (before.received_ms or before.saved_ms) - MARGIN_MS
    if before.gap_since_ms:
        start_ms = min(start_ms, before.gap_since_ms)
    return max(start_ms, wall_ms() - LONGEST_GAP_MS)
