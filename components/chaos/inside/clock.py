"""A wall clock that jumps: by as many seconds as the flag ``clock-<replica>`` says.

The steady clock is untouched, as it is when somebody sets a machine's time.
"""

import time

from components.chaos.inside.control import REPLICA, flag, strikes


def install() -> None:
    """Let ``time.time`` and ``time.time_ns`` jump in modbot's own processes."""
    if not REPLICA or REPLICA == "simulator":
        return
    real_s, real_ns = time.time, time.time_ns
    jumped = flag(f"clock-{REPLICA}")

    def jump_s() -> float:
        try:
            seconds = float(jumped.read_text())
            strikes("clock")
            return seconds
        except (FileNotFoundError, ValueError):
            return 0.0

    time.time = lambda: real_s() + jump_s()
    time.time_ns = lambda: real_ns() + int(jump_s() * 1e9)
