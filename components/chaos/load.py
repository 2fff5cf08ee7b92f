"""The mixed traffic of a round: texts by members through the shards, strangers who post where
nobody should and are banned for it (and unbanned: a softban), requests through the edges,
settings written on the bus, questions of moderators through shards and edges, probes, and moves
where config offers them.

Runs until `stop`; raises the simulator's errors as they are.
"""

import asyncio
import itertools
import random
import time
from collections.abc import Callable
from pathlib import Path

from components.bus.connection import Bus
from components.bus.errors import BusError
from components.chaos.clients import Asked, Clients
from components.chaos.doors import SESSION, Doors
from components.chaos.probes import Probes
from components.chaos.questions import ask_for_cases
from components.chaos.town import Town
from components.simulator.client import ControlError, GuildInfo, SimulatorControl
from components.traffic import corpus, plan
from components.traffic.driver import REGULARS, Members
from components.traffic.guilds import HONEYPOT
from components.traffic.journal import Posted
from contracts import headers, subjects
from contracts.ids import GuildId, PodId
from contracts.message import encode
from contracts.operations import MoveGuilds

RATE = 6.0
"""Texts a second over all talking guilds: half of Discord's global limit is left for the rest."""
READERS = 3
WRITERS = 2
READ_PAUSE_S = 0.08
WRITE_PAUSE_S = 0.3
MOVE_PAUSE_S = 1.5
TRAP_PAUSE_S = 1.0
"""Between two strangers, on average: one costs about eight requests to Discord."""


class Load:
    """A round's traffic and everything that was noted about it."""

    def __init__(
        self,
        *,
        control: SimulatorControl,
        bus: Bus,
        town: Town,
        edges: dict[str, str],
        token: Path,
        dice: random.Random,
        strangers: random.Random,
        patience_s: float,
        pods: list[str],
        pid: Callable[[str], int | None],
    ) -> None:
        self.posted: list[Posted] = []
        self.questions: list[int] = []
        self.moved: list[str] = []
        """Guilds whose move config has accepted."""
        self.probes = Probes(bus, control, town.probed)
        self.doors = Doors(control, edges, pid)
        secret = token.read_text(encoding="utf-8").strip()
        self._clients = Clients(edges, secret, bus, dice, patience_s)
        self._control = control
        self._bus = bus
        self._town = town
        self._dice = dice
        self._strangers = strangers
        self._pods = pods
        self._stop = asyncio.Event()

    @property
    def asked(self) -> list[Asked]:
        """The clients' log."""
        return self._clients.log

    def stop(self) -> None:
        """Begin nothing more; `run` returns when what is under way has ended."""
        self._stop.set()
        self._clients.stop()
        self.probes.stop()

    async def run(self) -> None:
        """Make traffic until `stop`."""
        async with asyncio.TaskGroup() as group:
            group.create_task(self._post())
            group.create_task(self._fall_into_traps())
            group.create_task(self.probes.run())
            group.create_task(self.doors.watch(self._stop))
            group.create_task(self._ask())
            talking = self._town.talking
            for number in range(READERS):
                name = f"reader-{number}"
                group.create_task(self._clients.read(name, self._town.ids, READ_PAUSE_S))
            for number in range(WRITERS):
                own = talking[number::WRITERS]
                writing = self._clients.write(f"writer-{number}", own, WRITE_PAUSE_S)
                group.create_task(writing)
            group.create_task(self._move())

    async def _ask(self) -> None:
        way = SESSION

        def note() -> None:
            if way != SESSION and self.questions:
                self.doors.posted.setdefault(self.questions[-1], way)

        async def another_way() -> None:
            nonlocal way
            note()
            way = await self.doors.next()

        try:
            await ask_for_cases(
                self._control, self._town.talking, self.questions, self._stop, another_way
            )
        finally:
            note()
            await self.doors.close()

    async def _post(self) -> None:
        texts = corpus.read([])
        guilds = self._town.talking
        seed = self._dice.getrandbits(32)
        members = Members(self._control, guilds, seed)
        posts = plan.posts(texts, guilds=len(guilds), regulars=REGULARS, seed=seed, rounds=None)
        began = time.monotonic()
        for number, post in enumerate(posts):
            if await self._stopped(began + number / RATE - time.monotonic()):
                return
            guild = guilds[post.guild]
            channel = guild.channels[plan.CHANNELS[post.channel]]
            author = await members.id_of(post)
            try:
                message = await self._control.post(channel, author, post.text)
            except ControlError as error:
                if error.status not in (403, 404):
                    raise
                continue  # removed or timed out meanwhile
            self._note_post(guild, channel, author, message, label=post.label, role=post.role)

    async def _fall_into_traps(self) -> None:
        """Each time another stranger posts once in a guild's honeypot."""
        for number in itertools.count():
            if await self._stopped(self._strangers.uniform(0.5, 1.5) * TRAP_PAUSE_S):
                return
            guild = self._strangers.choice(self._town.talking)
            author = await self._control.join(guild.id, username=f"stranger-{number}")
            channel = guild.channels[HONEYPOT]
            message = await self._control.post(channel, author, "is anybody here?")
            self._note_post(guild, channel, author, message, label="", role="newcomer")

    def _note_post(
        self,
        guild: GuildInfo,
        channel: int,
        author: int,
        message: int,
        *,
        label: str,
        role: plan.Role,
    ) -> None:
        self.posted.append(
            Posted(
                message=str(message),
                guild=str(guild.id),
                channel=str(channel),
                author=str(author),
                label=label,
                role=role,
                posted_ms=time.time_ns() // 1_000_000,
            )
        )

    async def _move(self) -> None:
        """Ask config for a move now and then; an installation that offers none has none."""
        while not await self._stopped(MOVE_PAUSE_S):
            guild = GuildId(str(self._dice.choice(self._town.talking).id))
            pod = PodId(self._dice.choice(self._pods))
            wanted = MoveGuilds(guilds=[guild], pod=pod, by="chaos")
            try:
                subject = subjects.config_endpoint("move")
                answer = await self._bus.ask(subject, encode(wanted), timeout_s=2.0)
            except BusError:
                continue  # no leader at the moment, or no such endpoint
            if headers.SERVICE_ERROR not in (answer.headers or {}):
                self.moved.append(guild)

    async def _stopped(self, within_s: float) -> bool:
        """Whether the end came while waiting."""
        try:
            async with asyncio.timeout(max(0.0, within_s)):
                await self._stop.wait()
        except TimeoutError:
            return False
        return True
