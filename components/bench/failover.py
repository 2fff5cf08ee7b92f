"""How soon a guild is served again after its owner died. Every time is counted from the kill.

Three kinds of rounds on one stack. ``kill``: the gateway's process is killed (kill -9); its parent
attests that, and the supervisor starts it again at once. ``unattested``: the parent is killed too
and the node stays away, so the end of the lease is waited for. ``cold``: owner and follower are
killed, their disks are gone, they stay away; the rest restores from the bucket.

Of the guilds that a round strikes some are sampled: each is read and written until it answers at a
later epoch, and in each a message is posted that must be deleted; moderators ask for cases in them
from before the kill on. A guild that somebody waits for is opened before the others, so beside the
sample there is ``all_guilds``: when each of the guilds that were struck was open, the sampled ones
too, by its assignment as the watch showed it and the time that its new owner says it took from
there. Discord's limits are off and its rate is not what is measured, so the installation's own rate
is raised as well.

The baseline is what every installation has without followers: the time until the killed process
is back and holds its lease again, in the same rounds. Of the moderators' questions those count that
were open at the kill or asked between it and the last answer and deletion of the round; what was
answered before the kill is their baseline.
"""

import asyncio
import contextlib
import itertools
import time
from collections.abc import AsyncIterator, Callable, Iterable, Mapping, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Literal, TypeAlias

import msgspec

from components.bench.asking import a_read, a_write, until_answered
from components.bench.result import Baseline, BenchResult, Figure, percentile
from components.bench.stage import SPAM, fill, id_of, make_guilds, pause, served, spread, stage
from components.chaos.arena import Arena, NotInTime
from components.chaos.probes import deletions
from components.chaos.watching import Change
from components.simulator.client import GuildInfo
from components.simulator.record import Entry
from components.traffic.reading import succeeded
from contracts import storage
from contracts.ids import Epoch, GuildId, Incarnation
from contracts.message import decode
from contracts.records import Assignment, Holding, PodLease

Kind: TypeAlias = Literal["kill", "unattested", "cold"]
KINDS: tuple[Kind, ...] = ("kill", "unattested", "cold")

ENVIRONMENT = {"MODBOT_CONFIG_REST_PER_S": "500", "MODBOT_GATEWAY_REST_PER_S": "500"}
ASK_EVERY_S = 0.05
"""Between two questions of moderators."""
ASKING_BEFORE_S = 1.0
ASKING_AFTER_S = 1.0
WITHIN_S = 30.0
"""Nothing may take so long; the bench ends with words."""

ANSWERED_LIMITS: dict[Kind, tuple[float, float] | None] = {
    "kill": (0.3, 1.0),
    "unattested": None,
    "cold": (4.0, 7.0),
}
EFFECTS_LIMITS: dict[Kind, tuple[float, float, float] | None] = {
    "kill": (0.5, 1.5, 3.0),
    "unattested": (6.0, 8.0, 10.0),
    "cold": None,
}
INTERACTION_LIMIT_S = 1.5


class FailoverOptions(msgspec.Struct, frozen=True, kw_only=True):
    """``guilds`` and ``mib`` a pod; ``rounds`` of each of the ``kinds``; ``sampled`` guilds a
    round."""

    guilds: int = 300
    mib: float = 50.0
    pods: int = 3
    rounds: int = 20
    kinds: tuple[Kind, ...] = KINDS
    sampled: int = 20
    seed: int = 1


class Times(msgspec.Struct, kw_only=True):
    """Seconds from the kill, over all rounds of a kind."""

    answered: list[float] = []
    effects: list[float] = []
    all_guilds: list[float] = []
    """Until a guild that was struck was open, whether anybody asked or not."""
    interactions: list[float] = []
    """From a question to its first response, while the guilds had lost their owner."""
    quiet: list[float] = []
    """The same, answered before the kill."""
    restarts: list[float] = []
    """Until the killed pod holds its lease again (kind ``kill`` alone)."""
    struck: int = 0
    """Guilds that lost their owner."""


