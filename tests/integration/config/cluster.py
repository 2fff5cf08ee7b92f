"""Replicas of config in the test's own process, and what shards and pods write on the bus."""

import asyncio
import contextlib
import os
import subprocess
import sys
from collections.abc import Awaitable, Callable
from typing import Any, Literal, TypeVar

import asyncpg
import msgspec
from nats.aio.msg import Msg

from components.bus.buckets import Bucket
from components.bus.connection import Bus
from components.bus.errors import NoOwner
from components.bus.provisioning import provision
from components.config.bootstrap import run
from components.config.settings import ConfigSettings
from contracts import headers, storage, subjects
from contracts.errors import ServiceError
from contracts.ids import GuildId, Incarnation, PodId, Sequence
from contracts.message import Message, decode, encode
from contracts.operations import ClusterStatus, GuildPlacement, GuildQuery, OperationProgress
from contracts.records import (
    Assignment,
    BalanceIntent,
    Holding,
    LeaderLease,
    PodLease,
    PodLoads,
    PodPing,
    RegisteredGuild,
)
from tests.support.nats import RunningNats
from tests.support.postgres import RunningPostgres

TTL_S = 2

T = TypeVar("T")


class Replica:
    """One replica of config."""

    def __init__(self, name: str, cluster: "Cluster") -> None:
        self.name = name
        self._stop = asyncio.Event()
        self._task = asyncio.create_task(
            run(cluster.nats.settings("config"), cluster.settings, name, self._stop)
        )

    async def stop(self) -> None:
        """End in order, as SIGTERM does."""
        self._stop.set()
        await self._task


class ReplicaProcess:
    """One replica of config as a process of its own, so that it can be killed."""

    def __init__(self, name: str, cluster: "Cluster") -> None:
        self.name = name
        bus, settings = cluster.nats.settings("config"), cluster.settings
        environment = {
            **os.environ,
            "MODBOT_REPLICA": name,
            "MODBOT_NATS_URL": bus.url,
            "MODBOT_NATS_SEED": bus.seed,
            "MODBOT_CONFIG_DATABASE_URL": settings.database_url,
            "MODBOT_CONFIG_LEADER_TTL_S": str(settings.leader_ttl_s),
            "MODBOT_CONFIG_POD_TTL_S": str(settings.pod_ttl_s),
            "MODBOT_CONFIG_FOLLOWERS": str(settings.followers),
            "MODBOT_CONFIG_GRACE_S": str(settings.grace_s),
            "MODBOT_CONFIG_ALARM_EVERY_S": str(settings.alarm_every_s),
            "MODBOT_CONFIG_ALARM_AFTER_S": str(settings.alarm_after_s),
        }
        self._log = cluster.nats.folder / f"{name}.log"
        with self._log.open("ab") as file:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "components.config"], env=environment, stderr=file
            )

    def words(self) -> str:
        """Everything that it logged."""
        return self._log.read_text(encoding="utf-8")

    def signal(self, number: int) -> None:
        """Send the process a signal; SIGKILL ends it without a word to anybody."""
        self.process.send_signal(number)

    def close(self) -> None:
        """``kill -9``, and wait for the end."""
        self.process.kill()
        self.process.wait()


