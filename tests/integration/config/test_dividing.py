"""Pods and config divide Discord's global rate over a real NATS server, before a real limit."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import cast

import aiohttp
import pytest
from discord.http import HTTPClient

from components.bus.buckets import Bucket
from components.bus.connection import Bus
from components.bus.leases import Lease
from components.config.dividing import Divider
from components.config.leadership import Leadership
from components.config.settings import ConfigSettings
from components.discord_api import DiscordSettings, point_at
from components.gateway.ownership.commands import Permit
from components.gateway.shell.effects.limits import InvalidRequests
from components.gateway.shell.effects.outcomes import Again, Refused
from components.gateway.shell.effects.rest import Rest
from components.gateway.shell.gate import Gate
from components.process.clock import steady_s
from components.shard.discord_rest import DiscordRest, logged_in
from components.shard.errors import DiscordUnavailable
from components.shard.history import Turns
from components.shard.presence import Presence
from components.sharing.invalid import InvalidCount
from components.sharing.place import Shares
from components.sharing.slots import RateShare
from components.simulator.bootstrap import Simulator, running_simulator
from components.simulator.client import SimulatorControl
from components.simulator.settings import Settings
from contracts import storage
from contracts.ids import Epoch, GuildId, Incarnation, PodId
from contracts.message import decode, encode
from contracts.records import PodLease, RestShares, ShardReplica
from tests.support.nats import RunningNats

PERMIT = Permit(GuildId("42"), Epoch(1))
SETTINGS = ConfigSettings(database_url="postgresql://unused", pod_ttl_s=2.0, leader_ttl_s=2)


class OpenGate:
    """Ownership is not what is looked at here."""

    def check(self, permit: Permit) -> None:
        """Everything may pass."""

    check_effects = check


class Member:
    """A pod of which only the lease and the way to Discord run."""

    def __init__(self, bus: Bus, name: str, token: str, invalid_limit: int = 5000) -> None:
        self.bus = bus
        self.pod = PodId(name)
        self.incarnation = Incarnation(f"start-{bus.client_id}")
        self.lease = Lease(Bucket(bus, storage.PODS), name, ttl_s=2, renew_every_s=0.4)
        self._soon = asyncio.Event()
        self.share = RateShare()
        self.invalid = InvalidRequests(invalid_limit)
        self.rest = Rest(cast("Gate", OpenGate()), lambda: 5.0, self.share, self.invalid)
        self._token = token
        self._tasks: list[asyncio.Task[None]] = []

    async def start(self) -> None:
        assert await self.lease.acquire(self._value())
        self.share.on_news = self._soon.set
        shares = Shares(
            self.bus,
            self.pod,
            self.incarnation,
            self.share,
            50.0,
            heard=lambda record: self.invalid.publish(record.invalid_requests, len(record.shares)),
        )
        self._tasks = [
            asyncio.create_task(self._keep()),
            asyncio.create_task(shares.run()),
        ]
        await self.rest.login(self._token)

    async def stop(self) -> None:
        """End without a word, as a pod that is killed."""
        for task in self._tasks:
            task.cancel()
        await self.rest.close()
        await self.bus.close()

    async def _keep(self) -> None:
        while True:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(self.lease.renew_every_s):
                    await self._soon.wait()
            self._soon.clear()
            await self.lease.renew(self._value())

    def _value(self) -> bytes:
        wanted, kept, revision = self.share.report()
        return encode(
            PodLease(
                pod=self.pod,
                incarnation=self.incarnation,
                data=self.pod,
                state="serving",
                capacity=1,
                version="",
                engine_version=1,
                started_ms=0,
                rest_wanted_per_s=wanted,
                rest_share_per_s=kept,
                rest_share_revision=revision,
                invalid_requests=self.invalid.count,
            )
        )


@asynccontextmanager
async def dividing(nats_server: RunningNats) -> AsyncIterator[None]:
    bus = await nats_server.connect("config")
    leadership = Leadership(bus, "config-0", ttl_s=2)
    divider = Divider(bus, leadership, SETTINGS)
    leading = asyncio.create_task(leadership.run(divider.lead))
    yield
    leading.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await leading
    await bus.close()


async def shares_now(member: Member) -> RestShares:
    entry = await Bucket(member.bus, storage.SHARES).get("rest")
    assert entry is not None
    assert entry.value is not None
    return decode(entry.value, RestShares)


async def until(true: Callable[[], Awaitable[bool]], within_s: float = 10.0) -> None:
    async with asyncio.timeout(within_s):
        while not await true():
            await asyncio.sleep(0.05)


@pytest.fixture
async def discord() -> AsyncIterator[Simulator]:
    async with running_simulator() as simulator:
        point_at(DiscordSettings(token="unused", api_url=simulator.api_url))
        yield simulator


@pytest.fixture
async def members(nats_server: RunningNats, discord: Simulator) -> AsyncIterator[list[Member]]:
    made = []
    for number in range(4):
        bus = await nats_server.connect("gateway")
        made.append(Member(bus, f"gateway-{number}", discord.world.settings.token))
    async with asyncio.TaskGroup() as group:
        for member in made:
            group.create_task(member.start())
    yield made
    for member in made:
        await member.stop()


async def get_nothing(http: HTTPClient) -> object:
    return await http.get_guild(42)


async def hammer(member: Member) -> None:
    """One request after the other, as a guild's lane does."""
    while True:
        with contextlib.suppress(Refused):  # there is no such guild: a 404
            await member.rest.call(PERMIT, get_nothing)