async def run_failover(
    home: Path, options: FailoverOptions, say: Callable[[str], None]
) -> BenchResult:
    """The `failover` measurement on a stack of its own below ``home``."""
    say(f"starting the stack with {options.pods} pods")
    counts = ("--gateways", str(options.pods), "--configs", "2")
    async with stage(home, *counts, seed=options.seed, environment=ENVIRONMENT) as arena:
        await arena.live.control.set_limits(enabled=False)
        say(f"making {options.guilds * options.pods} guilds")
        guilds = await make_guilds(arena.live.control, options.guilds * options.pods, "town")
        arena.guilds = [id_of(guild) for guild in guilds]
        await served(arena, 120)
        await pause(arena.live.bus, paused=True)
        mib = await fill(arena, arena.guilds, options.mib)
        say(f"the smallest pod has {mib:.0f} MiB")
        times: dict[Kind, Times] = {}
        for kind in options.kinds:
            times[kind] = Times()
            for number in range(options.rounds):
                await spread(arena, options.pods)
                await _round(arena, guilds, kind, options.sampled, times[kind])
                say(_said(kind, number + 1, options, times[kind]))
    return _result(options, times, mib)


async def _round(
    arena: Arena, guilds: Sequence[GuildInfo], kind: Kind, sampled: int, times: Times
) -> None:
    live = arena.live
    victims, struck = _victims(arena, kind)
    chosen = set(arena.dice.sample(sorted(struck), min(sampled, len(struck))))
    infos = [guild for guild in guilds if id_of(guild) in chosen]
    epochs = {guild: arena.watched.assignments[guild].epoch for guild in struck}
    start = (await live.control.record(limit=1)).last
    before = {pod: arena.worker(pod) for pod in victims}
    incarnations = {pod: arena.watched.leases[pod].incarnation for pod in victims}
    seen = len(arena.watched.changes)
    stays_away = () if kind == "kill" else victims
    with arena.held(*stays_away):
        async with _moderators(arena, infos) as asked:
            killed_ms = await _strike(arena, kind, victims)
            posts, answered = await asyncio.gather(
                _post_in_all(arena, infos),
                _all_answer(arena, {guild: epochs[guild] for guild in chosen}),
            )
            deleted = await _until_deleted(arena, start, posts)
            await arena.until(lambda: _all_open(arena, epochs), "every guild is open", WITHIN_S)
    times.struck += len(struck)
    times.answered += [(at - killed_ms) / 1000 for at in answered]
    times.effects += [(at - killed_ms) / 1000 for at in deleted]
    opened = opened_ms(arena.watched.changes[seen:], epochs)
    if missing := struck - opened.keys():
        raise NotInTime(f"{len(missing)} of {len(struck)} guilds were opened unseen")
    times.all_guilds += [(at - killed_ms) / 1000 for at in opened.values()]
    responses = await _first_responses(arena, start, asked)
    during, quiet = split(responses, killed_ms, max(*answered, *deleted))
    times.interactions += during
    times.quiet += quiet
    for pod, pid in before.items():
        await arena.restarted(pod, pid)

        def back_ms(pod: str = pod) -> float | None:
            return serving_ms(arena.watched.changes[seen:], pod, incarnations[pod])

        await arena.until(lambda: back_ms() is not None, f"{pod} serves again")
        if kind == "kill" and (at := back_ms()) is not None:
            times.restarts.append((at - killed_ms) / 1000)
    await arena.whole()


def _victims(arena: Arena, kind: Kind) -> tuple[tuple[str, ...], set[GuildId]]:
    """Who is to die, and the guilds that it strikes."""
    pods = arena.replicas("gateway")
    first = arena.dice.choice(pods)
    if kind != "cold":
        return (first,), arena.owned_by([first])
    second = arena.dice.choice([pod for pod in pods if pod != first])
    lost = {first, second}
    both = {guild for guild in arena.guilds if {arena.owner(guild), arena.follower(guild)} == lost}
    return (first, second), both


async def _strike(arena: Arena, kind: Kind, victims: Sequence[str]) -> float:
    if kind == "unattested":
        return arena.kill_with_parent(victims[0])
    killed_ms = arena.kill(*victims)
    if kind == "cold":
        await arena.until(lambda: not any(arena.worker(pod) for pod in victims), "both end")
        for pod in victims:
            arena.wipe(pod)
    return killed_ms


def _all_open(arena: Arena, before: Mapping[GuildId, Epoch]) -> bool:
    watched = arena.watched
    return all(
        watched.assignments[guild].epoch > epoch and watched.is_open(guild)
        for guild, epoch in before.items()
    )


