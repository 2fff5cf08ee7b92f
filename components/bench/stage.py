"""The stage of a measurement of ownership: a live stack, handles on its processes, its guilds.

Raises `StackDidNotStart`, `NotInTime` for whatever does not come within its deadline, and
`WatchEnded`.
"""

import asyncio
import contextlib
import random
import uuid
from collections import Counter
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

import msgspec

from components.bus.connection import Bus
from components.bus.errors import BusError
from components.chaos.arena import BACK_S, Arena, NotInTime
from components.chaos.run import loading
from components.chaos.watching import Watched
from components.simulator.client import GuildInfo, SimulatorControl
from components.stack.live import live_stack
from contracts import headers, subjects
from contracts.errors import ErrorCode
from contracts.ids import GuildId, PodId
from contracts.inputs import Actor
from contracts.message import decode, encode
from contracts.operations import BalanceReport, MoveGuilds, PauseBalance
from contracts.requests import PutSettings
from contracts.settings import GuildSettings, SpamSettings, SpamThresholds

DELETES_ONLY = GuildSettings(
    # any two keywords are a medium verdict: the message is deleted, nothing else happens
    spam=SpamSettings(thresholds=SpamThresholds(low=1, medium=2, high=9_000, honeypot=9_001))
)
SPAM = "claim your free nitro gift"
MEMBERS = 20
"""Of each guild: at 200 messages a second in 300 guilds nobody posts twice in half a minute."""
MADE_AT_ONCE = 250
PUT_AT_ONCE = 24
PUT_WITHIN_S = 300.0
AGAIN_S = 0.25
TELLINGS = 20
SPREAD_AGAIN_S = 3.0


@asynccontextmanager
async def stage(
    home: Path, *options: str, seed: int, environment: Mapping[str, str] | None = None
) -> AsyncIterator[Arena]:
    """A stack without guilds. Its replicas can be held down (`Arena.held`)."""
    flags = home / "chaos"
    flags.mkdir(parents=True, exist_ok=True)
    around = loading(flags, ["hold"]) | dict(environment or {})
    options = ("--guilds", "0", "--log-level", "WARNING", *options)
    async with live_stack(home, *options, environment=around) as live:
        watched = Watched()
        watching = asyncio.create_task(watched.run(live.bus))
        try:
            yield Arena(live, watched, flags, {}, random.Random(seed))
            watched.require_alive()
        finally:
            watching.cancel()
            await asyncio.gather(watching, return_exceptions=True)


async def make_guilds(control: SimulatorControl, count: int, name: str) -> list[GuildInfo]:
    """Guilds with a channel and members whose accounts are old."""
    now = datetime.now(UTC)
    members = [
        {
            "username": f"poster-{number}",
            "created_at": (now - timedelta(days=900)).isoformat(),
            "joined_at": (now - timedelta(days=300)).isoformat(),
        }
        for number in range(MEMBERS)
    ]
    made: list[GuildInfo] = []
    for first in range(0, count, MADE_AT_ONCE):
        made += await control.create_guilds(
            count=min(MADE_AT_ONCE, count - first),
            name=f"{name}-{first}-{{n}}",
            members=members,
        )
    return made


def id_of(guild: GuildInfo) -> GuildId:
    """The guild's id as the bus knows it."""
    return GuildId(str(guild.id))


async def put(bus: Bus, guilds: Sequence[GuildId], settings: GuildSettings) -> None:
    """Put the settings, waiting for owners. Raises `NotInTime`."""
    document = msgspec.Raw(encode(settings))
    request = encode(PutSettings(actor=Actor(kind="operator", id="bench"), settings=document))
    places = asyncio.Semaphore(PUT_AT_ONCE)

    async def put_one(guild: GuildId) -> None:
        fields = {headers.REQUEST_ID: uuid.uuid4().hex}
        subject = subjects.request(guild, PutSettings.verb)
        while True:
            async with places:
                try:
                    reply = await bus.ask(subject, request, fields, timeout_s=5)
                except BusError:
                    refused = True  # it has no owner yet
                else:
                    refused = headers.SERVICE_ERROR in (reply.headers or {})
            if not refused:
                return
            await asyncio.sleep(AGAIN_S)

    try:
        async with asyncio.timeout(PUT_WITHIN_S), asyncio.TaskGroup() as group:
            for guild in guilds:
                group.create_task(put_one(guild))
    except TimeoutError:
        raise NotInTime(f"not within {PUT_WITHIN_S:g} s: every guild takes settings") from None


async def put_all(arena: Arena) -> None:
    """The settings of a measurement, in every guild on the stage."""
    await put(arena.live.bus, arena.guilds, DELETES_ONLY)


async def fill(arena: Arena, guilds: Sequence[GuildId], mib: float) -> float:
    """Write versions of settings, which guilds keep all, until every pod's database has so many
    MiB; then the settings of the measurement. Returns the size of the smallest."""
    roles = tuple(f"a role that is exempt from the spam rules, {n:04d}" for n in range(170))
    long = msgspec.structs.replace(
        DELETES_ONLY, spam=msgspec.structs.replace(DELETES_ONLY.spam, exempt_role_names=roles)
    )
    while database_mib(arena) < mib:
        await put(arena.live.bus, guilds, long)
    await put(arena.live.bus, guilds, DELETES_ONLY)
    return database_mib(arena)


