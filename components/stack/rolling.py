"""Restarts processes of the stack one by one, so that the installation as a whole goes on.

Promise: a process is stopped only when every other one is ready and nothing is left to settle
(guilds without an owner, copies of streams that are behind); the next one only when this one is
ready again. Raises `StartFailed` when that takes too long; what was not restarted yet is as it was.
"""

import asyncio
from collections.abc import Awaitable, Callable, Sequence

import msgspec

from components.process.clock import steady_s
from components.stack.errors import Refused, StartFailed
from components.stack.plan import DoneProbe, Process
from components.stack.supervisor import Supervisor

LOOK_EVERY_S = 0.2

Unsettled = Callable[[], Awaitable[str]]
"""What is left to settle, in words; empty when nothing is."""


class Restarted(msgspec.Struct, frozen=True, kw_only=True):
    """A process that is ready again."""

    name: str
    after_s: float


async def roll(
    supervisor: Supervisor,
    names: Sequence[str],
    *,
    unsettled: Unsettled,
    told: Callable[[Restarted], Awaitable[None]],
    within_s: float,
) -> None:
    """Restart the processes in this order. Each wait takes ``within_s`` at most."""
    for name in names:
        await _until_settled(supervisor, name, unsettled, within_s)
        started_s = steady_s()
        await supervisor.restart(name, within_s)
        await told(Restarted(name=name, after_s=steady_s() - started_s))
    await _until_settled(supervisor, "", unsettled, within_s)


def chosen(plan: Sequence[Process], names: Sequence[str]) -> list[str]:
    """The processes that are meant, in the order in which to restart them: servers, then who uses
    them. No names: all that keep nothing in memory alone. Raises `Refused` for others."""
    known = [process.name for process in plan if not isinstance(process.probe, DoneProbe)]
    if unknown := [name for name in names if name not in known]:
        raise Refused(f"no process is called {', '.join(unknown)}; there are {', '.join(known)}")
    # The simulated Discord lives in memory: it forgets its guilds when it ends.
    return [name for name in known if name in names or not (names or name == "simulator")]


async def _until_settled(
    supervisor: Supervisor, name: str, unsettled: Unsettled, within_s: float
) -> None:
    words = ""
    try:
        async with asyncio.timeout(within_s):
            while words := _not_ready(supervisor, name) or await unsettled():  # noqa: ASYNC110
                await asyncio.sleep(LOOK_EVERY_S)
    except TimeoutError as error:
        what = f"{name} is not restarted" if name else "everything was restarted"
        raise StartFailed(f"{what}, but after {within_s:g} s {words}") from error


def _not_ready(supervisor: Supervisor, name: str) -> str:
    late = [
        child.name
        for child in supervisor.children.values()
        if child.name != name and child.state not in ("ready", "done")
    ]
    return f"{', '.join(late)}: not ready" if late else ""