def opened_ms(changes: Iterable[Change], before: Mapping[GuildId, Epoch]) -> dict[GuildId, float]:
    """When (wall clock, milliseconds) each guild was first open at an epoch later than that
    ``before``, of those whose owners have said so. The word itself comes a while after it."""
    told_ms: dict[tuple[GuildId, Epoch], float] = {}
    opened: dict[GuildId, float] = {}
    for change in changes:
        if change.value is None:
            continue
        if change.bucket == storage.GUILDS:
            named = decode(change.value, Assignment)
            told_ms.setdefault((named.guild, named.epoch), change.seen_ms)
        elif change.bucket == storage.HANDOFFS and change.key.startswith("holds."):
            held = decode(change.value, Holding)
            at_ms = told_ms.get((held.guild, held.epoch))
            later = held.epoch > before.get(held.guild, held.epoch)
            if held.role == "own" and later and at_ms is not None:
                opened.setdefault(held.guild, at_ms + held.took_ms)
    return opened


def serving_ms(changes: Iterable[Change], pod: str, before: Incarnation | None) -> float | None:
    """When (wall clock, milliseconds) another start of the pod than the one ``before`` was first
    seen to serve; None: not yet."""
    for change in changes:
        if (change.bucket, change.key) == (storage.PODS, pod) and change.value is not None:
            lease = decode(change.value, PodLease)
            if lease.state == "serving" and lease.incarnation != before:
                return change.seen_ms
    return None


async def _all_answer(arena: Arena, epochs: dict[GuildId, Epoch]) -> list[float]:
    bus = arena.live.bus
    return await asyncio.gather(
        *(
            until_answered(bus, guild, request, epoch, WITHIN_S)
            for guild, epoch in epochs.items()
            for request in (a_read(), a_write())
        )
    )


async def _post_in_all(arena: Arena, guilds: Sequence[GuildInfo]) -> set[str]:
    """One message that must be deleted in each guild."""
    control = arena.live.control
    posted = await asyncio.gather(
        *(
            control.post(guild.channels["general"], guild.members[0].id, f"{SPAM} {time.time_ns()}")
            for guild in guilds
        )
    )
    return {str(message) for message in posted}


async def _until_deleted(arena: Arena, start: int, posts: set[str]) -> list[float]:
    """When each of the messages was deleted."""
    entries: list[Entry] = []
    left = set(posts)
    try:
        async with asyncio.timeout(WITHIN_S):
            async for entry in arena.live.control.follow(("rest",), start):
                entries.append(entry)
                if entry.data["method"] == "DELETE" and succeeded(entry):
                    left.discard(entry.data["path"].rsplit("/", 1)[1])
                    if not left:
                        break
    except TimeoutError:
        raise NotInTime(f"not within {WITHIN_S:g} s: {len(left)} messages are deleted") from None
    return [at for message, at in deletions(entries).items() if message in posts]


@asynccontextmanager
async def _moderators(arena: Arena, guilds: Sequence[GuildInfo]) -> AsyncIterator[set[str]]:
    """Owners of the guilds ask for a case, in turn, from before the block until after it."""
    asked: set[str] = set()

    async def ask() -> None:
        for guild in itertools.cycle(guilds):
            number = await arena.live.control.command(
                guild.channels["general"], guild.owner_id, "case view", {"number": 1}
            )
            asked.add(str(number))
            await asyncio.sleep(ASK_EVERY_S)

    asking = asyncio.create_task(ask())
    try:
        await asyncio.sleep(ASKING_BEFORE_S)
        yield asked
        await asyncio.sleep(ASKING_AFTER_S)
    finally:
        asking.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await asking


async def _first_responses(arena: Arena, start: int, asked: set[str]) -> list["Response"]:
    """The first response to each question. Raises `NotInTime` for one without."""
    for one in sorted(asked):
        await arena.live.control.interaction(int(one), wait_s=3.0)
    entries = await arena.live.control.record_all(("interaction", "rest"), start)
    took = first_responses(entries)
    if missing := asked - took.keys():
        raise NotInTime(f"{len(missing)} of {len(asked)} interactions had no first response")
    return [took[one] for one in asked]


