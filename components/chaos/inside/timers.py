"""Timers come due soon: while the flag ``timers`` stands, a gateway waits for each one that it
arms a fraction of the time that is left until it is due.

Settings allow five minutes at the least; a round lasts seconds. Only when the pod appends
`TimerFired` is changed: what is armed, and what a firing leads to, is the log's and the engine's.
"""

from components.chaos.inside.control import IS_GATEWAY, flag

FASTER = 600
"""So that a sweep, due after 1,800 s, fires 3 s after it was armed."""


def install() -> None:
    """Wrap the arming of timers."""
    if not IS_GATEWAY:
        return
    import msgspec

    from components.gateway.engine.model import ArmedTimer
    from components.gateway.shell.timers import Timers

    arm = Timers.arm
    soon = flag("timers")

    def arm_soon(self: Timers, timer: ArmedTimer) -> None:
        now_ms = self._clock()
        if soon.exists() and timer.due_ms > now_ms:
            left_ms = (timer.due_ms - now_ms) // FASTER
            timer = msgspec.structs.replace(timer, due_ms=now_ms + left_ms)
        arm(self, timer)

    Timers.arm = arm_soon  # type: ignore[method-assign]
