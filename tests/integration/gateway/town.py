"""A guild at a simulated Discord, its log on a real bus, and gateway pods as real processes.

The test stands in for the shard (it appends dispatches) and for config (it writes assignments):
both are clients of the bus like any other.
"""

import asyncio
import os
import sys
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import msgspec

from components.bus import stream
from components.bus.buckets import Bucket
from components.bus.connection import Bus, Stored
from components.bus.errors import BusError
from components.bus.stream import StoredMessage
from components.chaos.oracle import held_by, replay
from components.discord_api import DiscordSettings
from components.gateway.bootstrap import PodSettings, serve
from components.gateway.settings import BackupSettings, GatewaySettings
from components.simulator.bootstrap import Simulator
from components.simulator.client import GuildInfo, SimulatorControl
from components.simulator.record import Entry
from contracts import headers, storage, subjects
from contracts.errors import ErrorBody, ServiceError
from contracts.ids import Epoch, Generation, GuildId, Incarnation, PodId, Sequence, SessionId
from contracts.inputs import (
    Actor,
    AnyInput,
    DiscordDispatch,
    EffectResult,
    FactsPublished,
    dispatch_id,
)
from contracts.message import decode, encode
from contracts.records import Assignment, PodLease, ProcessEnd
from contracts.requests import GuildStatus
from tests.support.nats import RunningNats

SPAM = (
    "nitro steam gift free claim reward nudes onlyfans airdrop whitelist nft mint dex verify "
    "billing suspended expired"
)
"""Seventeen keywords: a high verdict."""
OPERATOR = Actor(kind="operator", id="tester")


