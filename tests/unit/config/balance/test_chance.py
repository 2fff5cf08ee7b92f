"""Inputs come by chance: what a pod shows by chance moves nothing, what it really has does.

Pods' counts are drawn after Poisson, smoothed by the gateway's own code, weighed by config's, and
balance plans after every report. Seeds are fixed: a seed says what happened, every time.
"""

import math
import random

import pytest

from components.config.balance import BalanceOptions, GuildLoad, PodRoom, applied, plan
from components.config.balance.weights import doubt, weigh
from components.gateway.shell.loads import EVERY_S, Rates
from contracts.ids import GuildId
from tests.unit.config.balance.clusters import guild, owned, pods

SETTLE = 60
"""Reports until what was placed without knowing any weight is spread: ten minutes."""
WATCH = 120
"""Reports in which nothing may move by chance: twenty minutes."""
BY_LUCK = BalanceOptions(certainty=0.0)


class Traffic:
    """Guilds with loads that do not change, on pods that measure them and are balanced."""

    def __init__(
        self, seed: int, options: BalanceOptions | None = None, heaviest_per_s: float = math.inf
    ) -> None:
        self.dice = random.Random(seed)
        self.options = options
        self.rooms: list[PodRoom] = pods(self.dice.randint(2, 8))
        count = len(self.rooms) * self.dice.randint(3, 10)
        self.guilds = [guild(number) for number in range(1, count + 1)]
        self.per_s = {
            load.guild: min(self.dice.lognormvariate(-1.5, 1.2), heaviest_per_s)
            for load in self.guilds
        }
        self.each_ms = {load.guild: self.dice.uniform(0.05, 0.4) for load in self.guilds}
        self.rates = Rates()
        self.left: set[tuple[GuildId, str, str | None]] = set()
        """(guild, role, pod) of every move for balance."""
        self.came_back: set[tuple[GuildId, str, str | None]] = set()
        """Guilds that were moved to a pod from which they had been moved."""
        self._place()

    def go_on(self, reports: int) -> int:
        """So many reports later; returns how many guilds were moved by chance: for balance, and
        with the weights that they really have none would have moved."""
        moved = 0
        for _ in range(reports):
            counts = {
                name: self._counted(name, drawn)
                for name, per_s in self.per_s.items()
                for drawn in [poisson(self.dice, per_s * EVERY_S)]
            }
            self.rates.interval(EVERY_S, counts, counts.keys())
            moved += self._place()
        return moved

    def true(self) -> list[GuildLoad]:
        """The guilds with the weights that they really have."""
        return [
            guild(int(load.guild), load.owner, load.follower, self._weight(load.guild))
            for load in self.guilds
        ]

    def _counted(self, name: GuildId, inputs: int) -> tuple[int, int]:
        """So many inputs, each of which takes a time by chance too (a sum of exponentials)."""
        spent_ms = self.dice.gammavariate(inputs, self.each_ms[name]) if inputs else 0.0
        return inputs, int(spent_ms * 1e6)

    def _weight(self, name: GuildId) -> float:
        return weigh(self.per_s[name], 0, self.per_s[name] * self.each_ms[name])

    def _place(self) -> int:
        known = dict(self.rates.known())
        seen = [
            GuildLoad(
                guild=load.guild,
                owner=load.owner,
                follower=load.follower,
                weight=weigh(rate.inputs, 0, rate.spent_ms),
                doubt=doubt(rate.inputs, rate.spent_ms, rate.over_s),
            )
            if (rate := known.get(load.guild)) is not None
            else load
            for load in self.guilds
        ]
        moves = plan(self.rooms, seen, options=self.options).moves
        balancing = [move for move in moves if move.cause == "balance"]
        needed = bool(balancing) and bool(plan(self.rooms, self.true()).moves)
        for move in balancing:
            if (move.guild, move.kind, move.to_pod) in self.left:
                self.came_back.add((move.guild, move.kind, move.to_pod))
            self.left.add((move.guild, move.kind, move.from_pod))
        self.guilds = applied(seen, moves, self.rooms)
        return 0 if needed else len(balancing)


def poisson(dice: random.Random, mean: float) -> int:
    count, passed = 0, dice.expovariate(1)
    while passed < mean:
        count, passed = count + 1, passed + dice.expovariate(1)
    return count


@pytest.mark.parametrize("seed", range(20))
def test_loads_that_do_not_change_move_nothing_by_chance(seed: int) -> None:
    """What really is uneven may still be moved, and then perhaps once to where it came from."""
    traffic = Traffic(seed)
    traffic.go_on(SETTLE)
    traffic.left.clear()
    assert traffic.go_on(WATCH) == 0
    assert len(traffic.came_back) <= 1


def test_the_same_loads_would_move_guilds_by_chance_if_that_were_not_considered() -> None:
    assert sum(by_luck(seed) for seed in range(20)) > 20


def by_luck(seed: int) -> int:
    traffic = Traffic(seed, BY_LUCK)
    traffic.go_on(SETTLE)
    return traffic.go_on(WATCH)


@pytest.mark.parametrize("seed", range(20))
def test_what_one_pod_really_has_too_much_is_taken_from_it(seed: int) -> None:
    traffic = Traffic(seed, heaviest_per_s=1.0)  # nobody whom no pod could take
    traffic.go_on(SETTLE)
    busy = traffic.guilds[0].owner
    for load in traffic.guilds:
        if load.owner == busy:
            traffic.per_s[load.guild] = 4 * traffic.per_s[load.guild] + 2
    before = even(traffic.true(), traffic.rooms)
    traffic.go_on(SETTLE)
    after = even(traffic.true(), traffic.rooms)
    assert before > 1
    assert after <= 1.1, "of 1.10 of the mean and the heaviest guild"


def even(guilds: list[GuildLoad], rooms: list[PodRoom]) -> float:
    """The heaviest pod, in 1.10 of the mean and the heaviest guild."""
    loads = owned(guilds, rooms)
    mean = sum(loads.values()) / len(loads)
    return max(loads.values()) / (1.10 * mean + max(load.weight for load in guilds))


def test_what_is_measured_for_long_is_told_from_chance_and_what_is_not_is_left() -> None:
    """Two pods, one with half as much again: for a minute it may be chance."""
    rooms = pods(2)
    for over_s, moves in ((20.0, False), (60.0, False), (2000.0, True)):
        guilds = [
            GuildLoad(
                guild=load.guild,
                owner=load.owner,
                follower=load.follower,
                weight=weigh(per_s, 0, 0),
                doubt=doubt(per_s, 0, over_s),
            )
            for load, per_s in (
                *((guild(n, "pod-00", "pod-01"), 0.6) for n in range(1, 11)),
                *((guild(n, "pod-01", "pod-00"), 0.2) for n in range(11, 21)),
            )
        ]
        made = plan(rooms, guilds)
        assert any(move.kind == "own" for move in made.moves) == moves, over_s
        assert moves or any(note.constraint == "hysteresis" for note in made.notes)
