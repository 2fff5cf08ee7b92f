"""Whole clusters: no invariant is broken, a seed repeats, and what is rare is reached."""

import os
import subprocess
import sys
from collections import Counter
from functools import cache

import msgspec
import pytest

from components.config import promotion
from components.gateway.ownership.commands import Command
from components.gateway.ownership.pod import PodMachine
from components.simulate.cluster import Shape
from components.simulate.rare import RARE, rare
from components.simulate.run import Report, report, run_seed, run_seeds
from contracts.records import Silent

PARTS = 8
SEEDS = 2000

ASKED = ("move", "drain", "restart", "pin", "unpin", "rebalance", "pause", "resume")
AT_ANY_TIME = (
    "duplicate delivery",
    "live message delivered twice",
    "value of guilds delivered twice",
    "value of leaders delivered twice",
    "advisory delivered twice",
    "guilds spread",
    "guilds spread as asked",
    "epoch rebalanced",
    "epoch pinned",
    "epoch drained",
    "config stops leading",
    *(f"{what} asked for" for what in ASKED),
)


@cache
def _part(part: int) -> Report:
    """An eighth of the seeds, run once, by the command: in a process of its own nothing measures
    coverage (`make coverage`), which would take as long again and more."""
    size = SEEDS // PARTS
    seeds = f"{1 + part * size}..{(part + 1) * size}"
    ran = subprocess.run(
        [sys.executable, "-m", "components.cli", "simulate", "--seeds", seeds, "--json"],
        capture_output=True,
        check=False,
    )
    found = msgspec.json.decode(ran.stdout, type=Report)
    assert ran.returncode == (0 if found.ok else 1)
    return found


def _words(found: Report) -> str:
    return "\n".join(
        f"seed {failure.seed}: {failure.invariant}: {failure.words}" for failure in found.failures
    )


@pytest.mark.parametrize("part", range(PARTS))
def test_no_invariant_is_broken_in_any_seed(part: int) -> None:
    found = _part(part)
    assert found.ok, _words(found)
    assert found.seeds == SEEDS // PARTS
    checked = [found.checked[name] for name in ("effects", "inputs", "facts", "sources")]
    assert min(checked) > found.seeds
    assert [name for name in AT_ANY_TIME if name not in found.transitions] == []


@pytest.mark.timeout(600)  # when it runs alone it runs all seeds
def test_every_rare_pair_is_seen() -> None:
    seen = rare(sum((Counter(_part(part).transitions) for part in range(PARTS)), Counter()))
    assert [name for name, count in seen.items() if not count] == []


def test_step_7_none_is_broken_when_silent_owners_are_left_out_at_once(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """They are named for a minute, longer than a run, because a restarted pod is back sooner;
    nothing depends on it."""
    monkeypatch.setattr(promotion, "KEPT_S", 0.0)
    found = report(run_seeds(range(1, 41), Shape()))
    assert found.ok, _words(found)
    assert found.transitions["earlier owners left out"] > 10


def test_what_was_never_seen_is_reported_as_such() -> None:
    assert set(rare({}).values()) == {0}
    found = report(run_seeds([1], Shape()))
    assert list(found.rare) == list(RARE)


def test_no_invariant_is_broken_when_faults_come_close_together() -> None:
    shape = Shape(guilds=3, input_every_s=1.0, faults_s=25.0, fault_every_s=1.2, triggered=0.35)
    found = report(run_seeds(range(1, 121), shape))
    assert found.ok, _words(found)


def test_no_invariant_is_broken_with_a_single_pod() -> None:
    found = report(run_seeds(range(1, 101), Shape(pods=1, configs=1)))
    assert found.ok, _words(found)


def _trace_of(seed: int) -> str:
    lines: list[str] = []
    run_seed(seed, Shape(), lines)
    return "\n".join(lines)


def test_a_machine_that_raises_fails_its_own_seed_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    alone = report(run_seeds([2, 3], Shape()))
    silent_seen = PodMachine.silent_seen
    raised: list[KeyError] = []

    def once(machine: PodMachine, silent: Silent, now_s: float) -> list[Command]:
        if not raised:
            raised.append(KeyError("not a guild of ours"))
            raise raised[0]
        return silent_seen(machine, silent, now_s)

    monkeypatch.setattr(PodMachine, "silent_seen", once)
    found = report(run_seeds([1, 2, 3], Shape()))
    (failure,) = found.failures
    assert (failure.seed, failure.invariant) == (1, "raises")
    assert failure.step > 0
    assert "KeyError: 'not a guild of ours'" in failure.words
    assert "in once" in failure.words  # where it was raised
    assert (found.seeds, found.steps) == (3, alone.steps + failure.step)


def test_an_opening_that_waits_while_its_guild_is_dropped_ends() -> None:
    """Seed 4845: the driver looked the guild up after the machine had forgotten it."""
    found = report(run_seeds([4845], Shape()))
    assert found.ok, _words(found)


def test_a_log_that_expires_while_it_is_read_is_no_whole_log() -> None:
    """Seed 323603: a follower was built from a log whose beginning expired after it was looked at;
    pods compare it again after the read, the driver did not."""
    found = report(run_seeds([323603], Shape()))
    assert found.ok, _words(found)
    assert found.transitions["hole while it was built"] > 0


def test_what_a_new_leader_finds_is_no_proof_that_followers_live() -> None:
    """Seed 306637: NATS came back after owner and follower had lost their disks, without a backup,
    and config gave the last source up because their old leases were still there."""
    found = report(run_seeds([306637], Shape()))
    assert found.ok, _words(found)


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
