"""Clients that keep a log: what they asked, what they were told, what they had seen before.

Readers go through the edges, each with the ETag of the newest state it has seen; an edge that
refuses the connection, or says nothing for `TRY_S`, is left for the next one, as a load balancer
does, whatever the scenario's patience. Writers put settings on the bus under one request id a
write, however often it is sent, for `WRITE_PATIENCE_S` at least, and then read them back through an
edge. A request has failed when nobody served it within the scenario's patience.
"""

import asyncio
import random
import time
import uuid
from typing import Any, Literal

import aiohttp
import msgspec

from components.bus.connection import Bus
from components.bus.errors import BusError
from components.simulator.client import GuildInfo
from components.traffic.guilds import settings_for
from contracts import headers, subjects
from contracts.errors import ErrorCode
from contracts.ids import GuildId
from contracts.inputs import Actor
from contracts.message import decode, encode
from contracts.requests import PutSettings, SettingsView

TRY_S = 3.0
"""One attempt: the edge's own deadline (2 s) and some."""
AGAIN_S = 0.1
WRITE_PATIENCE_S = 5.0
"""A write is retried at least so long by whoever makes it (`components.cli.asking`)."""
FIRST_TIMEOUT_S = 3600
"""What writers change is this setting: its value names the write."""


class Asked(msgspec.Struct, frozen=True, kw_only=True):
    """One request and what came of it."""

    kind: Literal["read", "write"]
    guild: GuildId
    client: str
    via: str
    """The edge, or the bus."""
    began_ms: float
    ended_ms: float = 0.0
    served: bool = False
    attempts: int = 0
    words: str = ""
    """Why it was not served."""
    epoch: int = 0
    applied: int = 0
    min_applied: int = 0
    """What the client had seen before."""
    version: int = 0
    """Of the settings that were read or written."""
    mark: int = 0
    """The value that was read or written."""
    request: str = ""
    """Id of a write."""


