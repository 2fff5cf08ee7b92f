"""How soon guilds are spread evenly over one pod more.

First config is paused, a third pod starts, and an operator asks for a rebalance: ``fair_after_s``
counts from the request. Then config balances by itself and a fourth pod is started:
``new_pod_fair_after_s`` counts from the start of its process. Fair: by the weights that config has
measured no pod has more than 1.10 or less than 0.90 times the mean, nothing moves any more and
every guild is open. Meanwhile messages are posted in all guilds at a steady rate, from a minute
before on, so that config has weights to measure. Baseline: how long the installation takes to place
and open as many new guilds as are to move.
"""

import asyncio
import contextlib
import time
from collections.abc import Callable
from pathlib import Path

import msgspec

from components.bench.extra import ExtraGateway
from components.bench.posting import posting
from components.bench.result import Baseline, BenchResult, Figure
from components.bench.stage import (
    balance,
    id_of,
    make_guilds,
    opened,
    owned,
    pause,
    put_all,
    served,
    stage,
    tell_config,
)
from components.bus.errors import BusError
from components.chaos.arena import Arena, NotInTime
from components.simulator.client import GuildInfo
from contracts.ids import GuildId
from contracts.message import MalformedMessage
from contracts.operations import BalanceReport, Rebalance

FIRST = 2
FAIR_LIMIT_S = 10.0
NEW_POD_LIMIT_S = 30.0
MAX_OVER_MEAN = 1.10
MIN_OVER_MEAN = 0.90
MEASURED_S = 60.0
"""So long messages are posted before anything is measured: pods report after 20 s."""
WITHIN_S = 120.0
LOOK_EVERY_S = 0.1


class RebalanceOptions(msgspec.Struct, frozen=True, kw_only=True):
    """``guilds`` over two pods at first, with ``rate`` messages a second over all of them."""

    guilds: int = 1000
    rate: float = 100.0
    seed: int = 1


class Grown(msgspec.Struct, frozen=True, kw_only=True):
    """One more pod has its share."""

    took_s: float
    moves: int
    max_over_mean: float
    min_over_mean: float


