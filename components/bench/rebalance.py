"""How soon guilds are spread evenly over one pod more.

First config is paused, a third pod starts, and an operator asks for a rebalance: ``fair_after_s``
counts from the request. Then config balances by itself and a fourth pod is started:
``new_pod_fair_after_s`` counts from the start of its process. Fair is what config promises: no pod
has more than 1.10 times the mean, and one guild. Baseline: how long the installation takes to place
and open as many new guilds as the rebalance moves.
"""

import asyncio
import time
from collections.abc import Callable
from pathlib import Path

import msgspec

from components.bench.extra import ExtraGateway
from components.bench.result import Baseline, BenchResult, Figure
from components.bench.stage import (
    id_of,
    is_fair,
    make_guilds,
    max_over_mean,
    opened,
    pause,
    put_all,
    served,
    spread,
    stage,
    tell_config,
)
from components.chaos.arena import Arena
from contracts.operations import Rebalance

FIRST = 2
FAIR_LIMIT_S = 10.0
NEW_POD_LIMIT_S = 30.0
MAX_OVER_MEAN = 1.10
WITHIN_S = 120.0


class RebalanceOptions(msgspec.Struct, frozen=True, kw_only=True):
    """``guilds`` over two pods at first."""

    guilds: int = 1000
    seed: int = 1


class Grown(msgspec.Struct, frozen=True, kw_only=True):
    """One more pod has its share."""

    took_s: float
    moves: int
    max_over_mean: float


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
            await _place(arena, options.guilds - moved)
            placing_s = await _place(arena, moved)
            say(f"placed and opened {moved} guilds in {placing_s:.1f} s")
            await put_all(arena)
            await spread(arena, FIRST)
            await pause(arena.live.bus, paused=True)
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
        finally:
            await asyncio.gather(*(gateway.stop() for gateway in extra))
    return _result(options, placing_s, asked, alone)


async def _place(arena: Arena, count: int) -> float:
    """Make guilds; returns how long it took until all of them were open."""
    began_s = time.monotonic()
    made = await make_guilds(arena.live.control, count, f"town-{len(arena.guilds)}")
    arena.guilds += [id_of(guild) for guild in made]
    await opened(arena, WITHIN_S)
    return time.monotonic() - began_s


async def _serves(arena: Arena, pod: str) -> None:
    def serves() -> bool:
        lease = arena.watched.leases.get(pod)
        return lease is not None and lease.state == "serving"

    await arena.until(serves, f"{pod} serves", WITHIN_S)


def _owners(arena: Arena) -> dict[str, str]:
    return {guild: arena.owner(guild) for guild in arena.guilds}


async def _grown(arena: Arena, pods: int, before: dict[str, str], began_s: float) -> Grown:
    """Wait until guilds are spread evenly, and open where they are."""
    await arena.until(lambda: is_fair(arena, pods), f"fair over {pods} pods", WITHIN_S)
    await opened(arena, WITHIN_S)
    took_s = time.monotonic() - began_s
    return Grown(
        took_s=took_s,
        moves=sum(arena.owner(guild) != pod for guild, pod in before.items()),
        max_over_mean=max_over_mean(arena, pods),
    )


def _result(options: RebalanceOptions, placing_s: float, asked: Grown, alone: Grown) -> BenchResult:
    placing = Baseline(name="placing as many new guilds", value=round(placing_s, 2))
    worst = max(asked.max_over_mean, alone.max_over_mean)
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
            limit=round(MAX_OVER_MEAN + (FIRST + 2) / options.guilds, 3),
        ),
        Figure(name="moves", value=asked.moves, unit="guilds", limit=least),
        Figure(name="new_pod_moves", value=alone.moves, unit="guilds"),
    ]
    return BenchResult(
        bench="rebalance",
        seed=options.seed,
        checked=options.guilds,
        figures=figures,
        ok=all(figure.ok for figure in figures),
    )
