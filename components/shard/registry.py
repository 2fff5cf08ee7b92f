"""Tells config which guilds exist: bucket ``registry``, written when something changed.

A GUILD_CREATE is confirmed to Discord only after its guild is in the registry, so a crash in
between repeats it (the caller holds the dispatch until `note`'s callback). Writes are retried
until they succeed; a later note of the same guild replaces the one that waits, so the queue is
bounded by the number of guilds.

What was found there is compared again after each reconnect: NATS may have lost its disks. The
shard's lease is lost with them, and its next session tells of every guild.
"""

import asyncio
import logging
from collections.abc import Callable

import msgspec

from components.bus.buckets import Bucket
from components.bus.connection import Bus
from components.bus.errors import BusError, WrongLastSequence
from components.process.clock import wall_ms
from components.shard.overlap import shard_of
from contracts import storage
from contracts.ids import GuildId
from contracts.message import MalformedMessage, decode, encode
from contracts.records import RegisteredGuild

log = logging.getLogger(__name__)

RETRY_S = 0.5


class _Note(msgspec.Struct, kw_only=True):
    wanted: RegisteredGuild
    done: list[Callable[[], None]]


class _Change(msgspec.Struct):
    name: str = ""
    unavailable: bool = False


class Registry:
    """The guilds that this replica has seen."""

    def __init__(self, bus: Bus) -> None:
        self._bus = bus
        self._bucket = Bucket(bus, storage.REGISTRY)
        self._known: dict[GuildId, RegisteredGuild] = {}
        """What the bucket says, as found over connection number `_link`."""
        self._link = bus.link
        self._notes: dict[GuildId, _Note] = {}
        self._changed = asyncio.Event()

    def note(self, guild: RegisteredGuild, done: Callable[[], None]) -> None:
        """Have the guild written if the registry says something else; then call ``done``."""
        waiting = self._notes.pop(guild.guild, None)
        callbacks = [*waiting.done, done] if waiting else [done]
        self._notes[guild.guild] = _Note(wanted=guild, done=callbacks)
        self._changed.set()

    async def run(self) -> None:
        """Write until cancelled."""
        while True:
            self._changed.clear()
            while self._notes:
                guild = next(iter(self._notes))
                note = self._notes[guild]
                try:
                    await self._write(note.wanted)
                except BusError as error:
                    log.warning("guild %s is not registered yet: %s", guild, error)
                    await asyncio.sleep(RETRY_S)
                    continue
                if self._notes.get(guild) is note:
                    del self._notes[guild]
                    for done in note.done:
                        done()
            await self._changed.wait()

    async def present(self, shard: int, shard_count: int) -> list[GuildId]:
        """The guilds of a shard id that the bot is in. Raises `BusError`."""
        entries = await self._bucket.snapshot()
        known = (_read(entry.value) for entry in entries.values())
        return [
            entry.guild
            for entry in known
            if entry and entry.present and shard_of(entry.guild, shard_count) == shard
        ]

    async def _write(self, wanted: RegisteredGuild) -> None:
        link = self._bus.link
        if self._link != link:
            self._link, self._known = link, {}
        if _same(self._known.get(wanted.guild), wanted):
            return
        entry = await self._bucket.get(wanted.guild)
        registered = _read(entry.value if entry else None)
        if not _same(registered, wanted):
            try:
                await self._bucket.replace(
                    wanted.guild, encode(wanted), entry.revision if entry else 0
                )
            except WrongLastSequence:
                await self._write(wanted)
                return
        if self._bus.link == link:
            self._known[wanted.guild] = wanted


def change_of(guild: GuildId, shard: int, event: str, data: bytes) -> RegisteredGuild | None:
    """What a dispatch says about whether the bot is in the guild; None if nothing."""
    if event not in ("GUILD_CREATE", "GUILD_UPDATE", "GUILD_DELETE"):
        return None
    try:
        change = msgspec.json.decode(data, type=_Change)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return None  # the owner quarantines it, visibly
    if change.unavailable:
        return None  # an outage; the bot is still a member
    present = event != "GUILD_DELETE"
    return RegisteredGuild(
        guild=guild, name=change.name, shard=shard, present=present, seen_ms=wall_ms()
    )


def _same(known: RegisteredGuild | None, wanted: RegisteredGuild) -> bool:
    if known is None or known.shard != wanted.shard or known.present != wanted.present:
        return False
    return known.name == wanted.name or not wanted.present  # a GUILD_DELETE has no name


def _read(value: bytes | None) -> RegisteredGuild | None:
    if value is None:
        return None
    try:
        return decode(value, RegisteredGuild)
    except MalformedMessage as error:
        log.warning("a registry entry cannot be read: %s", error)
        return None
