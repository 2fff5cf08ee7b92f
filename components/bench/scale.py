"""What 1,000, 10,000 and 100,000 guilds cost config: its start-up and the leader's memory.

The buckets of a real nats-server are filled with assignments, registrations and reports of who
holds what, over pods that exist only as leases which this measurement renews. For each size one
replica of config is started as the stack starts it: measured is the time from the start of the
process until it leads and knows every guild, and its resident memory then. ``slope`` is the
exponent of the growth between the two largest sizes, without what a replica needs anyway: 1 is
linear. Baseline: the same without guilds.
"""

import asyncio
import math
import time
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

import msgspec
import psutil

from components.bench.result import Baseline, BenchResult, Figure
from components.bench.stage import stage
from components.bus.buckets import Bucket
from components.bus.connection import Bus, connect
from components.bus.errors import BusError
from components.bus.settings import BusSettings
from components.chaos.arena import Arena, NotInTime
from components.stack.plan import modbot
from contracts import storage, subjects
from contracts.ids import Epoch, Generation, GuildId, Incarnation, PodId
from contracts.ids import Sequence as InputSequence
from contracts.message import MalformedMessage, decode, encode
from contracts.operations import ClusterStatus
from contracts.records import Assignment, Holder, Holding, PodLease, RegisteredGuild, StateSource

NONE = ("--gateways", "0", "--shards", "0", "--edges", "0", "--configs", "0")
FIRST_GUILD = 10**17
GUILDS_A_POD = 1000
GUILDS_A_SHARD = 2000
WRITES_AT_ONCE = 400
RENEW_EVERY_S = 1.0
TTL_S = 5
KNOWN_WITHIN_S = 300.0
LOOK_EVERY_S = 0.05
SETTLED_S = 5.0
"""Memory is read so long after the start: the first decisions are made by then."""


class ScaleOptions(msgspec.Struct, frozen=True, kw_only=True):
    """The ``sizes`` that are measured, in guilds."""

    sizes: tuple[int, ...] = (1_000, 10_000, 100_000)
    seed: int = 1


class Grown(msgspec.Struct, frozen=True, kw_only=True):
    """What one size costs."""

    guilds: int
    start_s: float
    rss_mib: float


