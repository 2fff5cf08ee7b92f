"""The output gate lets everything pass: no lease, no connection, no epoch is asked for."""

from components.chaos.inside.control import IS_GATEWAY


def install() -> None:
    """Take the gate's questions away."""
    if not IS_GATEWAY:
        return
    from components.gateway.shell.gate import Gate

    for name in ("check", "check_effects"):
        if hasattr(Gate, name):
            setattr(Gate, name, lambda self, permit: None)
    Gate.may_act = lambda self, permit: True  # type: ignore[method-assign]
