"""The product, broken on purpose, in its own processes: so that the checker is seen to see.

A breakage that need not be there when its process starts has a switch, so that rounds with several
of them, and with none, are played on one stack.
"""

from components.chaos.inside.control import flag


def is_on(breakage: str) -> bool:
    """Whether the test has broken this, just now."""
    return flag(switch(breakage)).exists()


def switch(breakage: str) -> str:
    """The file that breaks it."""
    return f"broken-{breakage}"