async def run_scale(home: Path, options: ScaleOptions, say: Callable[[str], None]) -> BenchResult:
    """The `scale` measurement on a NATS and a PostgreSQL of its own below ``home``."""
    say("starting NATS and PostgreSQL")
    async with stage(home, *NONE, seed=options.seed) as arena, _users(arena) as buses:
        pods = Pods(buses["gateway"])
        renewing = asyncio.create_task(pods.renew())
        try:
            empty = await _measured(arena, 0)
            say(f"without guilds: {empty.start_s:.2f} s, {empty.rss_mib:.0f} MiB")
            sizes: list[Grown] = []
            for size in sorted(options.sizes):
                await pods.grow(-(-size // GUILDS_A_POD) + 1)
                filled_s = await _fill(buses, sizes[-1].guilds if sizes else 0, size)
                one = await _measured(arena, size)
                sizes.append(one)
                say(
                    f"{size} guilds (filled in {filled_s:.0f} s): {one.start_s:.2f} s, "
                    f"{one.rss_mib:.0f} MiB"
                )
        finally:
            renewing.cancel()
            await asyncio.gather(renewing, return_exceptions=True)
    return _result(options, empty, sizes)


class Pods:
    """Pods that exist only as leases."""

    def __init__(self, bus: Bus) -> None:
        self._bucket = Bucket(bus, storage.PODS)
        self._count = 0

    async def grow(self, count: int) -> None:
        """Let there be so many."""
        self._count = max(self._count, count)
        await self._write()

    async def renew(self) -> None:
        """Renew all leases until cancelled."""
        while True:
            await asyncio.sleep(RENEW_EVERY_S)
            await self._write()

    async def _write(self) -> None:
        leases = (lease_of(number) for number in range(self._count))
        await asyncio.gather(
            *(self._bucket.put(lease.pod, encode(lease), ttl_s=TTL_S) for lease in leases)
        )


def lease_of(number: int) -> PodLease:
    """The lease of a pod that is well."""
    return PodLease(
        pod=PodId(f"pod-{number}"),
        incarnation=Incarnation(f"first-{number}"),
        data=f"disk-{number}",
        state="serving",
        guilds=GUILDS_A_POD,
        capacity=2 * GUILDS_A_POD + 500,
        version="1",
        engine_version=1,
        started_ms=0,
        ttl_s=TTL_S,
    )


def records_of(number: int, pods: int) -> tuple[RegisteredGuild, Assignment, list[Holding]]:
    """What the bus holds of a guild that is owned and followed."""
    guild = GuildId(str(FIRST_GUILD + number))
    owner, follower = lease_of(number % pods), lease_of((number + 1) % pods)
    assert owner.incarnation is not None
    assert follower.incarnation is not None
    source = StateSource(pod=owner.pod, incarnation=owner.incarnation, data=owner.data)
    assignment = Assignment(
        guild=guild,
        pod=owner.pod,
        incarnation=owner.incarnation,
        epoch=Epoch(1),
        first_sequence=InputSequence(1),
        generation=Generation("g"),
        cause="placed",
        since_ms=0,
        follower=Holder(pod=follower.pod, incarnation=follower.incarnation),
        sources=[source],
    )
    holdings = [
        Holding(
            guild=guild,
            pod=lease.pod,
            incarnation=lease.incarnation or Incarnation(""),
            data=lease.data,
            role="own" if lease is owner else "follow",
            epoch=Epoch(1),
            sequence=InputSequence(1),
            beat=1,
            source="log",
        )
        for lease in (owner, follower)
    ]
    registered = RegisteredGuild(
        guild=guild, name=f"guild {number}", shard=number // GUILDS_A_SHARD, seen_ms=0
    )
    return registered, assignment, holdings


async def _fill(buses: dict[str, Bus], start: int, end: int) -> float:
    """Write everything about the guilds from number ``start`` to ``end``."""
    began_s = time.monotonic()
    pods = -(-end // GUILDS_A_POD) + 1
    registry, guilds = Bucket(buses["shard"], storage.REGISTRY), Bucket(buses["config"], "guilds")
    handoffs = Bucket(buses["gateway"], storage.HANDOFFS)
    left = iter(range(start, end))

    async def write() -> None:
        # So many in turn: 90,000 tasks at once keep the loop busy for longer than an answer may
        # take.
        for number in left:
            registered, assignment, holdings = records_of(number, pods)
            await guilds.put(assignment.guild, encode(assignment))
            for holding in holdings:
                await handoffs.put(f"holds.{holding.guild}.{holding.pod}", encode(holding))
            await registry.put(registered.guild, encode(registered))

    async with asyncio.TaskGroup() as group:
        for _ in range(WRITES_AT_ONCE):
            group.create_task(write())
    return time.monotonic() - began_s


async def _measured(arena: Arena, guilds: int) -> Grown:
    """Start one replica, wait until it leads and knows the guilds, weigh it, stop it."""
    record = arena.live.record
    environment = {
        **_own_environment(),
        "MODBOT_REPLICA": "config-0",
        "MODBOT_LOG_LEVEL": "WARNING",
        "MODBOT_NATS_URL": record.urls["nats"],
        "MODBOT_NATS_SEED_FILE": str(Path(record.credentials["seeds"]) / "config.nk"),
        "MODBOT_CONFIG_DATABASE_URL_FILE": record.credentials["database_url"],
    }
    with (arena.live.home / "logs" / "config.log").open("ab") as log:
        began_s = time.monotonic()
        process = await asyncio.create_subprocess_exec(
            *modbot("run", "config"), env=environment, stdout=log, stderr=log
        )
    try:
        await _knows(arena.live.bus, guilds)
        start_s = time.monotonic() - began_s
        await asyncio.sleep(SETTLED_S)
        rss = psutil.Process(process.pid).memory_info().rss
        return Grown(guilds=guilds, start_s=start_s, rss_mib=rss / 1024**2)
    finally:
        process.terminate()
        await process.wait()


def _own_environment() -> dict[str, str]:
    return psutil.Process().environ()


async def _knows(bus: Bus, guilds: int) -> None:
    """Wait until config leads and knows so many guilds, none of which waits for anything."""
    status: ClusterStatus | None = None
    try:
        async with asyncio.timeout(KNOWN_WITHIN_S):
            while True:
                try:
                    reply = await bus.ask(subjects.config_endpoint("status"), b"{}", timeout_s=2)
                    status = decode(reply.data, ClusterStatus)
                except (BusError, MalformedMessage):  # an error is no status
                    status = None
                if status is not None and _is_whole(status, guilds):
                    return
                await asyncio.sleep(LOOK_EVERY_S)
    except TimeoutError:
        seen = "no status" if status is None else f"{status.guilds} guilds"
        raise NotInTime(
            f"not within {KNOWN_WITHIN_S:g} s: {guilds} guilds known ({seen})"
        ) from None


def _is_whole(status: ClusterStatus, guilds: int) -> bool:
    known = bool(status.leader) and status.guilds >= guilds
    return known and not status.waiting_total and not status.without_follower


@asynccontextmanager
async def _users(arena: Arena) -> AsyncIterator[dict[str, Bus]]:
    """Connections as those who may write the buckets."""
    seeds = Path(arena.live.record.credentials["seeds"])
    buses: dict[str, Bus] = {}
    try:
        for user in ("config", "shard", "gateway"):
            seed = (seeds / f"{user}.nk").read_text(encoding="ascii").strip()
            settings = BusSettings(url=arena.live.record.urls["nats"], seed=seed)
            buses[user] = await connect(settings, user=user, name=f"bench-{user}")
        yield buses
    finally:
        for bus in buses.values():
            await bus.close()


def slope(sizes: Sequence[Grown], value: Callable[[Grown], float], empty: float) -> float:
    """The exponent of growth between the two largest sizes, without what there is anyway."""
    small, large = sizes[-2], sizes[-1]
    more = max(value(large) - empty, 1e-3) / max(value(small) - empty, 1e-3)
    return math.log(more) / math.log(large.guilds / small.guilds)


def _result(options: ScaleOptions, empty: Grown, sizes: Sequence[Grown]) -> BenchResult:
    figures: list[Figure] = []
    for one in sizes:
        figures += [
            Figure(
                name=f"start_{one.guilds}_s",
                value=round(one.start_s, 2),
                unit="s",
                baseline=Baseline(name="no guilds", value=round(empty.start_s, 2)),
            ),
            Figure(
                name=f"leader_{one.guilds}_mib",
                value=round(one.rss_mib, 1),
                unit="MiB",
                baseline=Baseline(name="no guilds", value=round(empty.rss_mib, 1)),
            ),
        ]
    if len(sizes) > 1:
        start = slope(sizes, lambda one: one.start_s, empty.start_s)
        memory = slope(sizes, lambda one: one.rss_mib, empty.rss_mib)
        figures += [
            Figure(name="slope", value=round(start, 2), unit="exponent of guilds"),
            Figure(name="memory_slope", value=round(memory, 2), unit="exponent of guilds"),
        ]
    return BenchResult(
        bench="scale",
        seed=options.seed,
        checked=sum(one.guilds for one in sizes),
        figures=figures,
        ok=all(figure.ok for figure in figures),
    )
