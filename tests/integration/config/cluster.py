"""Replicas of config in the test's own process, and what shards and pods write on the bus."""

import asyncio
import contextlib
import os
import subprocess
import sys
from collections.abc import Callable

import asyncpg
import msgspec

from components.bus.buckets import Bucket
from components.bus.connection import Bus
from components.bus.errors import NoOwner
from components.bus.provisioning import provision
from components.config.bootstrap import run
from components.config.settings import ConfigSettings
from contracts import headers, storage, subjects
from contracts.ids import GuildId, Incarnation, PodId
from contracts.message import decode, encode
from contracts.operations import ClusterStatus, GuildPlacement, GuildQuery
from contracts.records import Assignment, LeaderLease, PodLease, RegisteredGuild
from tests.support.nats import RunningNats
from tests.support.postgres import RunningPostgres

TTL_S = 2


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
            "MODBOT_CONFIG_REPLACE_AFTER_S": str(settings.replace_after_s),
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
    """A gateway pod as config sees it: its lease."""

    def __init__(self, name: str, bus: Bus, capacity: int) -> None:
        self.name = PodId(name)
        self.capacity = capacity
        self.incarnation: Incarnation | None = None
        self.revision = 0
        self._bucket = Bucket(bus, storage.PODS)
        self._keeping: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """A new incarnation: create the lease (or take over a fence), then serve."""
        entry = await self._bucket.get(self.name)
        self.incarnation = None
        self.revision = await self._bucket.replace(
            self.name, encode(self.lease("starting")), entry.revision if entry else 0, ttl_s=TTL_S
        )
        self.incarnation = Incarnation(f"created-{self.revision}")
        await self.renew()
        self._keeping = asyncio.create_task(self._keep())

    async def restart(self) -> None:
        """A new incarnation, once the last lease has ended; a fence is taken over."""
        await self.ended()
        await self.start()

    async def ended(self) -> None:
        """Wait until the last lease has run out or was fenced."""
        async with asyncio.timeout(10):
            while True:
                entry = await self._bucket.get(self.name)
                if entry is None or entry.value is None:
                    break
                if decode(entry.value, PodLease).state == "fenced":
                    break
                await asyncio.sleep(0.02)

    async def revive(self) -> None:
        """Leave the lease behind without a time to live, as a killed nats-server may."""
        await self.vanish()
        self.revision = await self._bucket.replace(
            self.name, encode(self.lease("serving")), self.revision
        )

    async def renew(self, state: str = "serving") -> None:
        """Renew once."""
        value = encode(self.lease(state))
        self.revision = await self._bucket.replace(self.name, value, self.revision, ttl_s=TTL_S)

    async def vanish(self) -> None:
        """Stop renewing, as a killed process does."""
        if self._keeping is not None:
            self._keeping.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._keeping
            self._keeping = None

    def lease(self, state: str) -> PodLease:
        """The lease's value."""
        return PodLease(
            pod=self.name,
            incarnation=self.incarnation,
            data=f"disk of {self.name}",
            state=state,  # type: ignore[arg-type]  # the tests' words are the contract's
            capacity=self.capacity,
            version="1",
            engine_version=1,
            started_ms=1,
        )

    async def _keep(self) -> None:
        while True:
            await asyncio.sleep(TTL_S / 4)
            await self.renew()


class Cluster:
    """NATS and PostgreSQL with replicas of config, pods, and a shard's hand."""

    def __init__(self, nats: RunningNats, postgres: RunningPostgres, url: str) -> None:
        self.nats = nats
        self.postgres = postgres
        self.database_url = url
        self.settings = ConfigSettings(
            database_url=url, replace_after_s=60.0, pod_ttl_s=0.5, leader_ttl_s=2
        )
        self._replicas: list[Replica] = []
        self._processes: list[ReplicaProcess] = []
        self._pods: list[Pod] = []
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

    async def pod(self, name: str, capacity: int = 10_000) -> Pod:
        """Start a pod."""
        pod = Pod(name, self._gateway, capacity)
        self._pods.append(pod)
        await pod.start()
        return pod

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

    async def until_led(self, by: str = "", within_s: float = 10) -> str:
        """Wait until somebody (or the one named) leads; returns who."""
        async with asyncio.timeout(within_s):
            while not (leader := await self.leader()) or (by and leader != by):
                await asyncio.sleep(0.02)
            return leader

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

    async def until(self, holds: Callable[[dict[str, Assignment]], bool], within_s: float) -> None:
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

    async def close(self) -> None:
        """End everything that was started."""
        for pod in self._pods:
            await pod.vanish()
        for process in self._processes:
            process.close()
        for replica in self._replicas:
            await replica.stop()
