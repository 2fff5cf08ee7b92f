"""Runs a scenario's rounds on one stack and says what came of them.

Raises `StackDidNotStart`; everything else that goes wrong is a violation or ends the run with
``ok`` false and words.
"""

import asyncio
import os
import random
import statistics
from collections import Counter
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

import msgspec

from components.chaos.arena import Arena, NotInTime, NotThere
from components.chaos.checker import Checked, Violations
from components.chaos.keeping import keep
from components.chaos.proxies import Proxy, Target
from components.chaos.round import Played, play
from components.chaos.scenario import Scenario
from components.chaos.watching import Watched
from components.stack import ports
from components.stack.live import live_stack
from components.traffic.guilds import GuildsNotServed

GATEWAYS = 3
OPTIONS = ("--gateways", str(GATEWAYS), "--shards", "2", "--edges", "2", "--configs", "2")
INSIDE = ("hold", "addresses", "slow_disk", "clock", "window", "timers")
HEARTBEAT_MS = 2000
ROOMY = {
    "messages.create": (50, 1.0),
    "messages.edit": (50, 1.0),
    "messages.delete": (50, 1.0),
    "threads.create": (50, 1.0),
    "members.modify": (50, 1.0),
    "members.role": (50, 1.0),
    "webhook": (50, 1.0),
}
"""Route limits that do not hold a round up for longer than its fault; the global one stays."""

Say = Callable[[str], None]


class Percentiles(msgspec.Struct, frozen=True, kw_only=True):
    """Seconds; None without a measurement."""

    p50: float | None = None
    p99: float | None = None
    max: float | None = None
    measured: int = 0


class Unowned(msgspec.Struct, frozen=True, kw_only=True):
    """How long guilds that were struck had nobody who answered, nobody whose effects happened."""

    reads: Percentiles
    effects: Percentiles


class ChaosResult(msgspec.Struct, frozen=True, kw_only=True):
    """What `modbot chaos` prints."""

    scenario: str
    seed: int
    rounds: int
    checked: Checked
    violations: dict[str, int]
    unowned_s: Unowned
    evidence: str
    """The folder with the evidence of failed rounds; empty when none failed."""
    examples: dict[str, list[str]]
    causes: dict[str, int]
    """Why epochs of the guilds began: placed, promoted, moved, restored …"""
    not_played: list[str]
    """Rounds that could not be played to their end, and why."""
    ok: bool


class _Tally:
    """What the rounds came to so far."""

    def __init__(self, scenario: Scenario, seed: int) -> None:
        self.scenario, self.seed = scenario, seed
        self.rounds = 0
        self.checked, self.violations = Checked(), Violations()
        self.reads: list[float] = []
        self.effects: list[float] = []
        self.causes: Counter[str] = Counter()
        self.not_played: list[str] = []
        self.evidence = ""

    def add(self, played: Played) -> None:
        self.rounds += 1
        self.checked.add(played.checked)
        self.violations.extend(played.violations)
        self.reads += played.read_gaps_s
        self.effects += played.effect_gaps_s
        self.causes.update(played.causes)

    def result(self) -> ChaosResult:
        return ChaosResult(
            scenario=self.scenario.name,
            seed=self.seed,
            rounds=self.rounds,
            checked=self.checked,
            violations=self.violations.counts(),
            unowned_s=Unowned(reads=percentiles(self.reads), effects=percentiles(self.effects)),
            evidence=self.evidence,
            examples={
                name: found[:5]
                for name in self.violations.__struct_fields__
                if (found := getattr(self.violations, name))
            },
            causes=dict(self.causes),
            not_played=self.not_played,
            ok=self.rounds > 0 and self.violations.total == 0 and not self.not_played,
        )


async def run(
    scenario: Scenario,
    *,
    seed: int,
    rounds: int,
    home: Path,
    say: Say,
    inside: Sequence[str] = (),
) -> ChaosResult:
    """Play the rounds (0: until cancelled). ``inside`` are more modules for the processes."""
    tally = _Tally(scenario, seed)
    try:
        async with _arena(scenario, home, inside) as arena:
            while rounds == 0 or tally.rounds < rounds:
                arena.dice = random.Random(f"{seed}-{tally.rounds}")
                await _round(arena, scenario, tally, home, say, number=tally.rounds)
                if tally.not_played:
                    break  # what it left behind would be the next round's fault
    except asyncio.CancelledError:
        task = asyncio.current_task()
        if rounds != 0 or task is None:
            raise
        task.uncancel()  # Ctrl-C is how an endless run ends
    return tally.result()


async def run_each(
    scenarios: Sequence[Scenario], *, seed: int, home: Path, say: Say, inside: Sequence[str] = ()
) -> list[ChaosResult]:
    """One round of each on one stack, which the options of the first one describe. ``inside`` are
    more modules for the processes."""
    tallies = [_Tally(scenario, seed) for scenario in scenarios]
    async with _arena(scenarios[0], home, inside) as arena:
        for number, tally in enumerate(tallies):
            arena.dice = random.Random(f"{seed}-{tally.scenario.name}")
            await _round(arena, tally.scenario, tally, home, say, number=number)
            if tally.not_played:
                break
    return [tally.result() for tally in tallies]


