"""A whole stack of which any process can be stopped exactly before a write that is named."""

import asyncio
import contextlib
import os
import random
import signal
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import msgspec
import psutil

from components.bus.buckets import Bucket
from components.bus.errors import BusError
from components.chaos.arena import Arena
from components.chaos.inside.steps import Step
from components.chaos.run import loading
from components.chaos.watching import Watched
from components.stack.live import live_stack
from contracts import headers, storage, subjects
from contracts.ids import GuildId, PodId
from contracts.message import decode, encode
from contracts.operations import MoveGuilds, PauseBalance
from contracts.records import LeaderLease


class Town:
    """The stack, and what is waited for in it."""

    def __init__(self, arena: Arena) -> None:
        self.arena = arena
        self.bus = arena.live.bus
        self.watched = arena.watched

    async def seen(self, true: Callable[[], bool], words: str) -> None:
        """Wait until what the buckets have shown makes it true."""
        try:
            async with asyncio.timeout(60):
                while not true():
                    await self.watched.changed()
        except TimeoutError:
            raise AssertionError(f"not seen: {words}") from None

    async def settled(self, guild: GuildId) -> None:
        """Wait until the guild has an owner that serves it, a follower that has its rows, and
        nobody who is joining."""

        def is_settled() -> bool:
            owned = self.watched.assignments.get(guild)
            return (
                owned is not None
                and owned.joining is None
                and self.watched.is_open(guild)
                and self.watched.is_followed(guild)
            )

        await self.seen(is_settled, f"guild {guild} is served, followed, and nobody joins it")

    async def leader(self) -> str:
        """The replica of config that leads."""
        entry = await Bucket(self.bus, storage.LEADERS).get("config")
        assert entry is not None
        return decode(entry.value or b"", LeaderLease).holder

    async def node(self, bucket: str) -> str:
        """The NATS node that leads the bucket."""
        subject = f"$JS.API.STREAM.INFO.KV_{bucket}"
        answer = await self.bus.ask(subject, b"", timeout_s=5.0)
        return str(msgspec.json.decode(answer.data)["cluster"]["leader"])

    async def moves_nothing_by_itself(self) -> None:
        """Pause balance, once config answers."""
        async with asyncio.timeout(30):
            while True:
                request = encode(PauseBalance(reason="moves are made by hand"))
                with contextlib.suppress(BusError):
                    said = await self.bus.ask(subjects.config_endpoint("pause"), request)
                    if headers.SERVICE_ERROR not in (said.headers or {}):
                        return
                await asyncio.sleep(0.1)

    async def move(self, guild: GuildId, pod: str) -> None:
        """Ask for the move."""
        request = encode(MoveGuilds(guilds=[guild], pod=PodId(pod), by="the test"))
        said = await self.bus.ask(subjects.config_endpoint("move"), request, timeout_s=5)
        assert headers.SERVICE_ERROR not in (said.headers or {}), said.headers

    async def over(self, guild: GuildId) -> None:
        """Wait until nobody wants the guild moved any more."""
        present = False
        async with asyncio.timeout(60):
            async for entry in Bucket(self.bus, storage.INTENT).watch(f"move.{guild}"):
                if entry is not None:
                    present = entry.value is not None
                if not present:
                    return

    @contextlib.asynccontextmanager
    async def stopped(self, name: str, step: Step) -> AsyncIterator[Callable[[], bool]]:
        """Inside the block the process that bears this name stops right before that write, which is
        when the answer is true; it goes on at the end."""
        flag, stopped = self.arena.flag(f"step-{name}"), self.arena.flag(f"stopped-{name}")
        new = self.arena.flag(f"new-step-{name}")
        new.write_bytes(msgspec.json.encode(step))
        new.rename(flag)
        try:
            yield lambda: stopped.exists() and self._is_stopped(name)
        finally:
            flag.unlink(missing_ok=True)
            stopped.unlink(missing_ok=True)
            if (pid := self.arena.worker(name)) is not None:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGCONT)

    def _is_stopped(self, name: str) -> bool:
        pid = self.arena.worker(name)
        try:
            return pid is not None and psutil.Process(pid).status() == psutil.STATUS_STOPPED
        except psutil.NoSuchProcess:
            return False


@contextlib.asynccontextmanager
async def town_with(folder: Path, *options: str) -> AsyncIterator[Town]:
    """A stack of two replicas of config that moves nothing by itself."""
    home, flags = folder / "home", folder / "flags"
    flags.mkdir()
    options = ("--guilds", "0", "--configs", "2", *options)
    environment = loading(flags, ["steps"])
    async with live_stack(home, *options, environment=environment) as live:
        watched = Watched()
        watching = asyncio.create_task(watched.run(live.bus))
        try:
            running = Town(Arena(live, watched, flags, {}, random.Random(0)))
            await running.moves_nothing_by_itself()
            yield running
        finally:
            watching.cancel()
            await asyncio.gather(watching, return_exceptions=True)
