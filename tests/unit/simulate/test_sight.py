"""The simulation sees a broken protocol: each rule of docs/decisions/0006-ownership.md that is
taken away is noticed within some hundred seeds.

The breakages are made in the product's own machines (or in what the server promises them), so a
rule that stops mattering, or a check that goes blind, shows here.
"""

from collections.abc import Callable
from typing import Any

import msgspec
import pytest

import components.config.moving
import components.config.placement
import components.config.promotion
from components.config.election import Election
from components.gateway.ownership.guild import GuildMachine
from components.gateway.ownership.joining import Joiner
from components.gateway.ownership.pod import PodMachine
from components.ownership.evidence import Evidence
from components.ownership.lease import LeaseClock
from components.simulate.cluster import Shape
from components.simulate.disks import Backups
from components.simulate.guild import Guild
from components.simulate.run import run_seed

Break = Callable[[pytest.MonkeyPatch], None]

DEFAULT = Shape(well_within_s=0.0, most_steps=20_000)
HOT = Shape(
    guilds=3,
    input_every_s=1.0,
    faults_s=14.0,
    fault_every_s=2.0,
    triggered=0.25,
    well_within_s=0.0,
    most_steps=20_000,
)
"""More faults, sooner after each other."""
STALE = {"two_could_act", "effects_overlap", "effects_stale_owner", "effects_doubled"}
SEEDS = 500


def silence_is_not_asked_for(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(Evidence, "silent", lambda self, guild, earlier, now_s: "said to be")


def a_fence_is_taken_for_silence(patch: pytest.MonkeyPatch) -> None:
    silent = Evidence.silent

    def fenced(self: Evidence, guild: Any, earlier: Any, now_s: float) -> str:
        return silent(self, guild, earlier, now_s) or self.let_go(guild, earlier)

    patch.setattr(Evidence, "silent", fenced)


def a_release_is_taken_for_silence(patch: pytest.MonkeyPatch) -> None:
    silent = Evidence.silent

    def released(self: Evidence, guild: Any, earlier: Any, now_s: float) -> str:
        proof = silent(self, guild, earlier, now_s)
        return proof or ("released" if self._released.get(guild, 0) >= earlier.epoch else "")

    patch.setattr(Evidence, "silent", released)


def a_fenced_pod_is_not_waited_for_long_enough(patch: pytest.MonkeyPatch) -> None:
    begin, seen = Evidence.__init__, Evidence.pod_seen

    def short(self: Evidence, *, ttl_s: float = 5.0, margin_s: float = 0.5) -> None:
        begin(self, ttl_s=0.1 * ttl_s, margin_s=0.0)

    def short_lease(self: Evidence, lease: Any, revision: int, now_s: float) -> None:
        seen(self, msgspec.structs.replace(lease, ttl_s=0.1), revision, now_s)

    patch.setattr(Evidence, "__init__", short)
    patch.setattr(Evidence, "pod_seen", short_lease)


def a_lease_is_believed_for_ever(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(LeaseClock, "valid", lambda self, now_s: self.until_s > float("-inf"))


def the_gate_asks_nothing_of_the_pod(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(PodMachine, "pod_refusal", lambda self, now_s: None)


def silence_is_never_proven(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(Evidence, "silent", lambda self, guild, earlier, now_s: "")


def results_of_effects_are_not_reported(patch: pytest.MonkeyPatch) -> None:
    async def forgetful(self: Guild, effect: int) -> None:
        self._in_doubt.add(effect)
        await self.pod.process.sleep(1.0)

    patch.setattr(Guild, "_report", forgetful)


def another_directory_takes_the_lease_at_once(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(Joiner, "free_at_s", lambda self, held, revision, link, now_s: now_s)


def earlier_owners_are_forgotten(patch: pytest.MonkeyPatch) -> None:
    for module in (components.config.promotion, components.config.moving):
        patch.setattr(module, "before_of", lambda world, former: [])


def sources_are_cut(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(components.config.placement, "shrunk", lambda draft, held: [])


def rows_of_sources_are_dropped(patch: pytest.MonkeyPatch) -> None:
    named = vars(GuildMachine)["named"].fget

    def careless(self: GuildMachine) -> str:
        as_what: str = named(self)
        known = self.assignment is not None
        return "nothing" if known and as_what == "source" else as_what

    patch.setattr(GuildMachine, "named", property(careless))


def two_starts_share_a_replica_path(patch: pytest.MonkeyPatch) -> None:
    write = Backups.write

    def shared(self: Backups, path: str, disk: Any, now_s: float) -> bool:
        return write(self, path.rpartition("/")[0], disk, now_s)

    patch.setattr(Backups, "write", shared)


def owners_answer_before_they_are_caught_up(patch: pytest.MonkeyPatch) -> None:
    async def at_once(self: Guild, sequence: int) -> None:
        return

    patch.setattr(Guild, "applied_to", at_once)


@pytest.mark.parametrize(
    ("broken", "shape", "invariants"),
    [
        (silence_is_not_asked_for, HOT, STALE),
        (a_fence_is_taken_for_silence, HOT, STALE),
        (a_release_is_taken_for_silence, HOT, STALE),
        (a_fenced_pod_is_not_waited_for_long_enough, HOT, STALE),
        (a_lease_is_believed_for_ever, DEFAULT, STALE),
        (the_gate_asks_nothing_of_the_pod, DEFAULT, STALE),
        (another_directory_takes_the_lease_at_once, HOT, STALE),
        (earlier_owners_are_forgotten, HOT, STALE),
        (silence_is_never_proven, Shape(well_within_s=8.0), {"well_again"}),
        (results_of_effects_are_not_reported, Shape(well_within_s=8.0), {"well_again"}),
        (sources_are_cut, HOT, {"sources_cut"}),
        (rows_of_sources_are_dropped, HOT, {"sources_cut"}),
        (two_starts_share_a_replica_path, HOT, {"replica_path_shared"}),
        (
            owners_answer_before_they_are_caught_up,
            HOT,
            {"facts_out_of_order", "own_write_unseen", "effects_doubled"},
        ),
    ],
    ids=lambda value: value.__name__ if callable(value) else "",
)
def test_a_broken_rule_is_seen(
    monkeypatch: pytest.MonkeyPatch, broken: Break, shape: Shape, invariants: set[str]
) -> None:
    broken(monkeypatch)
    for seed in range(1, SEEDS + 1):
        violations = run_seed(seed, shape).violations
        if any(violation.invariant in invariants for violation in violations):
            return
    pytest.fail(f"not seen in {SEEDS} seeds")


def test_step_24_leaders_that_never_stop_break_nothing_as_long_as_writes_are_compare_and_set(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    refused, went_on = Election.refused, 0

    def deaf(self: Election) -> None:
        """A leader that hears nothing of its successor."""
        nonlocal went_on
        if self.stage != "leading":
            refused(self)
            return
        went_on += 1
        self._lease.renewed(self._clock())
        self._renew_later()

    monkeypatch.setattr(Election, "refused", deaf)
    monkeypatch.setattr(Election, "leading", property(lambda self: self.stage == "leading"))
    for seed in range(1, 101):
        assert run_seed(seed, HOT).violations == []
    assert went_on > 50
