"""Whole clusters: no invariant is broken, a seed repeats, and what is rare is reached."""

import os
import subprocess
import sys

import pytest

from components.simulate.cluster import Shape
from components.simulate.run import Report, report, run_seed, run_seeds

PARTS = 8
SEEDS = 2000

RARE = (
    "epoch moved during takeover",
    "leader change during move",
    "leader change during takeover",
    "fence during handover",
    "fence of a live pod",
    "kill during handover",
    "NATS away during takeover",
    "readopted",
    "holds from replica",
    "twin",
)


def _words(found: Report) -> str:
    return "\n".join(
        f"seed {failure.seed}: {failure.invariant}: {failure.words}" for failure in found.failures
    )


@pytest.mark.parametrize("part", range(PARTS))
def test_no_invariant_is_broken_in_any_seed(part: int) -> None:
    size = SEEDS // PARTS
    found = report(run_seeds(range(1 + part * size, 1 + (part + 1) * size), Shape()))
    assert found.ok, _words(found)
    assert found.seeds == size
    assert min(found.checked[name] for name in ("effects", "inputs", "facts", "sources")) > size
    missing = [
        name for name in RARE if not any(seen.startswith(name) for seen in found.transitions)
    ]
    assert len(missing) <= 2, missing  # rare pairs: most of them in every part


def test_no_invariant_is_broken_when_faults_come_close_together() -> None:
    shape = Shape(guilds=3, input_every_s=1.0, faults_s=25.0, fault_every_s=1.2, triggered=0.35)
    found = report(run_seeds(range(1, 301), shape))
    assert found.ok, _words(found)


def test_no_invariant_is_broken_with_a_single_pod() -> None:
    found = report(run_seeds(range(1, 101), Shape(pods=1, configs=1)))
    assert found.ok, _words(found)


def _trace_of(seed: int) -> str:
    lines: list[str] = []
    run_seed(seed, Shape(), lines)
    return "\n".join(lines)


def test_a_seed_is_a_run_whatever_the_order_of_sets() -> None:
    command = [sys.executable, "-m", "components.cli", "simulate", "--seeds", "11..11", "--trace"]
    traces = [
        subprocess.run(
            command,
            env={**os.environ, "PYTHONHASHSEED": str(number)},
            capture_output=True,
            text=True,
            check=False,
        ).stderr
        for number in (1, 2)
    ]
    assert len(traces[0].splitlines()) > 100
    assert traces[0] == traces[1]
    assert _trace_of(11) in traces[0]
    assert _trace_of(11) != _trace_of(12)


def test_several_processes_find_what_one_finds() -> None:
    one = report(run_seeds(range(1, 21), Shape()))
    two = report(run_seeds(range(1, 21), Shape(), jobs=2))
    assert one == two


def test_a_cluster_of_another_size_works_too() -> None:
    shape = Shape(pods=5, configs=3, guilds=10)
    found = report(run_seeds(range(1, 11), shape))
    assert found.ok, _words(found)
