"""From one shard id's socket to the bus: numbers, translates and queues what Discord sends.

Promise: each dispatch of a session is queued once, in order: what a RESUME repeats and is still
queued is skipped. A dispatch is confirmed to Discord when it and all before it are on the bus and
that is saved for a replacement (`ResumeData`). While another number of shards is still served,
guilds are kept back (`Overlap`).

Fails: `QueueFull` goes to the socket's reader, which closes it.
"""

import asyncio
import logging
from collections.abc import Callable

from components.process.clock import steady_s, wall_ms
from components.shard.appender import Appender, Dispatch
from components.shard.catch_up import CatchUp, guilds_of_ready
from components.shard.dispatches import INTERACTION, Translator
from components.shard.interactions import FirstResponder
from components.shard.overlap import Overlap
from components.shard.registry import Registry, change_of
from components.shard.resume_data import ResumeData
from components.telemetry.traces import carry, span
from contracts.ids import GuildId, SessionId
from contracts.records import SessionResume

log = logging.getLogger(__name__)

QUIET_S = 10.0
"""A session that has brought no further guild for so long has brought all: some may be away in an
outage of Discord's, and of a resumed session nobody knows how many it has."""


class Intake:
    """The receiver (`websocket.Receiver`) of one shard id, across its sessions."""

    def __init__(
        self,
        *,
        shard: int,
        shard_count: int,
        translator: Callable[[SessionId], Translator],
        appender: Appender,
        resume_data: ResumeData,
        registry: Registry,
        first_responder: FirstResponder,
        catch_up: CatchUp,
        overlap: Overlap | None = None,
    ) -> None:
        self._overlap = overlap or Overlap(0)
        self._shard = shard
        self._shard_count = shard_count
        self._new_translator = translator
        self._appender = appender
        self._resume_data = resume_data
        self._registry = registry
        self._first_responder = first_responder
        self._catch_up = catch_up
        self._translator: Translator | None = None
        self._resume_url = ""
        self._received = 0
        self._closed = False
        self._awaited: set[GuildId] | None = None
        """Guilds of the session whose GUILD_CREATE has not come; None: nobody knows."""
        self._last_guild_s = float("inf")
        self._released_at: int | None = None
        self.guilds: set[GuildId] = set()
        """Guilds that this process has heard of in the session."""
        self.dispatches = 0
        self.started = asyncio.Event()
        """Set by READY and RESUMED, cleared by `connecting`."""

    def adopt(self, data: SessionResume) -> None:
        """Go on with the session that another process had."""
        self._begin(data.session, data.resume_url)
        self._received = data.sequence
        self._catch_up.adopt(data)

    def forget(self) -> None:
        """The session is over; the next connection identifies."""
        self._translator = None
        self._resume_url = ""

    def connecting(self) -> None:
        """A new connection is made."""
        self.started.clear()

    @property
    def complete(self) -> bool:
        """Whether the session has all its guilds."""
        quiet = self.started.is_set() and steady_s() - self._last_guild_s > QUIET_S
        return self._awaited == set() or quiet

    @property
    def caught_up(self) -> bool:
        """Whether everything is stored that was kept back."""
        confirmed, released_at = self.confirmed(), self._released_at
        return released_at is not None and confirmed is not None and confirmed >= released_at

    def released(self, gap_since_ms: int) -> None:
        """Guilds are kept back no longer; ``gap_since_ms`` as in `SessionResume`."""
        self._released_at = self._received
        if gap_since_ms:
            self._catch_up.inherit(gap_since_ms, self._received)
        self._appender.release()

    def close(self) -> None:
        """Take nothing more: what comes from here on is for others to deliver."""
        self._closed = True

    @property
    def session(self) -> tuple[SessionId, str] | None:
        """Session and URL to resume, if there is something to resume from."""
        if self._translator is None or self.confirmed() is None:
            return None
        return self._translator.session, self._resume_url

    def confirmed(self) -> int | None:
        """The current session's sequence that Discord may forget."""
        saved = self._resume_data.saved
        if self._translator is None or saved is None or saved.session != self._translator.session:
            return None
        return saved.sequence

    def session_started(self, session: str, resume_url: str) -> None:
        """READY: a new session; what the last one left in the queue goes first."""
        log.info("shard %d has a new session", self._shard)
        self._begin(SessionId(session), resume_url)
        self.guilds.clear()
        self._awaited = None
        if self._released_at is not None:
            self._released_at = 0

    def dispatched(self, sequence: int, event: str, data: bytes) -> None:
        """Queue a dispatch. Raises `QueueFull`."""
        if self._translator is None or sequence <= self._received or self._closed:
            return
        if sequence != self._received + 1:
            log.error(
                "shard %d: dispatches %d to %d are missing",
                self._shard,
                self._received + 1,
                sequence - 1,
            )
        self._appender.require_room(len(data))
        received_s = steady_s()
        with span("discord dispatch", parent="", event=event, shard=self._shard):
            translated = self._translator.translate(
                sequence, event, data, self._overlap.may_be_double
            )
            dispatch = Dispatch(
                session=self._translator.session,
                sequence=sequence,
                received_ms=wall_ms(),
                appends=translated.appends,
                fields=carry(),
            )
            guild = translated.guild
            change = change_of(guild, self._shard, event, data) if guild else None
            if change is not None:
                wanted = change
                dispatch.holds = 1
                dispatch.on_stored = lambda _: self._registry.note(
                    wanted, lambda: self._appender.let_go(dispatch)
                )
            elif event == INTERACTION and self._keeps_back(guild):
                dispatch.on_stored = self._first_responder.kept_back(data, guild, received_s)
            # before it is queued: what needs no append is stored at once
            if event == "READY":
                self._awaited = guilds_of_ready(data)
                self._catch_up.session_started(dispatch.session, data, self._resume_data.saved)
            elif event == "RESUMED":
                self._catch_up.resumed(sequence)
            self._appender.put(dispatch)
            self._received = sequence
            self.dispatches += 1
            if guild is not None:
                self._catch_up.received(dispatch.session, sequence, guild, event, data)
                gone = change is not None and not change.present
                (self.guilds.discard if gone else self.guilds.add)(guild)
                if event in ("GUILD_CREATE", "GUILD_DELETE"):
                    self._last_guild_s = received_s
                    if self._awaited:
                        self._awaited.discard(guild)
            if event == INTERACTION and dispatch.on_stored is None:
                self._first_responder.received(data, guild, received_s)
        if event in ("READY", "RESUMED"):
            self._last_guild_s = received_s
        if event in ("READY", "RESUMED"):
            log.info("shard %d is connected (%s)", self._shard, event)
            self.started.set()

    def stored(self, dispatch: Dispatch) -> None:
        """The appender has stored everything up to the dispatch."""
        if self._translator is None or dispatch.session != self._translator.session:
            return
        self._resume_data.want(
            SessionResume(
                session=dispatch.session,
                sequence=dispatch.sequence,
                resume_url=self._resume_url,
                shard=self._shard,
                shard_count=self._shard_count,
                saved_ms=wall_ms(),
                received_ms=dispatch.received_ms,
                gap_since_ms=self._catch_up.unread_since_ms,
            )
        )
        self._catch_up.stored(dispatch.session, dispatch.sequence)

    def _keeps_back(self, guild: GuildId | None) -> bool:
        if guild is None:  # shard 0's, of either number of shards
            return not self._overlap.over
        return self._overlap.keeps_back(guild)

    def _begin(self, session: SessionId, resume_url: str) -> None:
        self._translator = self._new_translator(session)
        self._resume_url = resume_url
        self._received = 0