class Town:
    """One guild of the simulator and its log."""

    def __init__(
        self, info: GuildInfo, control: SimulatorControl, shard: Bus, operator: Bus, config: Bus
    ) -> None:
        self.info = info
        self.guild = GuildId(str(info.id))
        self.control = control
        self.shard = shard
        self.operator = operator
        self.config = config
        self._dispatched = 0
        self._previous: int | None = None
        self._session = SessionId(f"session-{info.id}")
        self.first_sequence = Sequence(0)
        self.epoch = 0

    @property
    def channel(self) -> int:
        """The channel where members talk."""
        return self.info.channels["general"]

    async def dispatch(self, event: str, data: dict[str, Any]) -> Stored:
        """Append a dispatch as the shard does."""
        self._dispatched += 1
        number = self._dispatched
        message = DiscordDispatch(
            session=self._session,
            shard=0,
            sequence=number,
            previous=self._previous,
            event=event,
            data=msgspec.Raw(msgspec.json.encode(data)),
        )
        self._previous = number
        return await self.shard.append(
            subjects.inputs(self.guild),
            encode(message),
            {headers.MSG_ID: dispatch_id(self._session, number)},
        )

    async def create(self, bot_user: str) -> None:
        """The guild's first input."""
        roles = [
            {"id": str(role), "name": name, "permissions": "0", "position": 1}
            for name, role in self.info.roles.items()
        ]
        channels = [
            {"id": str(channel), "name": name, "type": 0}
            for name, channel in self.info.channels.items()
        ]
        stored = await self.dispatch(
            "GUILD_CREATE",
            {
                "id": self.guild,
                "name": self.info.name,
                "owner_id": str(self.info.owner_id),
                "roles": roles,
                "channels": channels,
                "modbot": {"user_id": bot_user, "application_id": bot_user},
            },
        )
        self.first_sequence = Sequence(stored.sequence)

    async def say(self, content: str, author: int | None = None, **fields: Any) -> int:
        """A member posts, and the shard appends it; returns the message's id."""
        user = author or self.info.members[0].id
        message = await self.control.post(self.channel, user, content, **fields)
        await self.heard(message, content, user)
        return message

    async def heard(self, message: int, content: str, user: int) -> Stored:
        """The shard appends a message."""
        return await self.dispatch(
            "MESSAGE_CREATE",
            {
                "id": str(message),
                "channel_id": str(self.channel),
                "guild_id": self.guild,
                "content": content,
                "timestamp": datetime.now(UTC).isoformat(),
                "author": {"id": str(user), "username": f"user-{user}"},
                "member": {"roles": [], "joined_at": "2020-01-01T00:00:00+00:00"},
            },
        )

    async def assign(
        self, pod: str, incarnation: str, epoch: int | None = None, **more: Any
    ) -> None:
        """Write the assignment as config does; ``more``: other fields of it."""
        self.epoch = epoch if epoch is not None else self.epoch + 1
        generation = (await stream.bounds(self.config, storage.INPUTS)).generation
        record = Assignment(
            guild=self.guild,
            pod=PodId(pod),
            incarnation=Incarnation(incarnation),
            epoch=Epoch(self.epoch),
            first_sequence=self.first_sequence,
            generation=Generation(generation),
            since_ms=0,
            **{"cause": "placed", **more},
        )
        await Bucket(self.config, storage.GUILDS).put(self.guild, encode(record))

    async def ask(self, verb: str, body: Any = None, **fields: str) -> Any:
        """A request to the owner; raises `ServiceError`."""
        named = {name.replace("_", "-"): value for name, value in fields.items()}
        message = await self.operator.ask(
            subjects.request(self.guild, verb), encode(body or {}), named, timeout_s=5
        )
        answered = dict(message.headers or {})
        if headers.SERVICE_ERROR_CODE in answered:
            error = decode(message.data, ErrorBody)
            raise ServiceError(error.code, error.error, error.fields)
        return msgspec.json.decode(message.data)

    async def put_settings(self, name: str, **settings: Any) -> Any:
        """Write the guild's settings through its owner."""
        body = {"actor": OPERATOR, "settings": settings}
        return await self.ask("settings.put", body, Modbot_Request_Id=name)

    async def status(self) -> GuildStatus:
        """The owner's word on the guild."""
        return msgspec.convert(await self.ask("status"), GuildStatus)

    async def served(self, epoch: int | None = None) -> GuildStatus:
        """Wait until an owner (of this epoch) answers."""

        async def answered() -> GuildStatus | None:
            try:
                status = await self.status()
            except (BusError, ServiceError):
                return None  # nobody yet, or not ready
            wanted = epoch if epoch is not None else self.epoch
            return status if status.epoch == wanted else None

        status: GuildStatus = await until(answered)
        return status

    async def log(self) -> list[StoredMessage]:
        """Everything on the guild's log."""
        found: list[StoredMessage] = []
        start = Sequence(1)
        while batch := await stream.read_batch(
            self.shard_reader, storage.INPUTS, subjects.inputs(self.guild), start
        ):
            found += batch
            start = Sequence(batch[-1].sequence + 1)
        return found

    async def inputs(self, *, behind: int = 0) -> list[AnyInput]:
        """Every input on the guild's log behind a sequence."""
        return [
            decode(message.data, AnyInput)  # type: ignore[arg-type]
            for message in await self.log()
            if message.sequence > behind
        ]

    async def check_rows(self, data: Path) -> None:
        """What a pod that has ended holds is what a replay of the log gives up to where it stands.
        Behind that is only what it wrote itself, and heard of no more."""
        held = held_by(data, self.guild)
        assert held is not None, self.guild
        replayed = await replay(self.operator, self.guild, at={held.sequence})
        assert held.dump == replayed.dumps[held.sequence], self.guild
        rest = await self.inputs(behind=held.sequence)
        assert all(isinstance(one, EffectResult | FactsPublished) for one in rest), rest

    async def facts(self) -> list[StoredMessage]:
        """Every fact of the guild, in order."""
        found: list[StoredMessage] = []
        start = Sequence(1)
        while batch := await stream.read_batch(
            self.shard_reader, storage.EVENTS, subjects.events(self.guild), start
        ):
            found += batch
            start = Sequence(batch[-1].sequence + 1)
        return found

    @property
    def shard_reader(self) -> Bus:
        """A connection that may read the streams."""
        return self.operator

    async def rest(self, method: str, part: str) -> list[Entry]:
        """The requests that Discord received: a method, and a part of the path."""
        entries = await self.control.record_all(kinds=["rest"])
        return [
            entry
            for entry in entries
            if entry.data["method"] == method and part in entry.data["path"]
        ]


