"""What one pod can carry: 1,000 and 5,000 guilds.

For each size a stack of its own with one gateway, which owns every guild. Measured are

- the time from the first guild that invites the bot to the last open one;
- resident memory, the most of three readings: quiet, after the backlog, and after following;
- reads and writes, one at a time, none of them refused;
- the log that is already there: messages are posted while the pod is down, and it applies them
  when it is back. ``events_per_s`` is by its own database, from the moment in which the pod opens
  it to the last of them;
- what following costs: a second pod follows every guild, and both take the same messages;
- the takeover: the owner is killed and stays away; a sample of guilds is asked until it answers.

Baselines: for answers config's, over the same NATS, to a question about nothing; for the follower
the owner.
"""

import asyncio
import contextlib
import itertools
import math
import random
import signal
import sqlite3
import time
import uuid
from collections.abc import Callable, Mapping
from pathlib import Path

import msgspec
import psutil

from components.bench.asking import a_read, a_write, until_answered
from components.bench.extra import ExtraGateway, disk
from components.bench.posting import Chatter, posting
from components.bench.result import Baseline, BenchResult, Figure, percentile
from components.bench.stage import id_of, make_guilds, opened, pause, put_all, served, stage
from components.bus import stream
from components.bus.connection import Bus
from components.chaos.arena import Arena, NotInTime, NotThere
from components.config.reshard import GUILDS_PER_SHARD
from components.gateway.engine.pod_tables import get_meta
from components.gateway.shell.applier import RUNNING
from components.simulator.client import GuildInfo
from contracts import headers, storage, subjects
from contracts.errors import ServiceError
from contracts.ids import GuildId, Sequence
from contracts.message import encode
from contracts.requests import Request

POD = "gateway-0"
SECOND = "gateway-1"
MANY = 200
"""Messages that are posted in one request."""
OPENED_WITHIN_S = 300.0
CAUGHT_UP_WITHIN_S = 180.0
AHEAD = 1_000
"""Messages that are posted and not on the log yet."""
LIVE_PART = 4
"""Live, a quarter of the backlog is posted."""
LOOK_EVERY_S = 0.05
LOOK_AT_DISK_S = 0.1
"""Each look takes some milliseconds of a processor that the pod needs."""
QUESTIONS = 300
SAMPLED = 20
TAKEN_WITHIN_S = 60.0
EVENTS_LIMIT = 4000.0
LIVE_SHARE = 0.9
"""Of what the log took in the same seconds: the last look at the database comes up to 0.1 s late,
after some seconds."""
LIMITS_AT = 1000
"""Guilds. With more of them the backlog is a few messages each, and opening them takes the time."""
RSS_LIMITS_MIB = {"gateway": 160.0, "config": 80.0, "edge": 120.0}


class CapacityOptions(msgspec.Struct, frozen=True, kw_only=True):
    """``sizes`` in guilds on one pod; ``backlog`` messages that are on the log already; ``rate``
    messages a second for ``live_s`` that owner and follower take."""

    sizes: tuple[int, ...] = (1000, 5000)
    backlog: int = 40_000
    rate: float = 200.0
    live_s: float = 15.0
    seed: int = 1


class Carried(msgspec.Struct, kw_only=True):
    """What one size costs."""

    guilds: int
    open_s: float = 0.0
    rss_mib: dict[str, float] = {}
    """The most of all readings, by component."""
    quiet_mib: dict[str, float] = {}
    """The first reading."""
    raw_ms: list[float] = []
    read_ms: list[float] = []
    write_ms: list[float] = []
    events_per_s: float = 0.0
    read_per_s: float = 0.0
    """The same log, read by a client that does nothing with it."""
    backlog: int = 0
    live_per_s: float = 0.0
    logged_per_s: float = 0.0
    """What is posted without a pause, on the log."""
    follow_s: float = 0.0
    posted: Figure | None = None
    """What was posted while it was followed."""
    owner_mib: float = 0.0
    """Beside its follower."""
    follower_mib: float = 0.0
    owner_cpu_ms: float = 0.0
    follower_cpu_ms: float = 0.0
    takeover_s: list[float] = []