class Clients:
    """All clients of a round, and their log."""

    def __init__(
        self, edges: dict[str, str], token: str, bus: Bus, dice: random.Random, patience_s: float
    ) -> None:
        self.log: list[Asked] = []
        self._edges = edges
        self._headers = {"Authorization": f"Bearer {token}"}
        self._bus = bus
        self._dice = dice
        self._patience_s = patience_s
        self._stop = asyncio.Event()

    def stop(self) -> None:
        """Begin no more requests."""
        self._stop.set()

    async def read(self, name: str, guilds: list[GuildId], pause_s: float) -> None:
        """Read one guild's settings after the other's until `stop`."""
        seen: dict[GuildId, int] = {}
        async with _session() as session:
            while not self._stop.is_set():
                guild = self._dice.choice(guilds)
                asked = await self._read(session, name, guild, seen.get(guild, 0))
                seen[guild] = max(seen.get(guild, 0), asked.applied)
                await self._pause(pause_s)

    async def write(self, name: str, guilds: list[GuildInfo], pause_s: float) -> None:
        """Change one guild's settings after the other's, and read each change back, until `stop`.
        Nobody else writes these guilds' settings."""
        mark = FIRST_TIMEOUT_S
        async with _session() as session:
            while not self._stop.is_set():
                guild = self._dice.choice(guilds)
                mark += 1
                asked = await self._write(name, guild, mark)
                if asked.served:
                    await self._read(session, name, asked.guild, asked.applied)
                await self._pause(pause_s)

    async def _read(
        self, session: aiohttp.ClientSession, client: str, guild: GuildId, seen: int
    ) -> Asked:
        asked = Asked(
            kind="read", guild=guild, client=client, via="", began_ms=_now_ms(), min_applied=seen
        )
        until = time.monotonic() + self._patience_s
        edges = list(self._edges)
        self._dice.shuffle(edges)
        attempts = unreachable = 0
        while True:
            edge = edges[attempts % len(edges)]
            attempts += 1
            try:
                told = await self._get(session, edge, guild, seen)
            except (aiohttp.ClientError, TimeoutError) as error:
                # a dead edge: the next one is asked before anything is called failed
                told = {"words": str(error) or type(error).__name__}
                unreachable += 1
                if unreachable < len(edges):
                    continue
            if told.get("served") or time.monotonic() >= until:
                return self._note(asked, via=edge, attempts=attempts, **told)
            await asyncio.sleep(AGAIN_S)

    async def _get(
        self, session: aiohttp.ClientSession, edge: str, guild: GuildId, seen: int
    ) -> dict[str, Any]:
        """One attempt: what it adds to the log's entry."""
        fields = dict(self._headers)
        if seen:
            fields[headers.MIN_APPLIED] = str(seen)
        url = f"{self._edges[edge]}/api/guilds/{guild}/settings"
        async with session.get(url, headers=fields) as answer:
            body = await answer.read()
            if answer.status != 200:
                return {"words": f"{answer.status} {body[:200].decode(errors='replace')}"}
            view = decode(body, SettingsView)
            epoch, _, applied = answer.headers["ETag"].strip('"').partition("-")
            return {
                "served": True,
                "epoch": int(epoch),
                "applied": int(applied),
                "version": view.version,
                "mark": view.settings.spam.timeout_s,
            }

    async def _write(self, client: str, guild: GuildInfo, mark: int) -> Asked:
        name = GuildId(str(guild.id))
        settings = settings_for(guild)
        spam = msgspec.structs.replace(settings.spam, timeout_s=mark)
        request = PutSettings(
            actor=Actor(kind="operator", id=client),
            settings=msgspec.Raw(encode(msgspec.structs.replace(settings, spam=spam))),
        )
        asked = Asked(
            kind="write",
            guild=name,
            client=client,
            via="bus",
            began_ms=_now_ms(),
            mark=mark,
            request=uuid.uuid4().hex,
        )
        until = time.monotonic() + max(WRITE_PATIENCE_S, self._patience_s)
        attempts = 0
        while True:
            attempts += 1
            told = await self._put(asked, request)
            if told.get("served") or not told.pop("again", False) or time.monotonic() >= until:
                return self._note(asked, attempts=attempts, **told)
            await asyncio.sleep(AGAIN_S)

    async def _put(self, asked: Asked, request: PutSettings) -> dict[str, Any]:
        """One attempt: what it adds to the log's entry, and whether to try ``again``."""
        fields = {headers.REQUEST_ID: asked.request, headers.DEADLINE_MS: "2000"}
        subject = subjects.request(asked.guild, PutSettings.verb)
        try:
            reply = await self._bus.ask(subject, encode(request), fields, timeout_s=2.5)
        except BusError as error:
            return {"words": str(error) or type(error).__name__, "again": True}
        told = reply.headers or {}
        if words := told.get(headers.SERVICE_ERROR, ""):
            code = told.get(headers.SERVICE_ERROR_CODE, "")
            return {"words": f"{code} {words}", "again": code in _AGAIN}
        return {
            "served": True,
            "epoch": int(told[headers.EPOCH]),
            "applied": int(told[headers.APPLIED]),
            "version": decode(reply.data, SettingsView).version,
        }

    def _note(self, asked: Asked, **told: Any) -> Asked:
        ended = msgspec.structs.replace(asked, ended_ms=_now_ms(), **told)
        self.log.append(ended)
        return ended

    async def _pause(self, seconds: float) -> None:
        try:
            async with asyncio.timeout(self._dice.uniform(0.5, 1.5) * seconds):
                await self._stop.wait()
        except TimeoutError:
            return


_AGAIN = {str(code) for code in (ErrorCode.UNAVAILABLE, ErrorCode.TIMEOUT, ErrorCode.MOVED)}
"""Refusals that say: ask again under the same request id."""


def _now_ms() -> float:
    return time.time() * 1000


def _session() -> aiohttp.ClientSession:
    return aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=TRY_S))
