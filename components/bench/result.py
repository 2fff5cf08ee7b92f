"""What a measurement prints: one JSON object, names as in the design's last section."""

import msgspec


class Baseline(msgspec.Struct, frozen=True, kw_only=True):
    """What the figure is held against, measured in the same run."""

    name: str
    value: float


class Figure(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One figure; ``limit`` is the most it may be, or with ``at_least`` the least."""

    name: str
    value: float
    unit: str
    limit: float | None = None
    at_least: bool = False
    baseline: Baseline | None = None

    @property
    def ok(self) -> bool:
        """Whether the figure keeps its limit."""
        if self.limit is None:
            return True
        return self.value >= self.limit if self.at_least else self.value <= self.limit


class BenchResult(msgspec.Struct, frozen=True, kw_only=True):
    """A whole measurement over ``checked`` items."""

    bench: str
    seed: int
    checked: int
    figures: list[Figure]
    ok: bool


def percentile(values: list[float], share: float) -> float:
    """The value at or above which lies ``1 - share`` of the values (nearest rank).

    Raises ValueError for an empty list: a percentile of nothing is not a figure.
    """
    if not values:
        raise ValueError("no values were measured")
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(len(ordered) * share))]