async def run_rebalance(
    home: Path, options: RebalanceOptions, say: Callable[[str], None]
) -> BenchResult:
    """The `rebalance` measurement on a stack of its own below ``home``."""
    say(f"starting the stack with {FIRST} pods")
    counts = ("--gateways", str(FIRST), "--configs", "2")
    extra: list[ExtraGateway] = []
    async with stage(home, *counts, seed=options.seed) as arena:
        try:
            await arena.live.control.set_limits(enabled=False)
            moved = -(-options.guilds // (FIRST + 1))
            guilds, _ = await _place(arena, options.guilds - moved)
            more, placing_s = await _place(arena, moved)
            say(f"placed and opened {moved} guilds in {placing_s:.1f} s")
            await put_all(arena)
            await served(arena, WITHIN_S)
            await pause(arena.live.bus, paused=True)
            async with posting(
                arena.live.control, [*guilds, *more], options.rate, arena.dice
            ) as load:
                say(f"posting {options.rate:g} messages a second for {MEASURED_S:g} s")
                await asyncio.sleep(MEASURED_S)
                asked, alone = await _grow_twice(arena, extra, say)
                posted = load.figure()
        finally:
            await asyncio.gather(*(gateway.stop() for gateway in extra))
    return _result(options, placing_s, asked, alone, posted)


async def _grow_twice(
    arena: Arena, extra: list[ExtraGateway], say: Callable[[str], None]
) -> tuple[Grown, Grown]:
    """A third pod when an operator asks, and a fourth by itself; ``extra``: what was started."""
    extra.append(ExtraGateway(arena, f"gateway-{FIRST}"))
    await extra[0].start()
    await _serves(arena, extra[0].name)
    say("a third pod serves; asking for a rebalance")
    began_s = time.monotonic()
    before = _owners(arena)
    await tell_config(arena.live.bus, "rebalance", Rebalance(by="bench"))
    asked = await _grown(arena, FIRST + 1, before, began_s)
    say(f"fair after {asked.took_s:.2f} s with {asked.moves} moves")
    await served(arena, WITHIN_S)
    await pause(arena.live.bus, paused=False)
    extra.append(ExtraGateway(arena, f"gateway-{FIRST + 1}"))
    before = _owners(arena)
    began_s = time.monotonic()
    await extra[1].start()
    alone = await _grown(arena, FIRST + 2, before, began_s)
    say(f"a fourth pod has its share after {alone.took_s:.2f} s")
    return asked, alone


async def _place(arena: Arena, count: int) -> tuple[list[GuildInfo], float]:
    """Make guilds; returns them, and how long it took until all of them were open."""
    began_s = time.monotonic()
    made = await make_guilds(arena.live.control, count, f"town-{len(arena.guilds)}")
    arena.guilds += [id_of(guild) for guild in made]
    await opened(arena, WITHIN_S)
    return made, time.monotonic() - began_s


async def _serves(arena: Arena, pod: str) -> None:
    def serves() -> bool:
        lease = arena.watched.leases.get(pod)
        return lease is not None and lease.state == "serving"

    await arena.until(serves, f"{pod} serves", WITHIN_S)


def _owners(arena: Arena) -> dict[GuildId, str]:
    return {guild: arena.owner(guild) for guild in arena.guilds}


async def _grown(arena: Arena, pods: int, before: dict[GuildId, str], began_s: float) -> Grown:
    """Wait until config finds the pods even, nothing moves, and every guild is open."""
    report = await _fair(arena, pods)
    took_s = time.monotonic() - began_s
    return Grown(
        took_s=took_s,
        moves=sum(arena.owner(guild) != pod for guild, pod in before.items()),
        max_over_mean=report.max_over_mean,
        min_over_mean=report.min_over_mean,
    )


async def _fair(arena: Arena, pods: int) -> BalanceReport:
    """What config says of the balance, once that is fair."""
    watched = arena.watched
    report: BalanceReport | None = None
    try:
        async with asyncio.timeout(WITHIN_S):
            while True:
                with contextlib.suppress(BusError, MalformedMessage):
                    report = await balance(arena.live.bus)
                    joining = (watched.assignments[guild].joining for guild in arena.guilds)
                    moving = any(one is not None and one.purpose == "own" for one in joining)
                    shared = len(owned(arena)) == pods and not moving
                    if shared and is_fair(report) and all(map(watched.is_open, arena.guilds)):
                        return report
                await asyncio.sleep(LOOK_EVERY_S)
    except TimeoutError:
        said = "nothing" if report is None else spread_of(report)
        words = f"config says {said}, owners are {dict(owned(arena))}"
        raise NotInTime(f"not within {WITHIN_S:g} s: fair over {pods} pods: {words}") from None


def is_fair(report: BalanceReport) -> bool:
    """Whether every pod has its share, neither more nor less."""
    return report.max_over_mean <= MAX_OVER_MEAN and report.min_over_mean >= MIN_OVER_MEAN


def spread_of(report: BalanceReport) -> str:
    """In words."""
    return f"{report.min_over_mean:.2f} to {report.max_over_mean:.2f} of the mean"


def _result(
    options: RebalanceOptions, placing_s: float, asked: Grown, alone: Grown, posted: Figure
) -> BenchResult:
    placing = Baseline(name="placing as many new guilds", value=round(placing_s, 2))
    worst = max(asked.max_over_mean, alone.max_over_mean)
    emptiest = min(asked.min_over_mean, alone.min_over_mean)
    least = -(-options.guilds // (FIRST + 1))
    figures = [
        Figure(
            name="fair_after_s",
            value=round(asked.took_s, 2),
            unit="s",
            limit=FAIR_LIMIT_S,
            baseline=placing,
        ),
        Figure(
            name="new_pod_fair_after_s",
            value=round(alone.took_s, 2),
            unit="s",
            limit=NEW_POD_LIMIT_S,
            baseline=placing,
        ),
        Figure(
            name="max_over_mean",
            value=round(worst, 3),
            unit="x",
            limit=MAX_OVER_MEAN,
        ),
        Figure(
            name="min_over_mean",
            value=round(emptiest, 3),
            unit="x",
            limit=MIN_OVER_MEAN,
            at_least=True,
        ),
        Figure(
            name="moves",
            value=asked.moves,
            unit="guilds",
            baseline=Baseline(name="fewest, were all alike", value=least),
        ),
        Figure(name="new_pod_moves", value=alone.moves, unit="guilds"),
        posted,
    ]
    return BenchResult(
        bench="rebalance",
        seed=options.seed,
        checked=options.guilds,
        figures=figures,
        ok=all(figure.ok for figure in figures),
    )
