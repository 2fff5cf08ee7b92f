"""Pods under a real config: who owns what is decided there, and nowhere in the test.

The test still stands in for the shard, and for whoever starts a pod again that has ended.
"""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager

from components.bus.errors import BusError
from contracts.errors import ServiceError
from contracts.records import Assignment
from contracts.requests import GuildStatus
from tests.integration.config.cluster import Cluster, ReplicaProcess
from tests.integration.gateway.town import PodProcess, Pods, Town, until
from tests.support.nats import RunningNats
from tests.support.postgres import RunningPostgres

LEASE_TTL_S = 2
"""Of the pods that `Pods` makes."""


class Fleet:
    """Some pods, one config, and the guilds that it places on them."""

    def __init__(self, cluster: Cluster, pods: Sequence[PodProcess]) -> None:
        self.cluster = cluster
        self.pods = list(pods)
        self.towns: list[Town] = []
        self.config: ReplicaProcess
        self.deaths: dict[str, list[int]] = {pod.name: [] for pod in pods}
        """Exit codes of pods that ended while they were `kept`, by pod."""

    def pod(self, name: str) -> PodProcess:
        """The pod of that name."""
        return next(pod for pod in self.pods if pod.name == name)

    async def settle(self, towns: Sequence[Town]) -> None:
        """Register the guilds and wait until every one of them is open and followed."""
        await self.open(towns)
        await self.cluster.until_followed(*(town.guild for town in towns), within_s=60)

    async def open(self, towns: Sequence[Town]) -> None:
        """Register the guilds and wait until every one of them is open."""
        self.towns += towns
        for town in towns:
            await self.cluster.register_as(town.guild, name=town.info.name, append=False)
        await self.cluster.until_opened(*(town.guild for town in towns), within_s=60)

    async def add(self, pod: PodProcess) -> PodProcess:
        """One more pod, which serves."""
        await pod.start()
        self.pods.append(pod)
        self.deaths[pod.name] = []
        return pod

    async def assignment(self, town: Town) -> Assignment:
        """Who owns and follows the guild."""
        return (await self.cluster.assignments())[town.guild]

    async def answers(self, town: Town, within_s: float = 40) -> GuildStatus:
        """Wait until the pod that the guild is assigned to answers for it."""

        async def answered() -> GuildStatus | None:
            assigned = await self.assignment(town)
            try:
                status = await town.status()
            except (BusError, ServiceError):
                return None  # nobody yet, or not ready
            return status if (status.pod, status.epoch) == (assigned.pod, assigned.epoch) else None

        status: GuildStatus = await until(answered, within_s)
        return status

    @asynccontextmanager
    async def kept(self) -> AsyncIterator[None]:
        """Inside the block every pod that ends is started again at once."""

        async def keep(pod: PodProcess) -> None:
            while True:
                assert pod.process is not None
                self.deaths[pod.name].append(await pod.process.wait())
                await pod.launch()

        keepers = [asyncio.create_task(keep(pod)) for pod in self.pods]
        try:
            yield
        finally:
            for keeper in keepers:
                keeper.cancel()
            await asyncio.gather(*keepers, return_exceptions=True)

    async def all_serve(self, within_s: float = 30) -> None:
        """Wait until every pod runs and has the lease of a start that serves."""

        async def serving() -> bool:
            leases = [await pod.lease() for pod in self.pods]
            return all(lease is not None and lease.state == "serving" for lease in leases)

        await until(serving, within_s)
        assert all(pod.process and pod.process.returncode is None for pod in self.pods)


@asynccontextmanager
async def fleet(
    nats: RunningNats,
    postgres: RunningPostgres,
    pods: Pods,
    count: int,
    settings: Mapping[str, str] | None = None,
    *,
    followers: int = 1,
    lease_ttl_s: int = LEASE_TTL_S,
) -> AsyncIterator[Fleet]:
    """Pods that serve, and a config that leads. ``settings``: variables of the pods."""
    cluster = Cluster(nats, postgres, await postgres.new_database())
    await cluster.connect()
    cluster.set(pod_ttl_s=lease_ttl_s, alarm_every_s=0.2, alarm_after_s=0.5, followers=followers)
    variables = {"MODBOT_GATEWAY_LEASE_TTL_S": str(lease_ttl_s), **(settings or {})}
    made = Fleet(cluster, [pods.make(f"gateway-{n}", **variables) for n in range(count)])
    try:
        made.config = cluster.config_process("config-0")
        await asyncio.gather(*(pod.start() for pod in made.pods))
        await cluster.until_led("config-0", within_s=30)
        yield made
    finally:
        await cluster.close()


@asynccontextmanager
async def talking(towns: Sequence[Town], every_s: float = 0.02) -> AsyncIterator[None]:
    """Inside the block somebody talks, in one guild after another."""

    async def talk() -> None:
        number = 0
        while True:
            await towns[number % len(towns)].say(f"message {number}")
            number += 1
            await asyncio.sleep(every_s)

    talk_on = asyncio.create_task(talk())
    try:
        yield
        assert not talk_on.done()
    finally:
        talk_on.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await talk_on
