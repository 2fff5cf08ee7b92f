"""Which guilds this pod owns: follows bucket ``guilds``, opens and closes accordingly.

An assignment that names this pod and incarnation opens the guild at its epoch; one that does not
(any more) closes it. After every reconnect the gate stays closed until a renewal sent on the new
connection was acknowledged and all assignments were read again.

Several openings run at once (bounded by `Services.opening`); one guild is opened only after its
earlier epoch on this pod is closed, with its requests to Discord ended and reported.
"""

import asyncio
import logging

from components.bus.buckets import Bucket, Entry
from components.bus.errors import BusError
from components.gateway.shell.guild import Guild, Services
from contracts import storage
from contracts.ids import Epoch, GuildId, is_snowflake
from contracts.message import MalformedMessage, decode
from contracts.records import Assignment

log = logging.getLogger(__name__)


class Ownership:
    """The guilds of this pod."""

    def __init__(self, services: Services) -> None:
        self._services = services
        self._bucket = Bucket(services.bus, storage.GUILDS)
        self._wanted: dict[GuildId, Assignment] = {}
        self._revisions: dict[str, int] = {}
        self._keepers: dict[GuildId, asyncio.Task[None]] = {}
        self.guilds: dict[GuildId, Guild] = {}
        """By guild, while it is ours or still closing."""
        self._stopping = False
        self._reading = asyncio.Lock()

    @property
    def assigned(self) -> set[GuildId]:
        """All guilds that are assigned to this pod and incarnation."""
        return set(self._wanted)

    @property
    def open_count(self) -> int:
        """Guilds that are caught up and served."""
        return sum(1 for guild in self.guilds.values() if guild.is_open)

    async def read_again(self, link: int) -> None:
        """Read every assignment on connection ``link`` and open the gate for it."""
        async with self._reading:
            if self._services.bus.link != link or self._services.gate.confirmed(link):
                return
            known = {guild: self._revisions[guild] for guild in self._wanted}
            try:
                entries = await self._bucket.snapshot()
            except BusError as error:
                log.warning("assignments not read yet: %s", error)
                return
            for entry in entries.values():
                self._apply(entry)
            for guild, revision in known.items():
                # A later one than the snapshot may have come over the watch meanwhile.
                if guild not in entries and self._revisions[guild] == revision:
                    self._unwant(guild, "its assignment is gone")
            if self._services.bus.link == link:
                self._services.gate.confirm(link)

    async def follow(self) -> None:
        """Follow the assignments until cancelled."""
        async for entry in self._bucket.watch():
            if entry is not None:
                self._apply(entry)

    async def stop(self) -> None:
        """Close every guild; returns when what was under way has ended."""
        self._stopping = True
        self._wanted.clear()
        for guild in self.guilds.values():
            guild.close("the pod stops")
        if keepers := list(self._keepers.values()):
            await asyncio.wait(keepers)

    def link_lost(self) -> None:
        """The connection is gone: nothing is sent, and effects wait for the end of their log."""
        for guild in self.guilds.values():
            guild.hold_effects()

    def _apply(self, entry: Entry) -> None:
        if not is_snowflake(entry.key) or self._stopping:
            return
        if entry.revision < self._revisions.get(entry.key, 0):
            return  # a watch that is behind a read
        self._revisions[entry.key] = entry.revision
        guild = GuildId(entry.key)
        assignment = _assignment(entry)
        services = self._services
        if (
            assignment is None
            or assignment.guild != guild
            or assignment.pod != services.pod
            or assignment.incarnation != services.incarnation
        ):
            self._unwant(guild, "it is assigned elsewhere")
            return
        known = self._wanted.get(guild)
        if known is not None and known.epoch == assignment.epoch:
            return
        if known is not None:
            self._unwant(guild, f"epoch {assignment.epoch} follows")
        self._wanted[guild] = assignment
        services.gate.assign(guild, assignment.epoch)
        if guild not in self._keepers:
            self._keepers[guild] = services.spawn(self._keep(guild))

    def _unwant(self, guild: GuildId, reason: str) -> None:
        known = self._wanted.pop(guild, None)
        if known is not None:
            self._services.gate.withdraw(guild, known.epoch)
        held = self.guilds.get(guild)
        if held is not None:
            held.close(reason)

    async def _keep(self, guild: GuildId) -> None:
        """Own the guild at one epoch after the other, while it is assigned to us."""
        done: Epoch | None = None
        try:
            while (wanted := self._wanted.get(guild)) is not None and wanted.epoch != done:
                held = self.guilds[guild] = Guild(self._services, wanted)
                await held.run()
                done = wanted.epoch
        finally:
            self.guilds.pop(guild, None)
            self._keepers.pop(guild, None)


def _assignment(entry: Entry) -> Assignment | None:
    if entry.value is None:
        return None
    try:
        return decode(entry.value, Assignment)
    except MalformedMessage as error:
        log.error(  # noqa: TRY400 the words say all
            "assignment of guild %s is not readable: %s", entry.key, error
        )
        return None
