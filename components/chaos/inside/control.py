"""What a process under chaos knows of itself, and the files by which chaos speaks to it."""

import os
from pathlib import Path

REPLICA = os.environ.get("MODBOT_REPLICA", "")
"""The replica that this process is or serves; empty in the stack's own process."""
IS_GATEWAY = REPLICA.startswith("gateway-")


def flag(name: str) -> Path:
    """The file that chaos makes to ask for something."""
    return Path(os.environ["MODBOT_CHAOS_FOLDER"]) / name


def strikes(hook: str) -> None:
    """Say that the hook does its harm in this replica (`components.chaos.flags`)."""
    flag(f"struck-{hook}-{REPLICA}").touch()