class Pod:
    """A gateway pod as config sees it: its lease, its answer to pings, and, while it works, what
    it says of the guilds that it is told to own, follow and build."""

    def __init__(self, name: str, nats: RunningNats, capacity: int, fields: dict[str, Any]) -> None:
        self.name = PodId(name)
        self.capacity = capacity
        self.incarnation: Incarnation | None = None
        self.revision = 0
        self.works = True
        """Whether it builds and opens what it is told to."""
        self.pinged = asyncio.Event()
        """It has answered a ping."""
        self.bus: Bus
        self._nats = nats
        self._fields = fields
        self._tasks: list[asyncio.Task[None]] = []
        self._renewing = asyncio.Lock()
        self._said: dict[str, tuple[str, int, int]] = {}

    async def start(self) -> None:
        """A new incarnation: create the lease (or take over a fence), then serve."""
        self.bus = await self._nats.connect("gateway")
        self._bucket = Bucket(self.bus, storage.PODS)
        self._handoffs = Bucket(self.bus, storage.HANDOFFS)
        entry = await self._bucket.get(self.name)
        self.incarnation = None
        self.revision = await self._bucket.replace(
            self.name,
            encode(self.lease("starting")),
            entry.revision if entry else 0,
            ttl_s=self.ttl_s,
        )
        self.incarnation = Incarnation(f"created-{self.revision}")
        self._said.clear()
        await self.bus.listen(subjects.ping(self.name), self._answer)
        await self.renew()
        loads = PodLoads(pod=self.name, incarnation=self.incarnation, at_ms=1, guilds=[])
        await Bucket(self.bus, storage.LOADS).put(self.name, encode(loads))
        self._tasks = [asyncio.create_task(self._keep()), asyncio.create_task(self._work())]

    async def restart(self) -> None:
        """A new incarnation, once the last lease has ended; a fence is taken over."""
        await self.ended()
        await self.start()

    async def ended(self) -> None:
        """Wait until the last lease has run out or was fenced."""
        bus = await self._nats.connect("gateway")
        bucket = Bucket(bus, storage.PODS)
        async with asyncio.timeout(10):
            while True:
                entry = await bucket.get(self.name)
                if entry is None or entry.value is None:
                    break
                if decode(entry.value, PodLease).state == "fenced":
                    break
                await asyncio.sleep(0.02)
        await bus.close()

    async def revive(self) -> None:
        """Leave the lease behind without a time to live, as a killed nats-server may."""
        await self.stop_working()
        self.revision = await self._bucket.replace(
            self.name, encode(self.lease("serving")), self.revision
        )
        await self.bus.close()

    async def renew(self, state: str = "serving") -> None:
        """Renew once."""
        async with self._renewing:
            value = encode(self.lease(state))
            self.revision = await self._bucket.replace(
                self.name, value, self.revision, ttl_s=self.ttl_s
            )

    @property
    def ttl_s(self) -> int:
        """Of its lease: a field of it."""
        return int(self._fields.get("ttl_s", TTL_S))

    def tell(self, **fields: Any) -> None:
        """What the next renewals say."""
        self._fields.update(fields)

    async def vanish(self) -> None:
        """End without a word, as a killed process does: its connection is gone."""
        await self.stop_working()
        await self.bus.close()

    async def hang(self) -> None:
        """Do nothing more, with the connection open and nobody there."""
        await self.stop_working()
        for subscription in list(self.bus.client._subs.values()):
            if subscription.subject == subjects.ping(self.name):
                await subscription.unsubscribe()

    async def stop_working(self) -> None:
        """Stop renewing and working. A renewal under way is waited for: cut short it may land, and
        nobody would know the lease's revision."""
        async with self._renewing:
            for task in self._tasks:
                task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        self._tasks = []

    def lease(self, state: str) -> PodLease:
        """The lease's value."""
        fields: dict[str, Any] = {
            "pod": self.name,
            "incarnation": self.incarnation,
            "nats_client": self.bus.client_id,
            "nats_server": self.bus.server_id,
            "ttl_s": TTL_S,
            "data": f"disk of {self.name}",
            "state": state,
            "capacity": self.capacity,
            "version": "1",
            "engine_version": 1,
            "started_ms": 1,
            **self._fields,
        }
        return PodLease(**fields)

    async def _answer(self, message: Msg) -> None:
        assert self.incarnation is not None  # it listens once it has one
        await self.bus.say(
            message.reply, encode(PodPing(pod=self.name, incarnation=self.incarnation))
        )
        self.pinged.set()

    async def _keep(self) -> None:
        while True:
            await asyncio.sleep(TTL_S / 4)
            await self.renew(self.state)

    state = "serving"

    async def _work(self) -> None:
        async for entry in Bucket(self.bus, storage.GUILDS).watch():
            if entry is None or entry.value is None or not self.works:
                continue
            owned = decode(entry.value, Assignment)
            if (owned.pod, owned.incarnation) == (self.name, self.incarnation):
                await self._say(owned, "own")
            for one in (owned.follower, owned.joining):
                if one is not None and (one.pod, one.incarnation) == (self.name, self.incarnation):
                    await self._say(owned, "follow")

    async def open(self, assignments: Callable[[], Awaitable[dict[str, Assignment]]]) -> None:
        """Open what it was told to own while it did not work."""
        for owned in (await assignments()).values():
            if owned.pod == self.name:
                await self._say(owned, "own")

    async def _say(self, owned: Assignment, role: Literal["own", "follow"]) -> None:
        joining = owned.joining
        asked = joining.since_ms if joining is not None and joining.pod == self.name else 0
        said = self._said.get(owned.guild)
        if said in ((role, owned.epoch, asked), ("own", owned.epoch, asked)):
            return
        self._said[owned.guild] = (role, owned.epoch, asked)
        assert self.incarnation is not None  # it works once it has one
        holding = Holding(
            guild=owned.guild,
            pod=self.name,
            incarnation=self.incarnation,
            data=f"disk of {self.name}",
            role=role,
            epoch=owned.epoch,
            sequence=Sequence(1),
            beat=1,
            source="log",
            took_ms=7,
            replayed=3,
            joined_ms=asked,
        )
        await self._handoffs.put(f"holds.{owned.guild}.{self.name}", encode(holding))


