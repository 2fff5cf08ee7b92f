"""How long a guild pauses when it moves, with traffic everywhere.

Messages are posted in all guilds at a rate. A guild at a time is moved to another pod, as an
operator would; meanwhile it is asked every few milliseconds, exactly as an edge asks, and now and
then written to. Its pause is the longest that any request took which was under way while it
changed hands: between the old owner's last answer and the new one's first. Requests that were not
are counted for refusals alone. Baseline: the longest request that was under way between two
answers when nothing moved, taken in the middle of as many seconds.
"""

import asyncio
import itertools
import random
import time
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path

import msgspec

from components.bench.asking import a_read, edge_like, put
from components.bench.posting import posting
from components.bench.result import Baseline, BenchResult, Figure, percentile
from components.bench.stage import (
    id_of,
    make_guilds,
    pause,
    put_all,
    served,
    spread,
    stage,
    tell_config,
)
from components.bus.connection import Bus
from components.chaos.arena import Arena
from components.edge.owners import Owners
from contracts.errors import ServiceError
from contracts.ids import Epoch, GuildId, PodId
from contracts.operations import MoveGuilds
from contracts.requests import SettingsView

PAUSE_LIMITS_MS = {"p50": 15.0, "p99": 150.0}
ASK_EVERY_S = 0.005
AROUND_S = 0.3
"""Questions go on for so long before a move is asked for and after it is done."""
WRITE_EVERY = 20
"""Of so many requests one writes."""
MOVED_WITHIN_S = 30.0


class HandoffOptions(msgspec.Struct, frozen=True, kw_only=True):
    """``guilds`` over ``pods``, ``rate`` messages a second in all of them, ``moves`` in all,
    ``at_once`` of them side by side."""

    guilds: int = 300
    pods: int = 3
    rate: float = 200.0
    moves: int = 200
    at_once: int = 1
    seed: int = 1


class Told(msgspec.Struct, frozen=True):
    """A request that was answered; steady times in seconds."""

    asked: float
    answered: float
    epoch: Epoch


class Questions:
    """What guilds were asked, as an edge asks and as clients of the bus write."""

    def __init__(self, bus: Bus, owners: Owners) -> None:
        self._bus = bus
        self._owners = owners
        self._stop = asyncio.Event()
        self.told: dict[GuildId, list[Told]] = {}
        self.asked = 0
        self.refused: list[str] = []

    def stop(self) -> None:
        """Ask no more."""
        self._stop.set()

    async def run(self, guild: GuildId) -> None:
        """Ask one guild until `stop`, and wait for what is under way."""
        async with asyncio.TaskGroup() as group:
            for number in itertools.count():
                if self._stop.is_set():
                    break
                group.create_task(self._ask(guild, writes=number % WRITE_EVERY == 0))
                await asyncio.sleep(ASK_EVERY_S)

    async def _ask(self, guild: GuildId, *, writes: bool) -> None:
        self.asked += 1
        began = time.perf_counter()
        try:
            if writes:
                epoch = await put(self._bus, guild)
            else:
                epoch = (await self._owners.ask(guild, a_read(), SettingsView)).epoch
        except ServiceError as error:
            self.refused.append(error.description)
        else:
            told = Told(began, time.perf_counter(), epoch)
            self.told.setdefault(guild, []).append(told)


def pause_ms(told: Sequence[Told]) -> float:
    """The longest request that was under way while a guild changed hands or, when it did not,
    between the two answers in the middle; milliseconds."""
    answers = sorted(told, key=lambda one: one.answered)
    newest = max(one.epoch for one in answers)
    before = [one.answered for one in answers if one.epoch < newest]
    after = [one.answered for one in answers if one.epoch == newest]
    if not before:
        middle = len(after) // 2
        before, after = after[:middle], after[middle:]
    began, ended = sorted((before[-1], after[0]))
    under_way = [one for one in answers if one.asked <= ended and one.answered >= began]
    return max(one.answered - one.asked for one in under_way) * 1000


