"""A node that is away: a replica whose flag ``hold-<replica>`` stands does not start yet."""

import time

from components.chaos.inside.control import REPLICA, flag, strikes


def install() -> None:
    """Wait, before anything of modbot runs, until the flag is gone."""
    if REPLICA:
        held = flag(f"hold-{REPLICA}")
        if held.exists():
            strikes("hold")
        while held.exists():
            time.sleep(0.02)