class Cluster:
    """NATS and PostgreSQL with replicas of config, pods, and a shard's hand."""

    def __init__(self, nats: RunningNats, postgres: RunningPostgres, url: str) -> None:
        self.nats = nats
        self.postgres = postgres
        self.database_url = url
        self.settings = ConfigSettings(database_url=url, pod_ttl_s=0.5, leader_ttl_s=2)
        self._replicas: list[Replica] = []
        self._processes: list[ReplicaProcess] = []
        self._pods: list[Pod] = []
        self.progress: dict[str, OperationProgress] = {}
        """The last that was heard of each operation."""
        self.shard: Bus
        self.operator: Bus
        self.provisioner: Bus
        self._gateway: Bus

    async def connect(self) -> None:
        """Connect the bus users that act in the test."""
        self.shard = await self.nats.connect("shard")
        self.operator = await self.nats.connect("operator")
        self.provisioner = await self.nats.connect("provisioner")
        self._gateway = await self.nats.connect("gateway")
        await self.operator.listen(subjects.progress("*"), self._hear)

    def config(self, name: str = "config-0") -> Replica:
        """Start a replica."""
        replica = Replica(name, self)
        self._replicas.append(replica)
        return replica

    def config_process(self, name: str) -> ReplicaProcess:
        """Start a replica as a process."""
        replica = ReplicaProcess(name, self)
        self._processes.append(replica)
        return replica

    def set(self, **changes: object) -> None:
        """Change settings of the replicas that are started from here on."""
        self.settings = msgspec.structs.replace(self.settings, **changes)

    async def pod(self, name: str, capacity: int = 10_000, **fields: Any) -> Pod:
        """Start a pod."""
        pod = Pod(name, self.nats, capacity, fields)
        self._pods.append(pod)
        await pod.start()
        return pod

    async def pause(self) -> None:
        """Let config move nothing by itself."""
        bus = await self.nats.connect("config")
        paused = BalanceIntent(paused=True, by="the test", since_ms=1)
        await Bucket(bus, storage.INTENT).put("balance", encode(paused))
        await bus.close()

    async def register(self, *guilds: str, append: bool = True) -> None:
        """What a shard does when Discord names a guild: register it, append its first input."""
        gate = asyncio.Semaphore(64)

        async def one(guild: str) -> None:
            async with gate:
                await self.register_as(guild, name=f"guild {guild}", append=append)

        await asyncio.gather(*(one(guild) for guild in guilds))

    async def register_as(
        self, guild: str, *, name: str, shard: int = 0, seen_ms: int = 1, append: bool = True
    ) -> None:
        """Register one guild with these values."""
        value = RegisteredGuild(guild=GuildId(guild), name=name, shard=shard, seen_ms=seen_ms)
        if append:
            await self.append(guild)
        await Bucket(self.shard, storage.REGISTRY).put(guild, encode(value))

    async def append(self, guild: str) -> int:
        """One more message on the guild's log; returns its sequence."""
        stored = await self.shard.append(subjects.inputs(GuildId(guild)), b"{}")
        return stored.sequence

    async def purge(self, guild: str) -> None:
        """Let the guild's log expire."""
        subject = f"$JS.API.STREAM.PURGE.{storage.INPUTS}"
        body = f'{{"filter":"{subjects.inputs(GuildId(guild))}"}}'
        await self.provisioner.ask(subject, body.encode())

    async def lose_bucket(self, name: str) -> None:
        """Delete a bucket with all it holds, and make it anew."""
        await self.provisioner.ask(f"$JS.API.STREAM.DELETE.KV_{name}", b"")
        await provision(self.provisioner)

    async def until_connected(self) -> None:
        """Wait until everybody who acts in the test has its connection back."""
        async with asyncio.timeout(10):
            for bus in (self.shard, self.operator, self.provisioner, self._gateway):
                while not bus.connected:
                    await asyncio.sleep(0.02)

    async def assignments(self) -> dict[str, Assignment]:
        """Who owns what, by the bus."""
        entries = await Bucket(self.operator, storage.GUILDS).snapshot()
        return {key: decode(entry.value or b"", Assignment) for key, entry in entries.items()}

    async def until_led(self, by: str = "", within_s: float = 20) -> str:
        """Wait until somebody (or the one named) leads; returns who."""
        async with asyncio.timeout(within_s):
            while not (leader := await self.leader()) or (by and leader != by):
                await asyncio.sleep(0.02)
            return leader

    async def until_all_assigned(self, expected: bool, within_s: float = 10) -> None:
        """Wait until the leader says anew that every guild of the history is assigned, or not."""
        bucket = Bucket(self.operator, storage.LEADERS)
        before = await bucket.get("config")
        async with asyncio.timeout(within_s):
            while True:
                entry = await bucket.get("config")
                anew = entry is not None and entry != before
                if anew and entry is not None and entry.value is not None:
                    lease = decode(entry.value, LeaderLease)
                    if lease.all_assigned is expected:
                        return
                await asyncio.sleep(0.02)

    async def leader(self) -> str:
        """Who leads, by the bus."""
        entry = await Bucket(self.operator, storage.LEADERS).get("config")
        if entry is None or entry.value is None:
            return ""
        return decode(entry.value, LeaderLease).holder

    async def status(self) -> ClusterStatus:
        """Ask config's service."""
        message = await self.operator.ask(subjects.config_endpoint("status"), b"", timeout_s=10)
        assert headers.SERVICE_ERROR not in (message.headers or {}), message.headers
        return decode(message.data, ClusterStatus)

    async def lease(self, pod: str) -> PodLease | None:
        """The pod's lease, by the bus; None when it has expired."""
        entry = await Bucket(self.operator, storage.PODS).get(pod)
        return decode(entry.value, PodLease) if entry is not None and entry.value else None

    async def until_zone(self, pod: str, zone: str, within_s: float = 20) -> None:
        """Wait until config shows a lease of the pod that states this zone."""
        async with asyncio.timeout(within_s):
            while zone not in {one.zone for one in (await self.status()).pods if one.pod == pod}:
                await asyncio.sleep(0.02)

    async def guild(self, guild: str) -> GuildPlacement:
        """Ask config's service about a guild."""
        query = encode(GuildQuery(guild=GuildId(guild)))
        message = await self.operator.ask(subjects.config_endpoint("guild"), query, timeout_s=10)
        assert headers.SERVICE_ERROR not in (message.headers or {}), message.headers
        return decode(message.data, GuildPlacement)

    async def status_when_ready(self) -> ClusterStatus:
        """Ask until the replica has read everything and PostgreSQL is there."""
        async with asyncio.timeout(10):
            while True:
                with contextlib.suppress(NoOwner, AssertionError):
                    status = await self.status()
                    if status.leader and status.database == "up":
                        return status
                await asyncio.sleep(0.02)

    async def fetch(self, query: str) -> list[tuple[object, ...]]:
        """Rows of config's database."""
        connection = await asyncpg.connect(self.database_url)
        try:
            return [tuple(row) for row in await connection.fetch(query)]
        finally:
            await connection.close()

    async def history_rows(self) -> int:
        """Changes of ownership that PostgreSQL has."""
        ((count,),) = await self.fetch("SELECT count(*)::int FROM ownership_history")
        assert isinstance(count, int)
        return count

    async def until_history(self, guild: str, epoch: int, within_s: float = 15) -> None:
        """Wait until PostgreSQL has the guild's epoch."""
        query = (
            f"SELECT 1 FROM ownership_history WHERE guild = {int(guild)} AND epoch = {int(epoch)}"
        )
        async with asyncio.timeout(within_s):
            while True:
                with contextlib.suppress(asyncpg.UndefinedTableError):
                    if await self.fetch(query):
                        return
                await asyncio.sleep(0.05)

    async def until_epoch(self, guild: str, epoch: int, within_s: float = 10) -> None:
        """Wait until the guild's owner is one of that epoch."""
        await self.until(lambda owned: owned[guild].epoch == epoch, within_s)

    async def until_opened_rows(self, count: int, within_s: float = 10) -> None:
        """Wait until so many rows of the history say how the opening went."""
        query = "SELECT epoch FROM ownership_history WHERE took_ms IS NOT NULL"
        async with asyncio.timeout(within_s):
            while len(await self.fetch(query)) < count:
                await asyncio.sleep(0.05)

    async def until_opened(self, *guilds: str, within_s: float = 20) -> None:
        """Wait until the owner of each guild has said that it is open at its epoch."""
        async with asyncio.timeout(within_s):
            while True:
                owned = await self.assignments()
                said = await Bucket(self.operator, storage.HANDOFFS).snapshot("holds.>")
                if all(
                    guild in owned
                    and (entry := said.get(f"holds.{guild}.{owned[guild].pod}")) is not None
                    and decode(entry.value or b"", Holding).epoch == owned[guild].epoch
                    for guild in guilds
                ):
                    return
                await asyncio.sleep(0.05)

    async def until_followed(self, *guilds: str, within_s: float = 20) -> None:
        """Wait until each guild has a follower that has said that it holds the rows."""
        async with asyncio.timeout(within_s):
            while True:
                owned = await self.assignments()
                said = await Bucket(self.operator, storage.HANDOFFS).snapshot("holds.>")
                if all(
                    guild in owned
                    and (follower := owned[guild].follower) is not None
                    and f"holds.{guild}.{follower.pod}" in said
                    for guild in guilds
                ):
                    return
                await asyncio.sleep(0.05)

    async def ask(self, verb: str, request: Message, answer: type[T]) -> T:
        """Ask config's service, as the operator; a refusal raises `ServiceError`."""
        message = await self.operator.ask(
            subjects.config_endpoint(verb), encode(request), timeout_s=10
        )
        fields = message.headers or {}
        if words := fields.get(headers.SERVICE_ERROR):
            raise ServiceError(int(fields[headers.SERVICE_ERROR_CODE]), words)
        return decode(message.data, answer)

    async def until_done(self, operation: str, within_s: float = 20) -> OperationProgress:
        """Wait until the operation says that it is over."""
        async with asyncio.timeout(within_s):
            while True:
                progress = self.progress.get(operation)
                if progress is not None and progress.state != "running":
                    return progress
                await asyncio.sleep(0.02)

    async def until_running(self, operation: str, within_s: float = 20) -> OperationProgress:
        """Wait until the operation says that it is under way."""
        async with asyncio.timeout(within_s):
            while operation not in self.progress:
                await asyncio.sleep(0.02)
        assert self.progress[operation].state == "running"
        return self.progress[operation]

    async def until(
        self, holds: Callable[[dict[str, Assignment]], bool], within_s: float = 20
    ) -> None:
        """Wait until the assignments are so."""
        try:
            async with asyncio.timeout(within_s):
                while not holds(await self.assignments()):
                    await asyncio.sleep(0.02)
        except TimeoutError:
            raise AssertionError(
                f"not so within {within_s} s: {await self.assignments()}"
            ) from None

    async def reason(self, guild: str, words: str, within_s: float = 10) -> None:
        """Wait until the guild waits for a reason with these words."""
        placement = None
        try:
            async with asyncio.timeout(within_s):
                while True:
                    await self.status_when_ready()
                    placement = await self.guild(guild)
                    if placement.state == "waiting" and words in placement.reason:
                        return
                    await asyncio.sleep(0.05)
        except TimeoutError:
            raise AssertionError(f"no reason with {words!r}: {placement}") from None

    async def _hear(self, message: Msg) -> None:
        progress = decode(message.data, OperationProgress)
        self.progress[progress.operation] = progress

    async def close(self) -> None:
        """End everything that was started."""
        for pod in self._pods:
            await pod.vanish()
        for process in self._processes:
            process.close()
        for replica in self._replicas:
            await replica.stop()