class PodProcess:
    """A gateway pod as a process that can be killed."""

    def __init__(
        self, name: str, data: Path, environment: dict[str, str], log: Path, bus: Bus
    ) -> None:
        self.name = name
        self.data = data
        self.log = log
        self._environment = environment
        self._bus = bus
        self.process: asyncio.subprocess.Process | None = None
        self.incarnation = ""

    async def start(self) -> str:
        """Start it and wait for its lease; returns the new incarnation."""
        before = self.incarnation
        await self.launch()

        async def joined() -> str | None:
            lease = await self.lease()
            if lease is None or lease.state != "serving" or lease.incarnation == before:
                return None
            return lease.incarnation

        self.incarnation = await until(joined)
        return self.incarnation

    async def launch(self) -> None:
        """Start the process and wait for nothing."""
        with self.log.open("ab") as file:
            self.process = await asyncio.create_subprocess_exec(
                sys.executable,
                "-m",
                self._environment.get("TEST_MODULE", "components.gateway"),
                env=self._environment,
                stdout=file,
                stderr=file,
            )

    async def lease(self) -> PodLease | None:
        """Its lease as the bus has it."""
        entry = await Bucket(self._bus, storage.PODS).get(self.name)
        return decode(entry.value, PodLease) if entry is not None and entry.value else None

    async def kill(self) -> None:
        """``kill -9``."""
        assert self.process is not None
        if self.process.returncode is None:
            self.process.kill()
        await self.process.wait()

    async def stop(self) -> int:
        """SIGTERM; returns the exit code."""
        assert self.process is not None
        self.process.terminate()
        return await self.process.wait()

    def words(self) -> str:
        """Everything that it logged."""
        return self.log.read_text(encoding="utf-8")


class Pods:
    """Starts pods against one simulator and one bus."""

    def __init__(
        self, simulator: Simulator, nats: RunningNats, folder: Path, operator: Bus
    ) -> None:
        self._simulator = simulator
        self._nats = nats
        self._folder = folder
        self._operator = operator
        self._made: list[PodProcess] = []
        self._inside: list[tuple[asyncio.Event, asyncio.Task[None]]] = []

    def make(self, name: str = "gateway-0", **settings: str) -> PodProcess:
        """A pod that is not started yet. ``settings``: more variables."""
        data = self._folder / name
        environment = {
            **os.environ,
            "MODBOT_REPLICA": name,
            "MODBOT_NATS_URL": self._nats.url,
            "MODBOT_NATS_SEED": self._nats.settings("gateway").seed,
            "MODBOT_DISCORD_TOKEN": self._simulator.world.settings.token,
            "MODBOT_DISCORD_API_URL": self._simulator.api_url,
            "MODBOT_GATEWAY_DATA": str(data),
            "MODBOT_GATEWAY_SWEEP_EVERY_S": "0.5",
            "MODBOT_GATEWAY_LEASE_TTL_S": "2",
            **settings,
        }
        pod = PodProcess(name, data, environment, self._folder / f"{name}.log", self._operator)
        self._made.append(pod)
        return pod

    async def attest(self, pod: str, process: str) -> None:
        """Say that the process has ended, as its parent does."""
        end = ProcessEnd(pod=PodId(pod), process=process, exit_code=-9, ended_ms=0)
        parent = await self._nats.connect("parent")
        await Bucket(parent, storage.ENDS).put(f"{pod}.{process}", encode(end))

    async def start(self, name: str = "gateway-0", **settings: str) -> PodProcess:
        """A pod that has its lease."""
        pod = self.make(name, **settings)
        await pod.start()
        return pod

    async def inside(self, name: str = "gateway-0", **settings: Any) -> str:
        """A pod inside the test's process, which starts faster and cannot be killed; returns its
        incarnation. ``settings``: fields of `GatewaySettings`."""
        gateway = GatewaySettings(data=str(self._folder / name), sweep_every_s=0.5, lease_ttl_s=2)
        told = PodSettings(
            pod=PodId(name),
            gateway=msgspec.structs.replace(gateway, **settings),
            bus=self._nats.settings("gateway"),
            discord=DiscordSettings(
                token=self._simulator.world.settings.token, api_url=self._simulator.api_url
            ),
            backup=BackupSettings(),
        )
        stop = asyncio.Event()
        self._inside.append((stop, asyncio.create_task(serve(stop, told))))
        bucket = Bucket(self._operator, storage.PODS)

        async def joined() -> str | None:
            entry = await bucket.get(name)
            lease = decode(entry.value, PodLease) if entry is not None and entry.value else None
            return lease.incarnation if lease is not None and lease.state == "serving" else None

        incarnation: str = await until(joined)
        return incarnation

    async def close(self) -> None:
        """End all."""
        for stop, running in self._inside:
            stop.set()
            await running
        for pod in self._made:
            if pod.process is not None:
                await pod.kill()


async def until(
    condition: Callable[[], Awaitable[Any]], timeout_s: float = 20.0, every_s: float = 0.03
) -> Any:
    """Wait until the condition is true (or not None); returns its value."""
    async with asyncio.timeout(timeout_s):
        while True:
            value = await condition()
            if value:
                return value
            await asyncio.sleep(every_s)
