"""A live stack with handles for faults: processes by what they are, proxies, flags, who owns what.

Whatever is awaited here has a deadline and raises `NotInTime`, which names what did not happen.
"""

import asyncio
import contextlib
import copy
import functools
import os
import random
import shutil
import signal
import time
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from pathlib import Path
from typing import Self
from urllib.parse import urlsplit

import aiohttp
import msgspec
import psutil

from components.bus.errors import BusError
from components.chaos.dice import dice
from components.chaos.flags import Flags, NotThere
from components.chaos.proxies import Proxy
from components.chaos.watching import Watched
from components.stack.cluster import Cluster
from components.stack.live import LiveStack
from components.stack.running import RunningStack
from contracts.ids import GuildId
from contracts.message import MalformedMessage

__all__ = ("Arena", "NotInTime", "NotThere")

POLL_S = 0.02
BACK_S = 60.0
"""How long a component may take to be back after a fault."""


class NotInTime(Exception):
    """Something that must come within a deadline did not; the words name it."""


class Arena:
    """What a fault may use."""

    def __init__(
        self,
        live: LiveStack,
        watched: Watched,
        flags: Path,
        proxies: dict[str, Proxy],
        dice: random.Random,
    ) -> None:
        self.live = live
        self.watched = watched
        self.proxies = proxies
        self.dice = dice
        """Of the fault alone."""
        self.seed = self.number = 0
        """Which round this is; the first one has number 0."""
        self.guilds: list[GuildId] = []
        """The round's guilds."""
        self.probed: list[GuildId] = []
        """Those of them of which every moment is measured."""
        self.flags = Flags(flags)
        self._cluster = Cluster(live.bus)

    def begin(self, seed: int, number: int) -> None:
        """A round begins."""
        self.seed, self.number = seed, number
        self.dice = self.roll("fault")

    def roll(self, whose: str) -> random.Random:
        """Another generator of this round."""
        return dice(self.seed, self.number, whose)

    def of(self, whose: str) -> Self:
        """This arena for one of several faults at once, with a generator of its own."""
        own = copy.copy(self)
        own.dice = self.roll(whose)
        return own

    # Who is who

    def replicas(self, component: str) -> list[str]:
        """Names of a component's replicas (or of the servers of one kind), in order."""
        return sorted(
            name
            for name in self._planned()
            if name == component or name.startswith(f"{component}-")
        )

    async def holding_shards(self) -> set[str]:
        """The shard's replicas that hold a shard id now. Raises `BusError`."""
        return {lease.holder for lease in (await self._cluster.shards()).values()}

    def owner(self, guild: GuildId) -> str:
        """The pod that the guild is assigned to, as last seen."""
        return self.watched.assignments[guild].pod

    def follower(self, guild: GuildId) -> str:
        """The pod that follows the guild. Raises `NotThere`."""
        follower = self.watched.assignments[guild].follower
        if follower is None:
            raise NotThere(f"guild {guild} has no follower")
        return follower.pod

    def some_owner(self) -> str:
        """A pod that owns one of the probed guilds."""
        return self.owner(self.dice.choice(self.probed))

    def owned_by(self, pods: Sequence[str]) -> set[GuildId]:
        """The round's guilds that these pods own now."""
        return {guild for guild in self.guilds if self.owner(guild) in pods}

    @property
    def operator_token(self) -> Path:
        """The file with the token that the edges' API takes."""
        return Path(self.live.record.credentials["operator_token"])

    # Processes

    def pid(self, name: str) -> int | None:
        """The process that the supervisor started under this name; None between two."""
        with contextlib.suppress(FileNotFoundError, msgspec.DecodeError):
            record = (self.live.home / "stack.json").read_bytes()
            for process in msgspec.json.decode(record, type=RunningStack).processes:
                if process.name == name and psutil.pid_exists(process.pid):
                    return process.pid
        return None

    def worker(self, name: str) -> int | None:
        """The process that does the work: a gateway's is the child of its parent."""
        pid = self.pid(name)
        if pid is None or not name.startswith("gateway-"):
            return pid
        with contextlib.suppress(psutil.NoSuchProcess):
            for child in psutil.Process(pid).children():
                with contextlib.suppress(psutil.NoSuchProcess):
                    if "components.gateway" in child.cmdline():
                        return child.pid
        return None

    def kill(self, *names: str) -> float:
        """``kill -9`` of the working processes, one right after the other; returns when."""
        at_ms = time.time() * 1000
        for name in names:
            self.tell(name, signal.SIGKILL)
        return at_ms

    def kill_with_parent(self, name: str) -> float:
        """``kill -9`` of a gateway's parent, with which the kernel kills the gateway: nobody
        attests the end. Raises `NotThere`."""
        pid = self.pid(name)
        if pid is None or self.worker(name) in (None, pid):
            raise NotThere(f"{name} has no parent process")
        at_ms = time.time() * 1000
        try:
            os.kill(pid, signal.SIGKILL)
        except ProcessLookupError:
            raise NotThere(f"{name} has ended by itself") from None
        return at_ms

    def tell(self, name: str, number: signal.Signals) -> None:
        """Send a signal to the working process. Raises `NotThere`."""
        pid = self.worker(name)
        if pid is None:
            raise NotThere(f"{name} does not run")
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, number)

    @contextlib.contextmanager
    def held(self, *names: str) -> Iterator[None]:
        """These replicas, once ended, do not start again inside the block."""
        with self.flags.held(*names):
            yield

    @contextlib.asynccontextmanager
    async def away(self, *names: str) -> AsyncIterator[None]:
        """`held`, until each has come and been held: one that was not was never away. Raises
        `NotInTime`."""
        with self.flags.held(*names):
            yield
            for name in names:
                held = functools.partial(self.flags.has_struck, "hold", name)
                await self.until(held, f"the next process of {name} comes and is held")

    async def kept_down(self, name: str, seconds: float, number: signal.Signals) -> None:
        """End a server whenever it is up, for so long."""
        until = time.monotonic() + seconds
        ended: int | None = None
        while time.monotonic() < until:
            pid = self.pid(name)
            if pid is not None and pid != ended:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, number)
                ended = pid
            await asyncio.sleep(POLL_S)

    def data(self, pod: str) -> Path:
        """The pod's disk."""
        return self.live.home / "pods" / pod

    def wipe(self, pod: str) -> None:
        """The pod's disk is gone, whatever still writes to it."""
        lost = self.flag(f"lost-{pod}-{time.time_ns()}")
        with contextlib.suppress(FileNotFoundError):  # another fault was quicker
            self.data(pod).rename(lost)
        shutil.rmtree(lost, ignore_errors=True)  # its Litestream is just ending

    def flag(self, name: str) -> Path:
        """A file that `components.chaos.inside` looks for."""
        return self.flags.path(name)

    # Waiting for what must come

    async def until(self, true: Callable[[], bool], words: str, within_s: float = BACK_S) -> None:
        """Wait until it is so. Raises `NotInTime` with the words."""
        try:
            async with asyncio.timeout(within_s):
                while not true():  # noqa: ASYNC110
                    await asyncio.sleep(POLL_S)  # a process, a file: there is no event for it
        except TimeoutError:
            raise NotInTime(f"not within {within_s:g} s: {words}") from None

    async def restarted(self, name: str, before: int | None) -> None:
        """Wait until the supervisor has started another process."""

        def another() -> bool:
            now = self.worker(name)
            return now is not None and now != before

        await self.until(another, f"{name} is started again")

    async def whole(self, within_s: float = BACK_S) -> None:
        """Wait until every process of the plan is there and ready. Raises `NotInTime`."""
        missing = ["nothing looked at yet"]
        try:
            async with asyncio.timeout(within_s):
                while missing:
                    missing = await self._missing()
                    if missing:
                        await asyncio.sleep(0.1)
        except TimeoutError:
            words = "; ".join(missing)
            raise NotInTime(f"not whole again within {within_s:g} s: {words}") from None

    async def _missing(self) -> list[str]:
        names = self._planned()
        missing = [f"{name} does not run" for name in names if self.worker(name) is None]
        if missing:
            return missing
        try:
            pods, shards = await self._cluster.pods(), await self._cluster.shards()
        except (BusError, MalformedMessage, TimeoutError) as error:
            return [f"the bus: {error or type(error).__name__}"]
        for name in self.replicas("gateway"):
            state = pods[name].state if name in pods else "away"
            if state != "serving":
                missing.append(f"{name} is {state}")
        count = max((lease.shard_count for lease in shards.values()), default=1)
        connected = sum(lease.state == "connected" for lease in shards.values())
        if connected < count:
            missing.append(f"{connected} of {count} shards are connected")
        missing += [
            f"{name} has not answered since it started"
            for name in self.replicas("config")
            if not await self._config_answers(name)
        ]
        edges = self.replicas("edge")
        ready = [await _answers(f"{self.live.record.urls[name]}/readyz") for name in edges]
        missing += [f"{n} is not ready" for n, up in zip(edges, ready, strict=True) if not up]
        return missing

    async def _config_answers(self, name: str) -> bool:
        try:
            since_ms = psutil.Process(self.worker(name)).create_time() * 1000
            return await self._cluster.config_answers(name, int(since_ms))
        except (psutil.NoSuchProcess, BusError, MalformedMessage, TimeoutError):
            return False

    def _planned(self) -> list[str]:
        """All long-lived processes, as there were when the stack was ready."""
        return [process.name for process in self.live.record.processes]

    @property
    def nats_port(self) -> int:
        """Where the (first) NATS server really listens."""
        port = urlsplit(self.live.record.urls["nats"].split(",")[0]).port
        assert port is not None
        return port


async def _answers(url: str) -> bool:
    limit = aiohttp.ClientTimeout(total=2)
    try:
        async with aiohttp.ClientSession(timeout=limit) as session, session.get(url) as answer:
            return answer.status == 200
    except (aiohttp.ClientError, OSError, TimeoutError):
        return False
