"""Clients that keep a log: what they asked, what they were told, what they had seen before.

Readers go through the edges, each with the ETag of the newest state it has seen; an edge that
refuses the connection is left for the next one, as a load balancer does. Writers put settings on
the bus under one request id a write, however often it is sent, and then read them back through an
edge. A request has failed when nobody served it within the scenario's patience.
"""

import asyncio
import random
import time
import uuid
from typing import Literal

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
    ended_ms: float
    served: bool
    attempts: int
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
        began = time.time() * 1000
        until = time.monotonic() + self._patience_s
        edges = list(self._edges)
        self._dice.shuffle(edges)
        attempts, refused = 0, 0
        while True:
            edge = edges[attempts % len(edges)]
            attempts += 1
            fields = dict(self._headers)
            if seen:
                fields[headers.MIN_APPLIED] = str(seen)
            try:
                url = f"{self._edges[edge]}/api/guilds/{guild}/settings"
                async with session.get(url, headers=fields) as answer:
                    body = await answer.read()
                    words = f"{answer.status} {body[:200].decode(errors='replace')}"
                    if answer.status == 200:
                        view = decode(body, SettingsView)
                        epoch, _, applied = answer.headers["ETag"].strip('"').partition("-")
                        return self._note(
                            Asked(
                                kind="read",
                                guild=guild,
                                client=client,
                                via=edge,
                                began_ms=began,
                                ended_ms=time.time() * 1000,
                                served=True,
                                attempts=attempts,
                                epoch=int(epoch),
                                applied=int(applied),
                                min_applied=seen,
                                version=view.version,
                                mark=view.settings.spam.timeout_s,
                            )
                        )
            except aiohttp.ClientConnectorError as error:
                # nobody listens there: the next edge, before anything is called failed
                words = str(error)
                refused += 1
                if refused < len(edges):
                    continue
            except (aiohttp.ClientError, TimeoutError) as error:
                words = str(error) or type(error).__name__
                refused += 1
                if refused < len(edges):
                    continue
            if time.monotonic() >= until:
                return self._note(
                    Asked(
                        kind="read",
                        guild=guild,
                        client=client,
                        via=edge,
                        began_ms=began,
                        ended_ms=time.time() * 1000,
                        served=False,
                        attempts=attempts,
                        words=words,
                        min_applied=seen,
                    )
                )
            await asyncio.sleep(AGAIN_S)

    async def _write(self, client: str, guild: GuildInfo, mark: int) -> Asked:
        name = GuildId(str(guild.id))
        settings = settings_for(guild)
        spam = msgspec.structs.replace(settings.spam, timeout_s=mark)
        request = PutSettings(
            actor=Actor(kind="operator", id=client),
            settings=msgspec.Raw(encode(msgspec.structs.replace(settings, spam=spam))),
        )
        request_id = uuid.uuid4().hex
        fields = {headers.REQUEST_ID: request_id, headers.DEADLINE_MS: "2000"}
        subject = subjects.request(name, PutSettings.verb)
        began = time.time() * 1000
        until = time.monotonic() + max(WRITE_PATIENCE_S, self._patience_s)
        attempts = 0
        while True:
            attempts += 1
            try:
                reply = await self._bus.ask(subject, encode(request), fields, timeout_s=2.5)
                told = reply.headers or {}
                words = told.get(headers.SERVICE_ERROR, "")
                if not words:
                    view = decode(reply.data, SettingsView)
                    return self._note(
                        Asked(
                            kind="write",
                            guild=name,
                            client=client,
                            via="bus",
                            began_ms=began,
                            ended_ms=time.time() * 1000,
                            served=True,
                            attempts=attempts,
                            epoch=int(told[headers.EPOCH]),
                            applied=int(told[headers.APPLIED]),
                            version=view.version,
                            mark=mark,
                            request=request_id,
                        )
                    )
                final = told.get(headers.SERVICE_ERROR_CODE, "") not in _AGAIN
            except BusError as error:
                words, final = str(error) or type(error).__name__, False
            if final or time.monotonic() >= until:
                return self._note(
                    Asked(
                        kind="write",
                        guild=name,
                        client=client,
                        via="bus",
                        began_ms=began,
                        ended_ms=time.time() * 1000,
                        served=False,
                        attempts=attempts,
                        words=words,
                        mark=mark,
                        request=request_id,
                    )
                )
            await asyncio.sleep(AGAIN_S)

    def _note(self, asked: Asked) -> Asked:
        self.log.append(asked)
        return asked

    async def _pause(self, seconds: float) -> None:
        try:
            async with asyncio.timeout(self._dice.uniform(0.5, 1.5) * seconds):
                await self._stop.wait()
        except TimeoutError:
            return


_AGAIN = {str(int(code)) for code in (ErrorCode.UNAVAILABLE, ErrorCode.TIMEOUT)}
"""Refusals that say: ask again under the same request id."""


def _session() -> aiohttp.ClientSession:
    return aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=TRY_S))
