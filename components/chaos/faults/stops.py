"""A gateway's process is stopped (SIGSTOP) and wakes (SIGCONT): its clock stood still, its lease
did not."""

import asyncio
import signal
import time
from typing import Literal, TypeAlias

from components.chaos.arena import Arena
from components.chaos.scenario import Fault

LONG_S = (5.5, 11.0)
"""Longer than a lease of 5 s: it wakes before and after others have begun to act."""
SHORT_S = (0.3, 3.5)
Place: TypeAlias = Literal["anywhere", "before", "behind"]
"""Where in its work the process stops: anywhere, or in a request to Discord right before the gate
is asked or right behind it, before the bytes are written."""


async def stop_gateway(arena: Arena) -> Fault:
    """Longer than the lease."""
    return await _stop(arena, LONG_S, arena.dice.choice(("anywhere", "before", "behind")))


async def stop_short(arena: Arena) -> Fault:
    """Shorter than the lease."""
    return await _stop(arena, SHORT_S, arena.dice.choice(("anywhere", "before", "behind")))


async def stop(arena: Arena, pod: str, place: Place) -> None:
    """Stop the process there."""
    if place == "anywhere":
        arena.tell(pod, signal.SIGSTOP)
        return
    wanted, stopped = arena.flag(f"{place}-{pod}"), arena.flag(f"stopped-{pod}")
    wanted.touch()
    try:
        await arena.until(stopped.exists, f"{pod} sends a request and is stopped in it")
    finally:
        wanted.unlink(missing_ok=True)
        stopped.unlink(missing_ok=True)


async def _stop(arena: Arena, range_s: tuple[float, float], place: Place) -> Fault:
    pod = arena.some_owner()
    struck = arena.owned_by([pod])
    seconds = arena.dice.uniform(*range_s)
    await stop(arena, pod, place)
    began = time.time() * 1000
    try:
        await asyncio.sleep(seconds)  # how long it stands still is the scenario's input
    finally:
        arena.tell(pod, signal.SIGCONT)
    where = {"anywhere": "", "before": " before its gate", "behind": " between gate and socket"}
    return Fault(
        words=f"{pod} stopped{where[place]} for {seconds:.1f} s",
        began_ms=began,
        guilds=frozenset(struck),
        stopped_in_window=(pod,) if place == "behind" else (),
    )