async def busiest_second(control: SimulatorControl) -> int:
    """The most requests for the guild that Discord has seen in any one second."""
    entries = await control.record_all(["rest"])
    times = [entry.at_ms for entry in entries if entry.data["path"].endswith("/guilds/42")]
    first = most = 0
    for last, at_ms in enumerate(times):
        while at_ms - times[first] >= 1000:
            first += 1
        most = max(most, last - first + 1)
    return most


async def test_one_hot_pod_uses_nearly_everything_and_a_quiet_one_has_a_share_to_act_at_once(
    nats_server: RunningNats, members: list[Member], discord: Simulator
) -> None:
    async with SimulatorControl(discord.url) as control, dividing(nats_server):
        await control.set_limits(buckets={"guild": (1000, 1.0)})
        hammers = [asyncio.create_task(hammer(members[0])) for _ in range(8)]

        async def nearly_all() -> bool:
            return (await shares_now(members[0])).shares[PodId("gateway-0")] == 47

        async def used() -> bool:
            return await busiest_second(control) > 40

        await until(nearly_all, 20.0)
        await until(used, 20.0)
        shares = (await shares_now(members[0])).shares
        for quiet in members[1:]:
            assert shares[quiet.pod] == 1
            with pytest.raises(Refused):
                await asyncio.wait_for(quiet.rest.call(PERMIT, get_nothing), 10)
        assert await busiest_second(control) <= 50
        assert (await control.limits())["global_429"] == 0
        for task in hammers:
            task.cancel()


async def test_a_replica_of_the_shard_reads_a_gap_within_the_limit_of_all(
    nats_server: RunningNats, members: list[Member], discord: Simulator
) -> None:
    bus = await nats_server.connect("shard")
    presence = Presence(bus, "shard-0", ttl_s=2, invalid=InvalidCount(steady_s), rest_per_s=50.0)
    reads = Turns(presence.share, presence.valid, per_s=100.0)
    key = f"{storage.SHARD_REPLICA}shard-0"

    async def read(rest: DiscordRest) -> None:
        while True:
            async with reads.turn():
                with contextlib.suppress(DiscordUnavailable):  # there is no such guild
                    await rest.channels(GuildId("42"))

    async def even() -> bool:
        shares = (await shares_now(members[0])).shares
        return min(shares[members[0].pod], shares.get(key, 0)) >= 23

    async def returned() -> bool:
        return (await shares_now(members[0])).shares[key] == 1

    token = discord.world.settings.token
    async with (
        SimulatorControl(discord.url) as control,
        dividing(nats_server),
        logged_in(token, aiohttp.TraceConfig()) as rest,
    ):
        await control.set_limits(buckets={"guild": (1000, 1.0)})
        await asyncio.sleep(1.0)  # so long Discord counts the login, which is in nobody's share
        shown = asyncio.create_task(presence.run())
        hammers = [asyncio.create_task(hammer(members[0])) for _ in range(8)]
        reading = [asyncio.create_task(read(rest)) for _ in range(30)]
        await until(even, 20.0)
        for task in reading:
            task.cancel()
        await until(returned, 20.0)
        for task in hammers:
            task.cancel()
        shown.cancel()
        await asyncio.wait([shown, *hammers, *reading])
        assert (await control.limits())["global_429"] == 0


