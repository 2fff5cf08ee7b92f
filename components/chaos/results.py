"""What `modbot chaos` prints, and how it comes together from rounds."""

import statistics
import subprocess
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import msgspec

from components.chaos.checker import Checked, Violations
from components.chaos.round import Played
from components.chaos.scenario import Scenario

EXAMPLES = 5
"""So many of each kind of violation are shown; the evidence has all."""


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
    """That were played to their end and checked; no other counts."""
    checked: Checked
    violations: dict[str, int]
    unowned_s: Unowned
    evidence: str
    """The folder with the evidence of failed rounds; empty when none failed."""
    examples: dict[str, list[str]]
    causes: dict[str, int]
    """Why epochs of the guilds began: placed, promoted, moved, restored …"""
    struck: dict[str, int]
    """In how many rounds each fault did its harm."""
    round_s: Percentiles
    """How long a round took, from its guilds' making to its verdict."""
    not_played: list[str]
    """Rounds that could not be played to their end, and why."""
    repeat_rounds: int = 0
    """So many rounds reach the first one with a violation, or if none has any, the first one that
    was not played; 0: there is nothing to repeat."""
    commit: str = ""
    """What was checked out; empty where that is not known."""
    ok: bool


class Tally:
    """What the rounds came to so far."""

    def __init__(self, scenario: Scenario, seed: int) -> None:
        self.scenario, self.seed = scenario, seed
        self.commit = commit()
        self.rounds = 0
        self.checked = Checked()
        self.causes: Counter[str] = Counter()
        self.struck: Counter[str] = Counter()
        self.not_played: list[str] = []
        self.evidence = ""
        self._violations: Counter[str] = Counter(Violations().counts())
        self._examples: dict[str, list[str]] = {}
        self._reads: list[float] = []
        self._effects: list[float] = []
        self._took_s: list[float] = []
        self._violated: list[int] = []
        self._unplayed: list[int] = []

    def add(self, number: int, played: Played) -> None:
        """Round ``number`` (from 1) was played and checked."""
        self.rounds += 1
        if played.violations.total:
            self._violated.append(number)
        self.checked.add(played.checked)
        self._violations.update(played.violations.counts())
        for name in played.violations.__struct_fields__:
            if found := getattr(played.violations, name):
                shown = self._examples.setdefault(name, [])
                shown += found[: EXAMPLES - len(shown)]
        self._reads += played.read_gaps_s
        self._effects += played.effect_gaps_s
        self._took_s.append(played.took_s)
        self.causes.update(played.causes)
        self.struck.update(played.struck)

    def add_unplayed(self, number: int, words: str) -> None:
        """Round ``number`` (from 1) was not played to its end."""
        self.not_played.append(f"round {number}{words}")
        self._unplayed.append(number)

    def result(self) -> ChaosResult:
        """As it stands. Nothing played is not ok."""
        wrong = sum(self._violations.values())
        first_wrong = [*self._violated, *self._unplayed, 0][0]
        return ChaosResult(
            scenario=self.scenario.name,
            seed=self.seed,
            rounds=self.rounds,
            checked=self.checked,
            violations=dict(self._violations),
            unowned_s=Unowned(reads=percentiles(self._reads), effects=percentiles(self._effects)),
            evidence=self.evidence,
            examples=self._examples,
            causes=dict(self.causes),
            struck=dict(self.struck),
            round_s=percentiles(self._took_s),
            not_played=self.not_played,
            repeat_rounds=first_wrong,
            commit=self.commit,
            ok=self.rounds > 0 and not wrong and not self.not_played,
        )


def commit() -> str:
    """The commit that this code is checked out at; empty where there is none."""
    try:
        told = subprocess.run(
            ["git", "rev-parse", "HEAD"],  # noqa: S607 whichever git there is
            cwd=Path(__file__).parent,
            capture_output=True,
            text=True,
            check=True,
        )
    except (OSError, subprocess.CalledProcessError):
        return ""
    return told.stdout.strip()


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
