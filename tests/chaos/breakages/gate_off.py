"""The output gate lets everything pass: no lease, no connection, no epoch is asked for."""

from components.chaos.inside.control import IS_GATEWAY


def install() -> None:
    """Take the gate's questions away."""
    if IS_GATEWAY:
        from components.gateway.shell.gate import Gate

        Gate._pod_reason = lambda self: None  # type: ignore[method-assign]
        Gate.check = lambda self, permit: None  # type: ignore[method-assign]
        Gate.may_act = lambda self, permit: True  # type: ignore[method-assign]