async def run_capacity(
    home: Path, options: CapacityOptions, say: Callable[[str], None]
) -> BenchResult:
    """The `capacity` measurement, a stack a size, below ``home``."""
    found = [await _carry(home / str(size), size, options, say) for size in options.sizes]
    figures = [figure for one in found for figure in figures_of(one, options.sizes)]
    return BenchResult(
        bench="capacity",
        seed=options.seed,
        checked=sum(one.guilds for one in found),
        figures=figures,
        ok=all(figure.ok for figure in figures),
    )


async def _carry(
    home: Path, size: int, options: CapacityOptions, say: Callable[[str], None]
) -> Carried:
    say(f"starting a stack with {size} guilds on one pod")
    environment = {
        "MODBOT_GATEWAY_CAPACITY": str(2 * size),
        "MODBOT_GATEWAY_GRACE_S": "0",
        # Fixed at the start, when there are no guilds yet; config places no more on one.
        "MODBOT_SHARD_COUNT": str(math.ceil(size / GUILDS_PER_SHARD)),
    }
    found = Carried(guilds=size)
    counts = ("--gateways", "1", "--configs", "1")
    async with stage(home, *counts, seed=options.seed, environment=environment) as arena:
        await arena.live.control.set_limits(enabled=False)
        began_s = time.monotonic()
        guilds = await make_guilds(arena.live.control, size, "town")
        arena.guilds = [id_of(guild) for guild in guilds]
        await opened(arena, OPENED_WITHIN_S)
        found.open_s = time.monotonic() - began_s
        await put_all(arena)
        await pause(arena.live.bus, paused=True)
        found.quiet_mib = found.rss_mib = resident(arena)
        say(f"{size} guilds open after {found.open_s:.1f} s, {found.rss_mib['gateway']:.0f} MiB")
        await _ask(arena, found)
        await _catch_up(arena, guilds, options, found)
        found.rss_mib = most(found.rss_mib, resident(arena))
        say(f"{found.events_per_s:.0f} inputs a second from a log of {found.backlog}")
        await _live(arena, guilds, options, found)
        say(f"{found.live_per_s:.0f} a second live; the log took {found.logged_per_s:.0f}")
        second = ExtraGateway(arena, SECOND)
        try:
            await _follow(arena, guilds, second, options, found)
            found.rss_mib = most(found.rss_mib, resident(arena))
            say(f"followed after {found.follow_s:.1f} s; taking over")
            await _take_over(arena, found)
            say(f"taken over within {max(found.takeover_s):.2f} s")
        finally:
            await second.stop()
    return found


def resident(arena: Arena) -> dict[str, float]:
    """MiB by component; the parent of a gateway apart."""
    found: dict[str, float] = {}
    for name in ("config-0", "edge-0", "shard-0"):
        pid = arena.pid(name)
        if pid is not None:
            found[name.partition("-")[0]] = _mib(psutil.Process(pid))
    found["gateway"] = _mib(_worker(arena))
    parent = arena.pid(POD)
    if parent is not None:
        found["gateway_parent"] = _mib(psutil.Process(parent))
    return found


def most(*readings: Mapping[str, float]) -> dict[str, float]:
    """The largest of each component."""
    return {
        name: max(reading.get(name, 0.0) for reading in readings)
        for name in dict.fromkeys(itertools.chain(*readings))
    }


def _worker(arena: Arena) -> psutil.Process:
    pid = arena.worker(POD)
    if pid is None:
        raise NotThere(f"{POD} does not run")
    return psutil.Process(pid)


def _mib(process: psutil.Process) -> float:
    return float(process.memory_info().rss) / 1024**2


