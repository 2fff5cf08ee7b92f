"""Clocks, injected where time matters so that tests can hold them.

`steady_s` goes on while the machine sleeps and never jumps: leases are judged by it alone.
`wall_ms` is for people and for Discord's timestamps.
"""

import time
from collections.abc import Callable
from typing import TypeAlias

SteadyClock: TypeAlias = Callable[[], float]
WallClock: TypeAlias = Callable[[], int]


def steady_s() -> float:
    """Seconds on a clock that neither jumps nor stops (CLOCK_BOOTTIME, where there is one)."""
    return time.clock_gettime(getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC))


def wall_ms() -> int:
    """Milliseconds since 1970."""
    return time.time_ns() // 1_000_000
