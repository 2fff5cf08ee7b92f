"""The load that each pod should have: the mean, where nothing prevents it.

A pod that must hold more (pinned guilds) stands above the common level, one that cannot hold as
much (capacity) below it, and the others share the rest evenly.
"""

STEPS = 100
"""Halvings: beyond the precision of a float."""


def levels(total: float, least: list[float], most: list[float]) -> list[float]:
    """A level a pod, between its ``least`` and ``most``, that add up to ``total`` if they can."""
    if not least:
        return []
    mean = total / len(least)
    if max(least) <= mean <= min(most):
        return [mean] * len(least)
    low, high = 0.0, max(*least, *most, mean) if len(least) > 1 else total
    for _ in range(STEPS):
        middle = (low + high) / 2
        held = sum(_between(middle, floor, top) for floor, top in zip(least, most, strict=True))
        if held < total:
            low = middle
        else:
            high = middle
    return [_between(high, floor, top) for floor, top in zip(least, most, strict=True)]


def _between(level: float, least: float, most: float) -> float:
    return max(least, min(level, most))