async def run_handoff(
    home: Path, options: HandoffOptions, say: Callable[[str], None]
) -> BenchResult:
    """The `handoff` measurement on a stack of its own below ``home``."""
    say(f"starting the stack with {options.pods} pods")
    counts = ("--gateways", str(options.pods), "--configs", "2")
    async with stage(home, *counts, seed=options.seed) as arena:
        await arena.live.control.set_limits(enabled=False)
        guilds = await make_guilds(arena.live.control, options.guilds, "town")
        arena.guilds = [id_of(guild) for guild in guilds]
        await served(arena, 120)
        await put_all(arena)
        await pause(arena.live.bus, paused=True)
        await spread(arena, options.pods)
        owners = await edge_like(arena.live.bus)
        dice = random.Random(options.seed)
        async with posting(arena.live.control, guilds, options.rate, dice) as load:
            quiet = await _all_asked(arena, owners, options, move=False)
            say("measured without moves; moving")
            moving = await _all_asked(arena, owners, options, move=True, say=say)
            posted = load.figure()
        for words, count in Counter(moving.refused).most_common(3):
            say(f"refused {count} times: {words}")
    return _result(options, quiet, moving, posted)


class Asked(msgspec.Struct, kw_only=True):
    """All questions of one part of the measurement."""

    pauses_ms: list[float] = []
    asked: int = 0
    refused: list[str] = []


async def _all_asked(
    arena: Arena,
    owners: Owners,
    options: HandoffOptions,
    *,
    move: bool,
    say: Callable[[str], None] = lambda _: None,
) -> Asked:
    """Ask ``at_once`` guilds at a time until as many as are to move had their turn."""
    found = Asked()
    took_s = 0.5
    turns = max(1, options.moves // options.at_once)
    for turn in range(turns if move else max(1, turns // 4)):
        chosen = arena.dice.sample(arena.guilds, options.at_once)
        questions = Questions(arena.live.bus, owners)
        asking = [asyncio.create_task(questions.run(guild)) for guild in chosen]
        await asyncio.sleep(AROUND_S)
        if move:
            await _move(arena, chosen)
        else:
            await asyncio.sleep(took_s)
        await asyncio.sleep(AROUND_S)
        questions.stop()
        await asyncio.gather(*asking)
        found.pauses_ms += map(pause_ms, questions.told.values())
        found.asked += questions.asked
        found.refused += questions.refused
        if move and turn % 10 == 9:
            say(f"{len(found.pauses_ms)} moved, p50 {percentile(found.pauses_ms, 0.5):.1f} ms")
    return found


async def _move(arena: Arena, guilds: Sequence[GuildId]) -> None:
    """Move each guild to another pod than its own, and wait until all have moved."""
    pods = arena.replicas("gateway")
    epochs = {guild: arena.watched.assignments[guild].epoch for guild in guilds}
    for guild in guilds:
        target = arena.dice.choice([pod for pod in pods if pod != arena.owner(guild)])
        request = MoveGuilds(guilds=[guild], pod=PodId(target), by="bench")
        await tell_config(arena.live.bus, "move", request)
    await arena.until(
        lambda: all(arena.watched.assignments[guild].epoch > epochs[guild] for guild in guilds),
        "the guilds have moved",
        MOVED_WITHIN_S,
    )


def _result(options: HandoffOptions, quiet: Asked, moving: Asked, posted: Figure) -> BenchResult:
    figures = [
        Figure(
            name=f"pause_{name}_ms",
            value=round(percentile(moving.pauses_ms, share), 1),
            unit="ms",
            limit=PAUSE_LIMITS_MS.get(name),
            baseline=Baseline(
                name="without a move", value=round(percentile(quiet.pauses_ms, share), 1)
            ),
        )
        for name, share in (("p50", 0.5), ("p99", 0.99), ("max", 1.0))
    ]
    figures += [
        Figure(name="requests_refused", value=len(moving.refused), unit="requests", limit=0),
        Figure(name="requests", value=moving.asked, unit="requests"),
        Figure(name="moves", value=len(moving.pauses_ms), unit="guilds"),
        posted,
    ]
    return BenchResult(
        bench="handoff",
        seed=options.seed,
        checked=moving.asked,
        figures=figures,
        ok=all(figure.ok for figure in figures),
    )
