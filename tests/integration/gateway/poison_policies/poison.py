"""A policy that fails for a reason no engine can foresee: only the tests' pods have it."""

from typing import Any

from components.gateway.engine.policy import Context, Policy


def _on_message(context: Context, event: Any) -> None:
    if event.content == "poison":
        raise MemoryError("planted by a test")


POLICY = Policy(name="poison", order=1, dispatches={"MESSAGE_CREATE": _on_message})
