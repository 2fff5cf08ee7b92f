"""How long planning takes at 1,000, 10,000 and 100,000 guilds, beside placing all anew.

Pure computation: no stack is started. Each size is planned in four situations (every guild new, one
pod more, one pod drained, load gone out of shape), each several times; its figure is the median of
the slowest of them, and ``_worst_s`` the slowest of all. The
baseline in the same run is the plan that anybody would write first: forget where the guilds are,
sort them by weight, give each to the pod with least load. It shows what the bookkeeping costs, and
how many guilds it saves from moving.
"""

import math
import random
import statistics
import time
from collections.abc import Callable

import msgspec

from components.bench.result import Baseline, BenchResult, Figure
from components.config.balance import BalanceOptions, BalancePlan, GuildLoad, PodRoom, applied, plan
from contracts.ids import GuildId, PodId

SIZES = (1_000, 10_000, 100_000)
PODS = 100
ZONES = ("a", "b", "c")
LIMIT_S = 2.0
"""At 100,000 guilds."""
BASELINE = "all anew, best fit"


class PlacementOptions(msgspec.Struct, frozen=True, kw_only=True):
    """Each situation is planned ``rounds`` times and the median of its times counts."""

    sizes: tuple[int, ...] = SIZES
    rounds: int = 3
    seed: int = 1


class Measured(msgspec.Struct, frozen=True, kw_only=True):
    """One size: seconds and moves by situation, ours and the baseline's."""

    guilds: int
    plan_s: dict[str, float]
    worst_s: float
    """The slowest round of all situations."""
    moves: dict[str, int]
    naive_s: float
    naive_moves: int
    max_over_mean: float
    """After the plan for one pod more."""


def run_placement(options: PlacementOptions, say: Callable[[str], None]) -> BenchResult:
    """Plan every size and compare."""
    measured = []
    for size in options.sizes:
        say(f"planning {size} guilds over {PODS} pods")
        measured.append(measure(size, options))
    figures = [figure for one in measured for figure in figures_of(one)]
    figures.append(Figure(name="slope", value=round(slope(measured), 2), unit="power of guilds"))
    return BenchResult(
        bench="placement",
        seed=options.seed,
        checked=sum(len(one.plan_s) for one in measured) * options.rounds,
        figures=figures,
        ok=all(figure.ok for figure in figures),
    )


def measure(size: int, options: PlacementOptions) -> Measured:
    """One size in all situations."""
    dice = random.Random(options.seed)
    pods = [
        PodRoom(pod=PodId(f"pod-{n:03}"), zone=ZONES[n % len(ZONES)], capacity=size)
        for n in range(PODS)
    ]
    new = [
        GuildLoad(guild=GuildId(str(10**17 + n)), weight=dice.lognormvariate(0, 1))
        for n in range(size)
    ]
    placed = applied(new, plan(pods, new).moves, pods)
    more = [*pods, PodRoom(pod=PodId("pod-new"), zone=ZONES[0], capacity=size)]
    drained = [msgspec.structs.replace(pods[0], draining=True), *pods[1:]]
    changed = [
        msgspec.structs.replace(load, weight=load.weight * dice.lognormvariate(0, 1))
        for load in placed
    ]
    for number, load in enumerate(changed):
        if dice.random() < 0.3:  # on a few pods: their share of all guilds is far too large
            crowded = pods[number % 10].pod
            if crowded != load.follower:
                changed[number] = msgspec.structs.replace(load, owner=crowded)
    situations = {
        "all_new": (pods, new),
        "one_more_pod": (more, placed),
        "one_drained": (drained, placed),
        "out_of_shape": (pods, changed),
    }
    plan_s: dict[str, float] = {}
    worst_s = 0.0
    plans: dict[str, BalancePlan] = {}
    for name, (rooms, guilds) in situations.items():
        took = []
        for _ in range(options.rounds):
            started = time.perf_counter()
            plans[name] = plan(rooms, guilds)
            took.append(time.perf_counter() - started)
        plan_s[name] = statistics.median(took)
        worst_s = max(worst_s, *took)
    naive = []
    for _ in range(options.rounds):
        started = time.perf_counter()
        owners = best_fit(more, placed)
        naive.append(time.perf_counter() - started)
    return Measured(
        guilds=size,
        plan_s=plan_s,
        worst_s=worst_s,
        moves={
            name: sum(move.kind == "own" for move in made.moves) for name, made in plans.items()
        },
        naive_s=statistics.median(naive),
        naive_moves=sum(owners[load.guild] != load.owner for load in placed),
        max_over_mean=plans["one_more_pod"].after.owned_max_over_mean,
    )


def best_fit(pods: list[PodRoom], guilds: list[GuildLoad]) -> dict[GuildId, PodId]:
    """The baseline: the heaviest guild first, its owner the pod with least, its follower the pod
    with least in another zone. Returns the owners."""
    loads = {pod.pod: 0.0 for pod in pods}
    elsewhere = {
        pod.pod: [other.pod for other in pods if other.pod != pod.pod and other.zone != pod.zone]
        for pod in pods
    }
    share = BalanceOptions().follower_share
    owners: dict[GuildId, PodId] = {}
    for load in sorted(guilds, key=lambda load: -load.weight):
        owner = min(loads, key=loads.__getitem__)
        loads[owner] += load.weight
        owners[load.guild] = owner
        if elsewhere[owner]:
            follower = min(elsewhere[owner], key=loads.__getitem__)
            loads[follower] += load.weight * share
    return owners


def figures_of(measured: Measured) -> list[Figure]:
    """The figures of one size."""
    size = measured.guilds
    limit = LIMIT_S if size == SIZES[-1] else None
    return [
        Figure(
            name=f"plan_{size}_s",
            value=round(max(measured.plan_s.values()), 4),
            unit="s",
            limit=limit,
            baseline=Baseline(name=BASELINE, value=round(measured.naive_s, 4)),
        ),
        Figure(name=f"plan_{size}_worst_s", value=round(measured.worst_s, 4), unit="s"),
        *(
            Figure(name=f"{name}_{size}_s", value=round(seconds, 4), unit="s")
            for name, seconds in measured.plan_s.items()
        ),
        Figure(
            name=f"moves_one_more_pod_{size}",
            value=measured.moves["one_more_pod"],
            unit="guilds",
            baseline=Baseline(name=BASELINE, value=measured.naive_moves),
        ),
        Figure(
            name=f"max_over_mean_{size}",
            value=round(measured.max_over_mean, 4),
            unit="of the mean",
        ),
    ]


def slope(measured: list[Measured]) -> float:
    """By which power of the number of guilds the time grows between the two largest sizes: 1 is
    in proportion. Between small sizes it says little, for few guilds a pod are hard to even out.
    0 for a single size."""
    if len(measured) < 2:
        return 0.0
    small, large = measured[-2:]
    growth = max(large.plan_s.values()) / max(small.plan_s.values())
    return math.log(growth) / math.log(large.guilds / small.guilds)
