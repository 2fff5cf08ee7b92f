"""A pod does not care that its lease has ended, nor that it was fenced. Its gate still asks for
connection and epoch."""

from components.chaos.inside.control import IS_GATEWAY
from tests.chaos.breakages import is_on

NAME = "lease_ignored"
ANY_S = 5.0


def install() -> None:
    """Let every lease be valid, and no pod end for the loss of its own."""
    if not IS_GATEWAY:
        return
    from components.bus.leases import Lease
    from components.gateway.ownership.commands import Command
    from components.gateway.ownership.pod import PodMachine
    from components.ownership.lease import LeaseClock

    valid, lost = LeaseClock.valid, PodMachine.lease_lost
    left = vars(Lease)["remaining_s"].fget

    def lose(self: PodMachine, reason: str, now_s: float) -> list[Command]:
        return [] if is_on(NAME) else lost(self, reason, now_s)

    LeaseClock.valid = lambda self, now_s: is_on(NAME) or valid(self, now_s)  # type: ignore[method-assign]
    PodMachine.lease_lost = lose  # type: ignore[method-assign]
    Lease.remaining_s = property(lambda self: ANY_S if is_on(NAME) else left(self))  # type: ignore[assignment]