async def _round(
    arena: Arena,
    scenario: Scenario,
    tally: _Tally,
    home: Path,
    say: Say,
    *,
    number: int,
) -> None:
    name = f"round {number + 1}"
    try:
        played = await play(arena, scenario, number)
    except (NotInTime, NotThere, GuildsNotServed) as error:
        kind = "needs " if isinstance(error, NotThere) else ""
        tally.rounds += 1
        tally.not_played.append(f"{name}: {kind}{error}")
        tally.evidence = str(home)
        say(f"{name}: NOT PLAYED: {kind}{error}")
        return
    tally.add(played)
    checked = played.checked
    verdict = "ok"
    if played.violations.total:
        folder = home.parent / f"evidence-{scenario.name}-{tally.seed}" / f"round-{number + 1}"
        await asyncio.to_thread(
            keep,
            folder,
            arena.live.home,
            played.history,
            played.violations,
            arena.watched,
            played.words,
        )
        tally.evidence = str(folder.parent)
        wrong = {kind: count for kind, count in played.violations.counts().items() if count}
        verdict = f"VIOLATIONS {wrong}, evidence in {folder}"
    causes = ", ".join(f"{count} {cause}" for cause, count in played.causes.items())
    reads, effects = percentiles(played.read_gaps_s), percentiles(played.effect_gaps_s)
    say(
        f"{name}: {played.words}; without an owner up to {reads.max} s for reads, "
        f"{effects.max} s for effects; epochs: {causes}; "
        f"{checked.inputs} inputs, {checked.effects} effects, {checked.facts} facts, "
        f"{checked.requests} requests in {played.took_s:.0f} s: {verdict}"
    )


def percentiles(values: Sequence[float]) -> Percentiles:
    """Of a sample."""
    if not values:
        return Percentiles()
    ordered = sorted(values)
    return Percentiles(
        p50=round(statistics.median(ordered), 3),
        p99=round(ordered[min(len(ordered) - 1, int(len(ordered) * 0.99))], 3),
        max=round(ordered[-1], 3),
        measured=len(ordered),
    )


@asynccontextmanager
async def _arena(scenario: Scenario, home: Path, inside: Sequence[str]) -> AsyncIterator[Arena]:
    """The stack under chaos."""
    flags = home / "chaos"
    flags.mkdir(parents=True, exist_ok=True)
    async with AsyncExitStack() as stack:
        proxies: dict[str, Proxy] = {}
        for number in range(GATEWAYS):
            proxy = proxies[f"gateway-{number}"] = Proxy(lambda: _nats_of(home))
            await proxy.start()
            stack.push_async_callback(proxy.close)
        environment = _environment(flags, proxies, scenario, inside)
        options = (*OPTIONS, "--guilds", "0", *scenario.options)
        live = await stack.enter_async_context(live_stack(home, *options, environment=environment))
        await live.control.set_limits(buckets=ROOMY)
        watched = Watched()
        watching = asyncio.create_task(watched.run(live.bus))
        stack.push_async_callback(_end, watching)
        yield Arena(live, watched, flags, proxies, random.Random(0))


def loading(flags: Path, modules: Sequence[str]) -> dict[str, str]:
    """The environment in which the stack's processes load these modules of
    `components.chaos.inside` (or others, by their full names)."""
    start = Path(__file__).parent / "inside" / "start"
    names = [one if "." in one else f"components.chaos.inside.{one}" for one in modules]
    return {
        "PYTHONPATH": os.pathsep.join(filter(None, (str(start), os.environ.get("PYTHONPATH", "")))),
        "MODBOT_CHAOS_FOLDER": str(flags),
        "MODBOT_CHAOS_INSIDE": ",".join(names),
    }


def _environment(
    flags: Path, proxies: dict[str, Proxy], scenario: Scenario, more: Sequence[str]
) -> dict[str, str]:
    addresses = {}
    if "--nats" not in scenario.options:  # a cluster tells its clients the nodes' own addresses
        addresses = {
            pod: {"MODBOT_NATS_URL": f"nats://127.0.0.1:{proxy.port}"}
            for pod, proxy in proxies.items()
        }
    return {
        **loading(flags, (*INSIDE, *more)),
        "MODBOT_CHAOS_ADDRESSES": msgspec.json.encode(addresses).decode(),
        # Discord drops what a heartbeat has confirmed: what was confirmed too early shows as lost
        "MODBOT_SIM_STRICT_RESUME": "true",
        "MODBOT_SIM_HEARTBEAT_INTERVAL_MS": str(HEARTBEAT_MS),
    }


def _nats_of(home: Path) -> Target:
    return Target("127.0.0.1", ports.read(home / "ports.json")["nats"])


async def _end(task: "asyncio.Task[None]") -> None:
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