async def _ask(arena: Arena, found: Carried) -> None:
    """Questions one at a time, raw ones in between."""
    bus, dice = arena.live.bus, arena.dice
    nothing = subjects.config_endpoint("guild")
    for _ in range(QUESTIONS):
        guild = dice.choice(arena.guilds)
        found.raw_ms.append((await _timed(bus, nothing, b"{}", {}))[0])
        for request, times in ((a_read(), found.read_ms), (a_write(), found.write_ms)):
            times.append(await _asked_ms(bus, guild, request))


async def _asked_ms(bus: Bus, guild: GuildId, request: Request) -> float:
    """How long the answer took. Raises `ServiceError` for a refusal, however fast it was."""
    fields = {headers.REQUEST_ID: uuid.uuid4().hex} if request.writes else {}
    took_ms, told = await _timed(
        bus, subjects.request(guild, request.verb), encode(request), fields
    )
    if headers.SERVICE_ERROR_CODE in told:
        raise ServiceError(int(told[headers.SERVICE_ERROR_CODE]), told[headers.SERVICE_ERROR])
    return took_ms


async def _timed(
    bus: Bus, subject: str, data: bytes, fields: dict[str, str]
) -> tuple[float, dict[str, str]]:
    """Milliseconds until the reply, and its headers."""
    began = time.perf_counter()
    reply = await bus.ask(subject, data, fields, timeout_s=5)
    return (time.perf_counter() - began) * 1000, reply.headers or {}


async def _catch_up(
    arena: Arena, guilds: list[GuildInfo], options: CapacityOptions, found: Carried
) -> None:
    """Stop the pod in order, post, let it start again and watch its database."""
    before = arena.worker(POD)
    with arena.held(POD):
        arena.tell(POD, signal.SIGTERM)
        await arena.until(lambda: arena.worker(POD) is None, f"{POD} ends")
        first = (await stream.bounds(arena.live.bus, storage.INPUTS)).last
        await _post(arena, Chatter(guilds, random.Random(options.seed)), first, options.backlog)
        found.backlog = await _appended(arena, first, options.backlog)
        ends = await _ends(arena)
    await arena.restarted(POD, before)
    database = disk(arena, POD)
    await arena.until(lambda: _is_running(database), f"{POD} opens its database")
    began = time.monotonic()
    while await asyncio.to_thread(_left, database, ends) > 0:
        if time.monotonic() > began + CAUGHT_UP_WITHIN_S:
            raise NotInTime(f"not within {CAUGHT_UP_WITHIN_S:g} s: the pod has caught up")
        await asyncio.sleep(LOOK_AT_DISK_S)
    found.events_per_s = found.backlog / (time.monotonic() - began)
    began = time.monotonic()
    read = [await _read(arena.live.bus, guild, first) for guild in ends]
    found.read_per_s = sum(read) / (time.monotonic() - began)


async def _read(bus: Bus, guild: GuildId, after: int) -> int:
    """Inputs of one guild behind a sequence."""
    batch = await stream.read_batch(
        bus, storage.INPUTS, subjects.inputs(guild), Sequence(after + 1)
    )
    return len(batch)


async def _live(
    arena: Arena, guilds: list[GuildInfo], options: CapacityOptions, found: Carried
) -> None:
    """Post without a pause: when all was on the log, and when the pod had applied it."""
    first = (await stream.bounds(arena.live.bus, storage.INPUTS)).last
    count = options.backlog // LIVE_PART
    chatter = Chatter(guilds, random.Random(options.seed + 1))
    began = time.monotonic()
    await _post(arena, chatter, first, count)
    logged = await _reached(arena, first + count)
    ends = await _ends(arena)
    while await asyncio.to_thread(_left, disk(arena, POD), ends) > 0:
        if time.monotonic() > began + CAUGHT_UP_WITHIN_S:
            raise NotInTime(f"not within {CAUGHT_UP_WITHIN_S:g} s: the pod has applied all")
        await asyncio.sleep(LOOK_AT_DISK_S)
    found.logged_per_s = count / (logged - began)
    found.live_per_s = count / (time.monotonic() - began)


