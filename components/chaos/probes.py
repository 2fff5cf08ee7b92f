"""Probes: how long nobody answered for a guild, how long none of its effects happened.

Reads: one question every `READ_EVERY_S` a guild, not waiting for the one before; the gap is the
longest time between two answers. Effects: one message every `POST_EVERY_S` a guild that must be
deleted; the gap is the longest time that one of them stayed.
"""

import asyncio
import time
from collections.abc import Iterable, Mapping, Sequence

import msgspec

from components.bus.connection import Bus
from components.bus.errors import BusError
from components.simulator.client import ControlError, GuildInfo, SimulatorControl
from components.simulator.record import Entry
from components.traffic.plan import CHANNELS
from components.traffic.reading import rest_calls, succeeded
from contracts import headers, subjects
from contracts.ids import GuildId
from contracts.message import encode
from contracts.requests import GetSettings

READ_EVERY_S = 0.03
POST_EVERY_S = 0.25
UNDER_WAY = 60
"""Questions that wait for an answer at once; more would be a leak, not a measurement."""
ANSWER_S = 1.0


class Answered(msgspec.Struct, frozen=True, kw_only=True):
    """One answer to a probe."""

    guild: GuildId
    asked_ms: float
    at_ms: float
    epoch: int
    applied: int


class ProbePost(msgspec.Struct, frozen=True, kw_only=True):
    """One message that must be deleted."""

    guild: GuildId
    message: str
    posted_ms: float


class Probes:
    """The probes of a round's probed guilds."""

    def __init__(self, bus: Bus, control: SimulatorControl, guilds: Sequence[GuildInfo]) -> None:
        self.answers: list[Answered] = []
        self.posts: list[ProbePost] = []
        self.asked = 0
        self._bus = bus
        self._control = control
        self._guilds = guilds
        self._stop = asyncio.Event()

    def stop(self) -> None:
        """Ask and post no more."""
        self._stop.set()

    async def run(self) -> None:
        """Probe until `stop`."""
        async with asyncio.TaskGroup() as group:
            for guild in self._guilds:
                group.create_task(self._ask(GuildId(str(guild.id))))
                group.create_task(self._post(guild))

    async def _ask(self, guild: GuildId) -> None:
        waiting: set[asyncio.Task[None]] = set()
        while not self._stop.is_set():
            if len(waiting) < UNDER_WAY:
                task = asyncio.create_task(self._ask_once(guild))
                waiting.add(task)
                task.add_done_callback(waiting.discard)
            await self._pause(READ_EVERY_S)
        await asyncio.gather(*waiting)

    async def _ask_once(self, guild: GuildId) -> None:
        self.asked += 1
        asked_ms = time.time() * 1000
        subject = subjects.request(guild, GetSettings.verb)
        fields = {headers.DEADLINE_MS: str(int(ANSWER_S * 1000))}
        try:
            reply = await self._bus.ask(subject, encode(GetSettings()), fields, timeout_s=ANSWER_S)
        except BusError:
            return  # nobody answered: that is what is measured
        told = reply.headers or {}
        if headers.SERVICE_ERROR in told:
            return
        self.answers.append(
            Answered(
                guild=guild,
                asked_ms=asked_ms,
                at_ms=time.time() * 1000,
                epoch=int(told[headers.EPOCH]),
                applied=int(told[headers.APPLIED]),
            )
        )

    async def _post(self, guild: GuildInfo) -> None:
        name = GuildId(str(guild.id))
        author = await self._control.join(
            guild.id,
            username="prober",
            created_at="2016-01-01T00:00:00+00:00",
            joined_at="2020-01-01T00:00:00+00:00",
        )
        number = 0
        while not self._stop.is_set():
            channel = guild.channels[CHANNELS[number % len(CHANNELS)]]
            number += 1
            posted_ms = time.time() * 1000
            try:
                message = await self._control.post(
                    channel, author, f"claim your free nitro gift, number {number}"
                )
            except ControlError as error:
                if error.status not in (403, 404):
                    raise
                return  # the member is gone
            self.posts.append(ProbePost(guild=name, message=str(message), posted_ms=posted_ms))
            await self._pause(POST_EVERY_S)

    async def _pause(self, seconds: float) -> None:
        try:
            async with asyncio.timeout(seconds):
                await self._stop.wait()
        except TimeoutError:
            return


def read_gaps(
    answers: Iterable[Answered], guilds: Iterable[GuildId], from_ms: float, to_ms: float
) -> list[float]:
    """For each guild the longest time without an answer, in seconds, between the two moments."""
    times: dict[GuildId, list[float]] = {guild: [from_ms] for guild in guilds}
    for answer in sorted(answers, key=lambda answer: answer.at_ms):
        if answer.guild in times and from_ms <= answer.at_ms <= to_ms:
            times[answer.guild].append(answer.at_ms)
    return [
        max(later - earlier for earlier, later in zip(ats, [*ats[1:], to_ms], strict=True)) / 1000
        for ats in times.values()
    ]


def effect_gaps(
    posts: Iterable[ProbePost],
    deleted_ms: Mapping[str, float],
    guilds: Iterable[GuildId],
    from_ms: float,
) -> list[float]:
    """For each guild the longest time, in seconds, between posting a message and its deletion, of
    those that were not deleted when the fault began. A guild with none is left out: its lost
    effects are reported as such."""
    gaps = []
    for guild in guilds:
        stayed = [
            deleted_ms[post.message] - post.posted_ms
            for post in posts
            if post.guild == guild and deleted_ms.get(post.message, 0.0) >= from_ms
        ]
        if stayed:
            gaps.append(max(stayed) / 1000)
    return gaps


def deletions(record: Sequence[Entry]) -> dict[str, float]:
    """Message to the moment its deletion took effect."""
    found: dict[str, float] = {}
    for entry in rest_calls(record, "DELETE", "/messages/"):
        if succeeded(entry):
            found.setdefault(entry.data["path"].rsplit("/", 1)[1], entry.at_ms)
    return found
