"""The one call that nobody can prevent: of a process that was stopped between its gate and the
socket, and woke when another owned the guild (docs/decisions/0006). Pure."""

from collections.abc import Sequence

import msgspec

from components.chaos.owners import Stale

LEAVES_WITHIN_MS = 1000.0
"""The bytes are written by the very next step of the process that wakes."""


class Stopped(msgspec.Struct, frozen=True, kw_only=True):
    """A request whose process was stopped right before it was written, and woke again."""

    pod: str
    incarnation: str
    pid: int
    what: str
    """Method and path, as `owners.Act.what`."""
    woke_ms: float


def without_window(
    stale: Sequence[Stale], stopped: Sequence[Stopped]
) -> tuple[list[Stale], list[Stale]]:
    """The stale acts that somebody answers for, and those that were stopped requests: for each of
    these one act of the same process with the same request, right after it woke."""
    left = list(stopped)
    kept: list[Stale] = []
    in_window: list[Stale] = []
    for one in stale:
        found = next((request for request in left if _is(one, request)), None)
        if found is None:
            kept.append(one)
        else:
            left.remove(found)
            in_window.append(one)
    return kept, in_window


def _is(stale: Stale, request: Stopped) -> bool:
    act = stale.act
    return (act.pod, act.incarnation, act.what) == (
        request.pod,
        request.incarnation,
        request.what,
    ) and request.woke_ms <= act.at_ms <= request.woke_ms + LEAVES_WITHIN_MS
