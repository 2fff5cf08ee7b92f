"""A gateway's process is stopped (SIGSTOP) and wakes (SIGCONT): its clock stood still, its lease
did not."""

import asyncio
import contextlib
import os
import signal
import time
from typing import Final, Literal, TypeAlias

import msgspec
import psutil

from components.chaos.arena import Arena, NotThere
from components.chaos.inside.window import Stop
from components.chaos.scenario import Fault
from components.chaos.window import Stopped

LONG_S = (5.5, 11.0)
"""Longer than a lease of 5 s: it wakes before and after others have begun to act."""
SHORT_S = (0.3, 3.5)
Place: TypeAlias = Literal["behind", "before", "anywhere"]
"""Where in its work the process stops: anywhere, or in a request to Discord right before the gate
is asked or right behind it, before the bytes are written."""
PLACES: Final[tuple[Place, ...]] = ("behind", "before", "anywhere")
"""By the number of the round: three rounds have all of them."""


class Standing(msgspec.Struct, frozen=True, kw_only=True):
    """A process that stands still, and the request in which it does."""

    pid: int
    born_s: float
    stop: Stop | None


async def stop_gateway(arena: Arena) -> Fault:
    """Longer than the lease."""
    return await _stop(arena, LONG_S, PLACES[arena.number % len(PLACES)])


async def stop_short(arena: Arena) -> Fault:
    """Shorter than the lease."""
    return await _stop(arena, SHORT_S, PLACES[arena.number % len(PLACES)])


async def stop(arena: Arena, pod: str, place: Place) -> Standing:
    """Stop the process there. Raises `NotThere` when it ends meanwhile."""
    pid = arena.worker(pod)
    if pid is None:
        raise NotThere(f"{pod} does not run")
    try:
        born_s = psutil.Process(pid).create_time()
        if place == "anywhere":
            os.kill(pid, signal.SIGSTOP)
            return Standing(pid=pid, born_s=born_s, stop=None)
        return Standing(pid=pid, born_s=born_s, stop=await _stop_in_request(arena, pod, pid, place))
    except (psutil.NoSuchProcess, ProcessLookupError):
        raise NotThere(f"{pod} ended before it was stopped") from None


async def _stop_in_request(arena: Arena, pod: str, pid: int, place: Place) -> Stop:
    wanted, stopped = arena.flag(f"{place}-{pod}"), arena.flag(f"stopped-{pod}")
    wanted.touch()
    try:
        await arena.until(
            lambda: stopped.exists() or not psutil.pid_exists(pid),
            f"{pod} sends a request and is stopped in it",
        )
        if not stopped.exists():
            raise ProcessLookupError
        found = msgspec.json.decode(stopped.read_bytes(), type=Stop)
    finally:
        wanted.unlink(missing_ok=True)
        stopped.unlink(missing_ok=True)
    if found.pid != pid:
        with contextlib.suppress(ProcessLookupError):
            os.kill(found.pid, signal.SIGCONT)  # its successor came past: not the one that is meant
        raise ProcessLookupError
    return found


def wake(pod: str, standing: Standing) -> Stopped | None:
    """Let the process go on, if it still is there: the request that leaves now."""
    woke_ms = time.time() * 1000
    try:
        process = psutil.Process(standing.pid)
        if process.create_time() != standing.born_s or process.status() == psutil.STATUS_ZOMBIE:
            return None
        os.kill(standing.pid, signal.SIGCONT)
    except (psutil.NoSuchProcess, ProcessLookupError):
        return None
    if standing.stop is None:
        return None
    return Stopped(
        pod=pod,
        incarnation=standing.stop.caller.rpartition(f" {pod}/")[2],
        pid=standing.pid,
        what=f"{standing.stop.method} {standing.stop.path.removeprefix('/api/v10')}",
        woke_ms=woke_ms,
    )


async def _stop(arena: Arena, range_s: tuple[float, float], place: Place) -> Fault:
    pod = arena.some_owner()
    seconds = arena.dice.uniform(*range_s)
    standing = await stop(arena, pod, place)
    struck = arena.owned_by([pod])
    began = time.time() * 1000
    woken: Stopped | None = None
    try:
        await asyncio.sleep(seconds)  # how long it stands still is the scenario's input
    finally:
        woken = wake(pod, standing)
    where = {"anywhere": "", "before": " before its gate", "behind": " between gate and socket"}
    return Fault(
        words=f"{pod} stopped{where[place]} for {seconds:.1f} s",
        began_ms=began,
        guilds=frozenset(struck),
        stopped=(woken,) if woken is not None and place == "behind" else (),
    )
