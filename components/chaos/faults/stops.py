"""A gateway's process is stopped (SIGSTOP) and wakes (SIGCONT): its clock stood still, its lease
did not."""

import asyncio
import signal
import time

from components.chaos.arena import Arena
from components.chaos.scenario import Fault

LONG_S = (5.5, 11.0)
"""Longer than a lease of 5 s: it wakes before and after others have begun to act."""
SHORT_S = (0.3, 3.5)
IN_WINDOW = 0.5
"""How many of the stops are made between the gate and the socket."""


async def stop_gateway(arena: Arena) -> Fault:
    """Longer than the lease; every other time exactly between the gate and the socket."""
    return await _stop(arena, LONG_S, in_window=arena.dice.random() < IN_WINDOW)


async def stop_short(arena: Arena) -> Fault:
    """Shorter than the lease."""
    return await _stop(arena, SHORT_S, in_window=False)


async def _stop(arena: Arena, range_s: tuple[float, float], *, in_window: bool) -> Fault:
    pod = arena.some_owner()
    struck = arena.owned_by([pod])
    seconds = arena.dice.uniform(*range_s)
    if in_window:
        wanted, stopped = arena.flag(f"window-{pod}"), arena.flag(f"stopped-{pod}")
        wanted.touch()
        try:
            await arena.until(stopped.exists, f"{pod} sends a request and is stopped in it")
        finally:
            wanted.unlink(missing_ok=True)
            stopped.unlink(missing_ok=True)
    else:
        arena.tell(pod, signal.SIGSTOP)
    began = time.time() * 1000
    try:
        await asyncio.sleep(seconds)  # how long it stands still is the scenario's input
    finally:
        arena.tell(pod, signal.SIGCONT)
    where = " between gate and socket" if in_window else ""
    return Fault(
        words=f"{pod} stopped{where} for {seconds:.1f} s",
        began_ms=began,
        guilds=frozenset(struck),
        stopped_in_window=(pod,) if in_window else (),
    )
