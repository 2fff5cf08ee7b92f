"""Runs seeds: each one whole cluster, all of them independent of each other."""

import logging
import traceback
from collections import Counter
from collections.abc import Iterable, Iterator
from concurrent.futures import ProcessPoolExecutor

import msgspec

from components.simulate.cluster import Cluster, Shape
from components.simulate.judge import Violation
from components.simulate.rare import rare

AT_A_TIME = 16


class SeedResult(msgspec.Struct, frozen=True, kw_only=True):
    """What became of one seed."""

    seed: int
    steps: int
    violations: list[Violation]
    checked: dict[str, int]
    seen: dict[str, int]


class Failure(msgspec.Struct, frozen=True, kw_only=True):
    """The first violation of a seed."""

    seed: int
    invariant: str
    step: int
    at_s: float
    words: str


class Report(msgspec.Struct, frozen=True, kw_only=True):
    """What became of all seeds (design.md, "What the measuring commands print")."""

    seeds: int
    failures: list[Failure]
    steps: int
    checked: dict[str, int]
    transitions: dict[str, int]
    rare: dict[str, int]
    """Rare pairs, those never seen included (`rare`)."""
    ok: bool


def run_seed(seed: int, shape: Shape, trace: list[str] | None = None) -> SeedResult:
    """One run; its trace is added to ``trace``, if one is given. A machine that raises has broken
    the invariant ``raises``."""
    logging.disable(logging.CRITICAL)  # the machines tell of every suspicion
    cluster = Cluster(seed, shape, trace=trace is not None)
    try:
        cluster.run()
    except Exception:  # whatever it is: it belongs to this seed, and the others are to be run
        cluster.judge.broken("raises", traceback.format_exc())
    if trace is not None and cluster.loop.trace is not None:
        trace += cluster.loop.trace
    return SeedResult(
        seed=seed,
        steps=cluster.loop.steps,
        violations=cluster.judge.violations,
        checked=dict(cluster.judge.checked),
        seen=dict(cluster.loop.seen),
    )


def run_seeds(seeds: Iterable[int], shape: Shape, jobs: int = 1) -> Iterator[SeedResult]:
    """Many runs, in the order of their seeds."""
    if jobs == 1:
        for seed in seeds:
            yield run_seed(seed, shape)
        return
    chosen = list(seeds)
    with ProcessPoolExecutor(jobs) as pool:
        yield from pool.map(run_seed, chosen, [shape] * len(chosen), chunksize=AT_A_TIME)


def report(results: Iterable[SeedResult]) -> Report:
    """Sum up."""
    seeds = steps = 0
    failures: list[Failure] = []
    checked: Counter[str] = Counter()
    transitions: Counter[str] = Counter()
    for result in results:
        seeds += 1
        steps += result.steps
        checked.update(result.checked)
        transitions.update(result.seen)
        if result.violations:
            first = result.violations[0]
            failures.append(
                Failure(
                    seed=result.seed,
                    invariant=first.invariant,
                    step=first.step,
                    at_s=round(first.at_s, 4),
                    words=first.words,
                )
            )
    return Report(
        seeds=seeds,
        failures=failures,
        steps=steps,
        checked=dict(sorted(checked.items())),
        transitions=dict(sorted(transitions.items())),
        rare=rare(transitions),
        ok=seeds > 0 and not failures,
    )