async def test_the_last_division_holds_while_config_is_away(
    nats_server: RunningNats, members: list[Member], discord: Simulator
) -> None:
    async with dividing(nats_server):

        async def even() -> bool:
            return sorted((await shares_now(members[0])).shares.values()) == [12, 12, 13, 13]

        await until(even)
    before = await shares_now(members[0])
    share = before.shares[PodId("gateway-0")]

    async def kept() -> bool:
        return members[0].share.report()[1] == share

    await until(kept)
    task = asyncio.create_task(hammer(members[0]))
    async with SimulatorControl(discord.url) as control:

        async def three_shares() -> bool:
            entries = await control.record_all(["rest"])
            paths = [entry.data["path"] for entry in entries]
            return len([path for path in paths if path.endswith("/guilds/42")]) > 3 * share

        await until(three_shares, 30.0)
        assert await busiest_second(control) <= share
    task.cancel()
    assert await shares_now(members[0]) == before


async def test_what_a_pod_that_is_gone_had_returns(
    nats_server: RunningNats, members: list[Member]
) -> None:
    async with dividing(nats_server):
        await members[3].stop()
        gone = members.pop()

        async def returned() -> bool:
            record = await shares_now(members[0])
            return gone.pod not in record.shares and sum(record.shares.values()) == 50

        await until(returned, 15.0)


async def test_invalid_requests_are_counted_for_all_pods_and_the_shard(
    nats_server: RunningNats, members: list[Member]
) -> None:
    for member in members[:2]:
        for _ in range(30):
            member.invalid.note()
    shards = Bucket(await nats_server.connect("shard"), storage.SHARDS)
    key = f"{storage.SHARD_REPLICA}shard-0"
    await shards.put(key, encode(ShardReplica(replica="shard-0", since_ms=1, invalid_requests=7)))
    async with dividing(nats_server):

        async def counted() -> bool:
            return (await shares_now(members[0])).invalid_requests == 67

        await until(counted)
        await shards.delete(key)
        for member in members:
            assert member.invalid.wait_s == 0
        for _ in range(4935):
            members[0].invalid.note()  # with the shard's, which has ended, it is too many

        async def all_wait() -> bool:
            return all(member.invalid.wait_s > 0 for member in members)

        await until(all_wait)


async def test_pods_together_stop_posting_long_before_discord_bans_their_address(
    nats_server: RunningNats,
) -> None:
    banned_at, stop_at = 450, 150  # what comes within a second or two of the limit is little of it
    settings = Settings(invalid_requests=banned_at)
    async with (
        running_simulator(settings) as discord,
        SimulatorControl(discord.url) as control,
        dividing(nats_server),
    ):
        point_at(DiscordSettings(token="unused", api_url=discord.api_url))
        await control.set_limits(buckets={"guild": (1000, 1.0)})
        await control.add_fault(path="*/guilds/42", status=403, count=None)
        token = discord.world.settings.token
        members = [
            Member(await nats_server.connect("gateway"), f"gateway-{number}", token, stop_at)
            for number in range(4)
        ]
        for member in members:
            await member.start()

        async def post_until_all_must_wait(member: Member) -> None:
            """What must wait looks again: it may be the pod's own estimate alone that stops it."""
            while True:
                try:
                    await member.rest.call(PERMIT, get_nothing, urgent=False)
                except Refused:
                    continue
                except Again as again:
                    if "too many invalid requests" not in str(again):
                        raise
                    if (await shares_now(member)).invalid_requests >= stop_at:
                        return
                    await asyncio.sleep(0.05)

        async with asyncio.timeout(60), asyncio.TaskGroup() as group:
            for member in members:
                group.create_task(post_until_all_must_wait(member))
        counted = sum((await control.limits())["invalid"].values())
        assert stop_at <= counted < banned_at / 2
        with pytest.raises(Refused, match="404"):  # what is urgent goes on, and is answered
            await members[0].rest.call(PERMIT, lambda http: http.get_guild(43))
        for member in members:
            await member.stop()