async def _post(arena: Arena, chatter: Chatter, first: int, count: int) -> None:
    """Post as fast as the log takes it: what is further ahead would only fill the shard's queue,
    which closes its socket when it is full."""
    for posted in range(0, count, MANY):
        await _reached(arena, first + posted - AHEAD)
        await arena.live.control.post_many(chatter.messages(MANY))


async def _reached(arena: Arena, end: int) -> float:
    """When the log was there."""
    until = time.monotonic() + CAUGHT_UP_WITHIN_S
    while (at := (await stream.bounds(arena.live.bus, storage.INPUTS)).last) < end:
        if time.monotonic() > until:
            raise NotInTime(
                f"not within {CAUGHT_UP_WITHIN_S:g} s: the log reaches {end}; it is at {at}"
            )
        await asyncio.sleep(LOOK_EVERY_S)
    return time.monotonic()


async def _ends(arena: Arena) -> dict[GuildId, int]:
    """The last input on each guild's log."""
    ends: dict[GuildId, int] = {}
    for start in range(0, len(arena.guilds), stream.MULTI_LAST_LIMIT):
        part = {
            subjects.inputs(guild): guild
            for guild in arena.guilds[start : start + stream.MULTI_LAST_LIMIT]
        }
        found = await stream.last_sequences(arena.live.bus, storage.INPUTS, list(part))
        ends |= {part[subject]: int(at) for subject, at in found.sequences.items()}
    return ends


def _reading(path: Path) -> sqlite3.Connection:
    return sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro", uri=True)


def _is_running(path: Path) -> bool:
    """Whether a pod has this database open, by its own mark."""
    with contextlib.closing(_reading(path)) as database:
        return get_meta(database, RUNNING) == "yes"


def _left(path: Path, ends: dict[GuildId, int]) -> int:
    """How far guilds are from those inputs in the database, in sequences, over all guilds."""
    with contextlib.closing(_reading(path)) as database:
        at = dict(database.execute("SELECT guild_id, sequence FROM guilds").fetchall())
    return sum(max(0, end - int(at.get(guild, 0))) for guild, end in ends.items())


async def _appended(arena: Arena, first: int, count: int) -> int:
    """Wait until so many messages, and nothing after them, are on the log; returns how many."""
    last, until = first, time.monotonic() + CAUGHT_UP_WITHIN_S
    while True:
        await asyncio.sleep(0.5)
        now = (await stream.bounds(arena.live.bus, storage.INPUTS)).last
        if now == last and now >= first + count:
            return now - first
        if time.monotonic() > until:
            raise NotInTime(
                f"not within {CAUGHT_UP_WITHIN_S:g} s: all messages are on the log; "
                f"{now - first} of {count} are"
            )
        last = now


async def _follow(
    arena: Arena,
    guilds: list[GuildInfo],
    second: ExtraGateway,
    options: CapacityOptions,
    found: Carried,
) -> None:
    """Have a second pod follow everything; what the same messages cost the two."""
    began_s = time.monotonic()
    await second.start()
    await served(arena, OPENED_WITHIN_S)
    found.follow_s = time.monotonic() - began_s
    owner, follower = _worker(arena), second.worker
    before = _cpu_s(owner), _cpu_s(follower)
    first = (await stream.bounds(arena.live.bus, storage.INPUTS)).last
    dice = random.Random(options.seed)
    async with posting(arena.live.control, guilds, options.rate, dice) as load:
        await asyncio.sleep(options.live_s)
        found.posted = load.figure()
    messages = (await stream.bounds(arena.live.bus, storage.INPUTS)).last - first
    found.owner_cpu_ms = (_cpu_s(owner) - before[0]) / messages * 1000
    found.follower_cpu_ms = (_cpu_s(follower) - before[1]) / messages * 1000
    found.owner_mib, found.follower_mib = _mib(owner), _mib(follower)


