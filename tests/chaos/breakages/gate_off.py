"""The output gate lets everything pass: no lease, no connection, no epoch is asked for."""

from typing import Any

from components.chaos.inside.control import IS_GATEWAY
from tests.chaos.breakages import is_on

NAME = "gate_off"


def install() -> None:
    """Take the gate's questions away."""
    if not IS_GATEWAY:
        return
    from components.gateway.shell.gate import Gate

    may_act = Gate.may_act

    def without(ask: Any) -> Any:
        def check(self: Gate, permit: Any) -> None:
            if not is_on(NAME):
                ask(self, permit)

        return check

    Gate.check = without(Gate.check)  # type: ignore[method-assign]
    Gate.check_effects = without(Gate.check_effects)  # type: ignore[method-assign]
    Gate.may_act = lambda self, permit: is_on(NAME) or may_act(self, permit)  # type: ignore[method-assign]
