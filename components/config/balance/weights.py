"""How heavy a guild is, from what its owner measured. Never fails, always a positive number.

The unit is a quiet guild: one that is only kept open weighs 1. A pod's time is what runs out, so
the rest is time: 0.1 ms of it in a second weighs as much as one quiet guild. An input costs 0.15 ms
beside the engine's own time (intake, transaction, facts; the aim is 4,000 inputs/s a pod, 0.25 ms
each in all), and 10,000 rows weigh as much as one quiet guild for what they cost in backups and
snapshots.

Inputs come by chance: a guild with 3 a minute shows 6 or none in the next one, and nothing has
changed. `doubt` is the variance that this gives its weight, as for counts after Poisson: each input
weighs something, and the variance of a count is the count.
"""

import math

DEFAULT_WEIGHT = 1.0
"""A guild that nobody has reported on yet: taken as quiet."""
HEAVIEST = 1_000_000.0
"""A hundred pods' whole time: more is an error of measurement."""

UNIT_MS_PER_S = 0.1
INPUT_MS = 0.15
ROWS_PER_UNIT = 10_000.0
OVER_S = 57.0
"""How long a pod has measured that does not say so: smoothed with 0.3 every 10 s."""
LONGEST_S = 86_400.0


def weigh(events_per_s: float, rows: float, engine_ms_per_s: float) -> float:
    """The weight of a guild. What is negative or not a number counts as nothing measured."""
    busy_ms_per_s = _sane(engine_ms_per_s) + _sane(events_per_s) * INPUT_MS
    weight = DEFAULT_WEIGHT + busy_ms_per_s / UNIT_MS_PER_S + _sane(rows) / ROWS_PER_UNIT
    return min(weight, HEAVIEST)


def doubt(events_per_s: float, engine_ms_per_s: float, over_s: float) -> float:
    """Variance of a weight that was measured over so long. The time of inputs in the engine varies
    about as much as it takes. One input more than there was is counted, for none in a while does
    not say that none will come."""
    events_per_s = min(_sane(events_per_s), HEAVIEST)
    over_s = min(max(_sane(over_s) or OVER_S, 1.0), LONGEST_S)
    engine_ms = _sane(engine_ms_per_s) / events_per_s if events_per_s > 0 else 0.0
    engine = min(engine_ms / UNIT_MS_PER_S, HEAVIEST)
    of_one = (INPUT_MS / UNIT_MS_PER_S + engine) ** 2 + engine**2
    return of_one * (events_per_s * over_s + 1) / over_s**2


def usable(weight: float) -> float:
    """The weight to plan with: positive and finite, whatever was given."""
    if not math.isfinite(weight) or weight <= 0:
        return DEFAULT_WEIGHT
    return min(weight, HEAVIEST)


def usable_doubt(variance: float) -> float:
    """The variance to plan with: finite and not negative, whatever was given."""
    return _sane(variance)


def _sane(measured: float) -> float:
    return measured if math.isfinite(measured) and measured > 0 else 0.0
