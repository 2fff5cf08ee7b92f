"""A policy that fails for a reason no engine can foresee: only the tests' pods have it."""

import os
import signal
from typing import Any

from components.gateway.engine.policy import Context, Policy


def _on_message(context: Context, event: Any) -> None:
    if event.content == "poison":
        raise MemoryError("planted by a test")
    if event.content == "deadly poison":
        os.kill(os.getpid(), signal.SIGKILL)


POLICY = Policy(name="poison", order=1, dispatches={"MESSAGE_CREATE": _on_message})
