"""Random choices that a seed repeats: one generator for each who draws, so that nobody's draws
depend on how often, or when, somebody else drew."""

import random


def dice(seed: int, number: int, whose: str) -> random.Random:
    """The generator of one drawer in a scenario's round ``number`` (from 0). The one formula:
    whoever plays that round of that scenario with that seed draws the same."""
    return random.Random(f"{seed}-{number}-{whose}")
