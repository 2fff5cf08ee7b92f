"""Shard replicas as processes, and what they left on the logs."""

import asyncio
import os
import signal
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path

import msgspec

from components.bus import stream
from components.bus.connection import Bus
from components.bus.errors import BusError
from components.bus.stream import StoredMessage
from components.simulator.bootstrap import Simulator
from contracts import storage, subjects
from contracts.ids import GuildId, Sequence
from contracts.inputs import AnyInput, DiscordDispatch
from contracts.message import decode
from tests.support.nats import RunningNats


class Replica:
    """One shard process."""

    def __init__(self, name: str, process: asyncio.subprocess.Process, log: Path) -> None:
        self.name = name
        self.process = process
        self.log = log

    async def kill(self) -> None:
        """``kill -9``, and wait for the end."""
        self.process.kill()
        await self.process.wait()

    def suspend(self) -> None:
        """SIGSTOP."""
        self.process.send_signal(signal.SIGSTOP)

    def wake(self) -> None:
        """SIGCONT."""
        self.process.send_signal(signal.SIGCONT)

    async def stop(self) -> int:
        """SIGTERM; returns the exit code."""
        self.process.terminate()
        return await self.process.wait()

    async def said(self, words: str, timeout_s: float = 20.0) -> None:
        """Wait until it has logged the words."""

        async def logged() -> bool:
            return words in self.words()

        await until(logged, timeout_s)

    def words(self) -> str:
        """Everything that it logged."""
        return self.log.read_text(encoding="utf-8")


class Replicas:
    """Starts shard processes against one simulator and one nats-server."""

    def __init__(self, discord: Simulator, nats: RunningNats, folder: Path) -> None:
        self._discord = discord
        self._nats = nats
        self._folder = folder
        self._started: list[Replica] = []

    async def start(self, name: str = "shard-0", **settings: str | int) -> Replica:
        """Start a replica; settings are fields of `ShardSettings`, or whole variables."""
        environment = {
            **os.environ,
            "MODBOT_REPLICA": name,
            "MODBOT_NATS_URL": self._nats.url,
            "MODBOT_NATS_SEED": self._nats.settings("shard").seed,
            "MODBOT_DISCORD_TOKEN": self._discord.world.settings.token,
            "MODBOT_DISCORD_API_URL": self._discord.api_url,
            "MODBOT_DISCORD_GATEWAY_URL": self._discord.gateway_url,
            "MODBOT_SHARD_LEASE_TTL_S": "2",
        }
        for field, value in settings.items():
            variable = field if field.isupper() else f"MODBOT_SHARD_{field.upper()}"
            environment[variable] = str(value)
        log = self._folder / f"{name}-{len(self._started)}.log"
        with log.open("ab") as file:
            process = await asyncio.create_subprocess_exec(
                sys.executable, "-m", "components.shard", env=environment, stdout=file, stderr=file
            )
        replica = Replica(name, process, log)
        self._started.append(replica)
        return replica

    async def close(self) -> None:
        """End every process that still runs."""
        for replica in self._started:
            if replica.process.returncode is None:
                await replica.kill()


async def until(condition: Callable[[], Awaitable[bool]], timeout_s: float = 20.0) -> None:
    """Wait until the condition holds; while the bus is away it does not."""
    async with asyncio.timeout(timeout_s):
        while True:
            try:
                if await condition():
                    return
            except BusError:
                pass  # the test's own connection is not back yet
            await asyncio.sleep(0.05)


async def log_of(bus: Bus, guild: GuildId) -> list[StoredMessage]:
    """Everything on a guild's log."""
    found: list[StoredMessage] = []
    while True:
        start = Sequence(found[-1].sequence + 1 if found else 1)
        batch = await stream.read_batch(bus, storage.INPUTS, subjects.inputs(guild), start)
        if not batch:
            return found
        found += batch


async def inputs_of(bus: Bus, guild: GuildId) -> list[AnyInput]:
    """Every input on a guild's log."""
    return [decode(message.data, AnyInput) for message in await log_of(bus, guild)]  # type: ignore[arg-type]


async def dispatches_of(bus: Bus, guild: GuildId) -> list[DiscordDispatch]:
    """Every dispatch on a guild's log."""
    return [i for i in await inputs_of(bus, guild) if isinstance(i, DiscordDispatch)]


def message_ids(dispatches: list[DiscordDispatch]) -> list[int]:
    """The messages that were created, in the log's order."""
    return [
        int(msgspec.json.decode(dispatch.data)["id"])
        for dispatch in dispatches
        if dispatch.event == "MESSAGE_CREATE"
    ]


def chain_breaks(dispatches: list[DiscordDispatch]) -> list[tuple[int | None, int | None]]:
    """Where a dispatch's ``previous`` is not the one before it in its session."""
    seen: dict[str, int] = {}
    breaks: list[tuple[int | None, int | None]] = []
    for dispatch in dispatches:
        if dispatch.catch_up:
            continue
        last = seen.get(dispatch.session)
        if dispatch.part == 1 and dispatch.previous is not None and dispatch.previous != last:
            breaks.append((last, dispatch.previous))
        if last is not None and dispatch.sequence <= last and dispatch.part == 1:
            breaks.append((last, dispatch.sequence))
        seen[dispatch.session] = dispatch.sequence
    return breaks