def database_mib(arena: Arena) -> float:
    """Size of the smallest pod's database."""
    sizes = [(arena.data(pod) / "gateway.db").stat().st_size for pod in arena.replicas("gateway")]
    return min(sizes) / 1024**2


def owned(arena: Arena) -> Counter[str]:
    """Guilds by owner, of those on the stage."""
    return Counter(arena.owner(guild) for guild in arena.guilds if _is_assigned(arena, guild))


async def served(arena: Arena, within_s: float = BACK_S, *, followed: bool = True) -> None:
    """Wait until every guild on the stage is assigned and, if wanted, followed."""

    def all_of_them() -> bool:
        return all(
            arena.watched.is_followed(guild) if followed else _is_assigned(arena, guild)
            for guild in arena.guilds
        )

    words = "every guild is followed" if followed else "every guild is assigned"
    await arena.until(all_of_them, words, within_s)


async def opened(arena: Arena, within_s: float = BACK_S) -> None:
    """Wait until every guild on the stage is served by its owner."""
    await arena.until(
        lambda: all(arena.watched.is_open(guild) for guild in arena.guilds),
        "every guild is open",
        within_s,
    )


async def spread(arena: Arena, pods: int, within_s: float = 2 * BACK_S) -> None:
    """Give every pod as many guilds, config being paused; wait until every guild is followed and
    every pod's backup has begun. By count, for weights are measured and not alike."""
    loop = asyncio.get_running_loop()
    until = loop.time() + within_s

    def missing() -> str:
        leases = arena.watched.leases.values()
        alone = sum(not arena.watched.is_followed(guild) for guild in arena.guilds)
        saved = sum(lease.backed_up_beat > 0 for lease in leases)
        uneven = f"owners are {dict(owned(arena))}; " if surplus(arena, pods) else ""
        lonely = f"{alone} guilds have no follower; " if alone else ""
        return uneven + lonely + ("" if saved >= pods else f"{saved} of {pods} are backed up; ")

    while words := missing():
        left_s = until - loop.time()
        if left_s <= 0:
            raise NotInTime(f"not within {within_s:g} s: all in order again ({words})")
        for pod, guilds in surplus(arena, pods).items():
            request = MoveGuilds(guilds=guilds, pod=PodId(pod), by="bench")
            await tell_config(arena.live.bus, "move", request)
        with contextlib.suppress(NotInTime):  # asked again, until the deadline above
            await arena.until(lambda: not missing(), words, min(left_s, SPREAD_AGAIN_S))


def surplus(arena: Arena, pods: int) -> dict[str, list[GuildId]]:
    """What to move, by pod to move to, so that every pod owns as many: guilds that the pod follows
    first."""
    names = sorted(arena.watched.leases)[:pods]
    share = len(arena.guilds) // max(1, pods)
    counts = owned(arena)
    given: dict[str, list[GuildId]] = {}
    for target in names:
        lacks = share - counts[target]
        if lacks <= 0:
            continue
        rich = [guild for guild in arena.guilds if counts[arena.owner(guild)] > share]
        rich.sort(key=lambda guild: not _follows(arena, target, guild))
        for guild in rich:
            if lacks > 0 and counts[arena.owner(guild)] > share:
                counts[arena.owner(guild)] -= 1
                lacks -= 1
                given.setdefault(target, []).append(guild)
    return given


def _follows(arena: Arena, pod: str, guild: GuildId) -> bool:
    follower = arena.watched.assignments[guild].follower
    return follower is not None and follower.pod == pod


async def balance(bus: Bus) -> BalanceReport:
    """What config thinks of the balance. Raises `BusError`."""
    reply = await bus.ask(subjects.config_endpoint("plan"), b"{}", timeout_s=10)
    return decode(reply.data, BalanceReport)


async def tell_config(bus: Bus, verb: str, request: msgspec.Struct) -> None:
    """Have config do something, waiting for its leader. What it refuses with words (it may be
    doing it already) shows in what is waited for afterwards."""
    for _ in range(TELLINGS):
        try:
            reply = await bus.ask(subjects.config_endpoint(verb), encode(request), timeout_s=5)
        except BusError:
            await asyncio.sleep(AGAIN_S)
            continue
        if (reply.headers or {}).get(headers.SERVICE_ERROR_CODE) != str(ErrorCode.UNAVAILABLE):
            return
        await asyncio.sleep(AGAIN_S)


async def pause(bus: Bus, *, paused: bool) -> None:
    """Whether config moves guilds by itself."""
    verb = "pause" if paused else "resume"
    await tell_config(bus, verb, PauseBalance(by="bench", reason="a measurement"))


def _is_assigned(arena: Arena, guild: GuildId) -> bool:
    return guild in arena.watched.assignments