def _cpu_s(process: psutil.Process) -> float:
    times = process.cpu_times()
    return float(times.user + times.system)


async def _take_over(arena: Arena, found: Carried) -> None:
    """Kill the owner of everything; the follower answers."""
    chosen = arena.dice.sample(arena.guilds, min(SAMPLED, len(arena.guilds)))
    epochs = {guild: arena.watched.assignments[guild].epoch for guild in chosen}
    with arena.held(POD):
        killed_ms = arena.kill(POD)
        answered = await asyncio.gather(
            *(
                until_answered(arena.live.bus, guild, a_read(), epoch, TAKEN_WITHIN_S)
                for guild, epoch in epochs.items()
            )
        )
        found.takeover_s = [(at - killed_ms) / 1000 for at in answered]
        await opened(arena, TAKEN_WITHIN_S)


def figures_of(found: Carried, sizes: tuple[int, ...]) -> list[Figure]:
    """The figures of one size; the first size's have the plain names."""
    plain = found.guilds == sizes[0]
    at = "" if plain else f"_{found.guilds}"
    raw = Baseline(name="raw request", value=round(percentile(found.raw_ms, 0.5), 2))
    figures = [
        Figure(
            name=f"events_per_s{at}",
            value=round(found.events_per_s),
            unit="inputs/s",
            limit=EVENTS_LIMIT if found.guilds <= LIMITS_AT else None,
            at_least=True,
            baseline=Baseline(name="the log read, not applied", value=round(found.read_per_s)),
        ),
        Figure(
            name=f"live_per_s{at}",
            value=round(found.live_per_s),
            unit="inputs/s",
            limit=round(LIVE_SHARE * found.logged_per_s),
            at_least=True,
            baseline=Baseline(name="the log took", value=round(found.logged_per_s)),
        ),
        Figure(name=f"open{at}_s", value=round(found.open_s, 1), unit="s"),
    ]
    for component, mib in found.rss_mib.items():
        name = "rss_mib" if component == "gateway" else f"{component}_rss_mib"
        limit = RSS_LIMITS_MIB.get(component) if found.guilds <= LIMITS_AT else None
        figures.append(
            Figure(
                name=f"{name}{at}",
                value=round(mib, 1),
                unit="MiB",
                limit=limit,
                baseline=Baseline(name="quiet", value=round(found.quiet_mib[component], 1)),
            )
        )
    for what, times in (("read", found.read_ms), ("write", found.write_ms)):
        for name, share in (("p50", 0.5), ("p99", 0.99)):
            value = round(percentile(times, share), 2)
            figures.append(
                Figure(name=f"{what}_{name}{at}_ms", value=value, unit="ms", baseline=raw)
            )
    owner = Baseline(name="owner", value=round(found.owner_cpu_ms, 2))
    figures += [
        Figure(
            name=f"follow_cpu{at}_ms",
            value=round(found.follower_cpu_ms, 2),
            unit="ms a message",
            baseline=owner,
        ),
        Figure(
            name=f"follow_rss{at}_mib",
            value=round(found.follower_mib, 1),
            unit="MiB",
            baseline=Baseline(name="owner", value=round(found.owner_mib, 1)),
        ),
        Figure(name=f"follow_built{at}_s", value=round(found.follow_s, 1), unit="s"),
    ]
    if found.posted is not None:
        figures.append(msgspec.structs.replace(found.posted, name=f"posted_per_s{at}"))
    figures += [
        Figure(
            name=f"takeover_{name}{at}_s",
            value=round(percentile(found.takeover_s, share), 3),
            unit="s",
        )
        for name, share in (("p50", 0.5), ("max", 1.0))
    ]
    return figures