class Response(msgspec.Struct, frozen=True, kw_only=True):
    """The first response to one question."""

    asked_ms: float
    took_s: float


def split(
    responses: Sequence[Response], killed_ms: float, whole_ms: float
) -> tuple[list[float], list[float]]:
    """How long questions took that were open at the kill or asked until all was ``whole`` again,
    and how long those took that were answered before the kill. What was asked later is neither."""
    during, quiet = [], []
    for one in responses:
        if one.asked_ms + 1000 * one.took_s < killed_ms:
            quiet.append(one.took_s)
        elif one.asked_ms <= whole_ms:
            during.append(one.took_s)
    return during, quiet


def first_responses(entries: Sequence[Entry]) -> dict[str, Response]:
    """Interaction to its first response that was accepted."""
    created: dict[str, float] = {}
    took: dict[str, Response] = {}
    for entry in entries:
        if entry.kind == "interaction" and entry.data["what"] == "created":
            created[str(entry.data["id"])] = entry.at_ms
        elif entry.kind == "rest" and succeeded(entry):
            parts = entry.data["path"].split("/")
            if len(parts) == 5 and parts[1] == "interactions" and parts[2] in created:
                asked_ms = created[parts[2]]
                took_s = (entry.at_ms - asked_ms) / 1000
                took.setdefault(parts[2], Response(asked_ms=asked_ms, took_s=took_s))
    return took


def _result(options: FailoverOptions, times: dict[Kind, Times], mib: float) -> BenchResult:
    figures: list[Figure] = []
    back = times["kill"].restarts if "kill" in times else []
    for kind, measured in times.items():
        figures += figures_of(kind, measured, back)
    asked = [took for measured in times.values() for took in measured.interactions]
    quiet = [took for measured in times.values() for took in measured.quiet]
    figures += [
        Figure(
            name="interactions_p999_s",
            value=round(percentile(asked, 0.999), 3),
            unit="s",
            limit=INTERACTION_LIMIT_S,
            baseline=Baseline(name="before the kill", value=round(percentile(quiet, 0.999), 3)),
        ),
        Figure(
            name="interactions",
            value=len(asked),
            unit="questions",
            baseline=Baseline(name="before the kill", value=len(quiet)),
        ),
        Figure(name="pod_mib", value=round(mib, 1), unit="MiB"),
        Figure(
            name="guilds_struck", value=sum(one.struck for one in times.values()), unit="guilds"
        ),
    ]
    return BenchResult(
        bench="failover",
        seed=options.seed,
        checked=len(asked)
        + sum(len(one.answered) + len(one.effects) + len(one.all_guilds) for one in times.values()),
        figures=figures,
        ok=all(figure.ok for figure in figures),
    )


def figures_of(kind: Kind, times: Times, back: Sequence[float]) -> list[Figure]:
    """The figures of one kind, held against the times after which killed pods were back."""
    prefix = "" if kind == "kill" else f"{kind}_"
    answered_limits = ANSWERED_LIMITS[kind] or (None, None)
    effects_limits = EFFECTS_LIMITS[kind] or (None, None, None)
    shares = (("p50", 0.5), ("p99", 0.99), ("max", 1.0))
    figures = []
    for what, values, limits in (
        ("answered", times.answered, answered_limits),
        ("effects", times.effects, effects_limits),
        ("all_guilds", times.all_guilds, (None, None)),
    ):
        for (name, share), limit in zip(shares, (*limits, None), strict=False):
            restart = round(percentile(list(back), share), 3) if back else None
            figures.append(
                Figure(
                    name=f"{prefix}{what}_{name}_s",
                    value=round(percentile(values, share), 3),
                    unit="s",
                    limit=limit,
                    baseline=None
                    if restart is None
                    else Baseline(name="the killed pod is back", value=restart),
                )
            )
    return figures


def _said(kind: Kind, number: int, options: FailoverOptions, times: Times) -> str:
    def both(values: list[float]) -> str:
        return f"{percentile(values, 0.5):.3f} s (p99 {percentile(values, 0.99):.3f})"

    return (
        f"{kind} {number} of {options.rounds}: answered after {both(times.answered)}, effects "
        f"{both(times.effects)}, all guilds {both(times.all_guilds)}, interactions up to "
        f"{max(times.interactions):.3f} s, {times.struck} guilds so far"
    )
