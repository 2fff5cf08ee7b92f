"""Runs a scenario's rounds and says what came of them.

Rounds share a stack, up to `FRESH_AFTER` of them: guilds, logs and what is remembered of them
grow with every round. A round that could not be played to its end is told with its words, its
evidence is kept, and the next one gets a stack of its own: what it left behind would be that
one's fault. Raises `StackDidNotStart`; everything else that goes wrong is a violation or a round
not played, and makes ``ok`` false.
"""

import asyncio
import os
import random
import shutil
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

import msgspec

from components.chaos.arena import Arena
from components.chaos.keeping import keep
from components.chaos.proxies import Proxy, Target
from components.chaos.results import ChaosResult, Tally, percentiles
from components.chaos.round import Played, play
from components.chaos.scenario import Scenario
from components.chaos.unplayed import NotPlayed, keep_unplayed
from components.chaos.watching import Watched
from components.chaos.words import in_words
from components.stack import ports
from components.stack.live import StackDidNotStart, live_stack

GATEWAYS = 3
OPTIONS = ("--gateways", str(GATEWAYS), "--shards", "2", "--edges", "2", "--configs", "2")
INSIDE = ("hold", "addresses", "slow_disk", "clock", "window", "timers")
HEARTBEAT_MS = 2000
FRESH_AFTER = 10
"""Rounds on one stack: 120 guilds."""
UNPLAYED_IN_A_ROW = 3
"""Then nothing comes of trying on."""
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


async def run(
    scenario: Scenario,
    *,
    seed: int,
    rounds: int,
    home: Path,
    say: Say,
    inside: Sequence[str] = (),
) -> ChaosResult:
    """Play the rounds (0: until cancelled). Cancelled, it still says what came of those that were
    played; of a number that was asked for, the rest are then not played. ``inside`` are more
    modules for the processes."""
    tally = Tally(scenario, seed)
    number = unplayed = 0
    try:
        while (rounds == 0 or number < rounds) and unplayed < UNPLAYED_IN_A_ROW:
            stack = home if number == 0 else home.with_name(f"{home.name}-{number + 1}")
            last = number + FRESH_AFTER if rounds == 0 else min(number + FRESH_AFTER, rounds)
            async with _arena(scenario, stack, inside) as arena:
                while number < last:
                    played = await _round(arena, tally, home.parent, say, number)
                    number += 1
                    unplayed = 0 if played else unplayed + 1
                    if not played:
                        break
            if not unplayed and number != rounds:
                await asyncio.to_thread(shutil.rmtree, stack, ignore_errors=True)
    except StackDidNotStart as error:
        if number == 0:
            raise
        tally.add_unplayed(number + 1, f": the stack did not start: {error}")
    except asyncio.CancelledError:
        task = asyncio.current_task()
        if task is None:
            raise
        task.uncancel()  # Ctrl-C is how an endless run ends; any other was cut short
        if rounds:
            tally.add_unplayed(number + 1, f" of {rounds}: interrupted")
    return tally.result()


async def run_each(
    scenarios: Sequence[Scenario], *, seed: int, home: Path, say: Say, inside: Sequence[str] = ()
) -> list[ChaosResult]:
    """The first round of each, as `run` plays it, on one stack, which the options of the first
    scenario describe. ``inside`` are more modules for the processes."""
    tallies = [Tally(scenario, seed) for scenario in scenarios]
    async with _arena(scenarios[0], home, inside) as arena:
        for tally in tallies:
            if not await _round(arena, tally, home.parent, say, 0):
                break  # what it left behind would be the next round's fault
    return [tally.result() for tally in tallies]


async def _round(arena: Arena, tally: Tally, kept: Path, say: Say, number: int) -> bool:
    """Whether the round was played to its end. Evidence of what is wrong goes below ``kept``."""
    name = f"round {number + 1}"
    folder = kept / f"evidence-{tally.scenario.name}-{tally.seed}" / f"round-{number + 1}"
    try:
        played = await play(arena, tally.scenario, tally.seed, number)
    except NotPlayed as unplayed:
        await keep_unplayed(folder, arena, unplayed)
        tally.add_unplayed(number + 1, f": {unplayed}")
        tally.evidence = str(folder.parent)
        say(f"{name}: NOT PLAYED: {unplayed}, evidence in {folder}")
        return False
    tally.add(number + 1, played)
    verdict = "ok"
    if played.violations.total:
        wrong = {kind: count for kind, count in played.violations.counts().items() if count}
        verdict = f"VIOLATIONS {wrong}, evidence in {folder}"
        tally.evidence = str(folder.parent)
        try:
            await asyncio.to_thread(
                keep,
                folder,
                arena.live.home,
                played.history,
                played.violations,
                arena.watched,
                played.words,
            )
        except Exception as error:  # the disk is full: the verdict and the other rounds stay
            verdict += f", not all of it: {in_words(error)}"
    say(f"{name}: {_line(played)}: {verdict}")
    return True


def _line(played: Played) -> str:
    causes = ", ".join(f"{count} {cause}" for cause, count in played.causes.items())
    reads, effects = percentiles(played.read_gaps_s), percentiles(played.effect_gaps_s)
    checked = played.checked
    return (
        f"{played.words}; without an owner up to {reads.max} s for reads, "
        f"{effects.max} s for effects; epochs: {causes}; "
        f"{checked.inputs} inputs, {checked.effects} effects, {checked.facts} facts, "
        f"{checked.requests} requests in {played.took_s:.0f} s"
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
