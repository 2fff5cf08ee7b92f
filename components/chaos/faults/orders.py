"""What operators order: a rolling restart, another number of shards."""

import asyncio
import functools
import signal
import sys
import time
from pathlib import Path

from components.chaos.arena import Arena, NotInTime, NotThere
from components.chaos.returns import has_session
from components.chaos.scenario import Fault
from components.process import log_files

RESHARD_S = 90.0


LEFT_EMPTY = "left with 0 guilds"
"""What a gateway logs at its end when it has handed over all that it owned."""


async def rolling_restart(arena: Arena) -> Fault:
    """SIGTERM to one component after the other, each back before the next one goes; gateways must
    leave with no guild."""
    return await _one_by_one(arena, leave_empty=True)


async def restart_all(arena: Arena) -> Fault:
    """The same amid other faults: a gateway that cannot hand over ends as in a crash."""
    return await _one_by_one(arena, leave_empty=False)


async def _one_by_one(arena: Arena, *, leave_empty: bool) -> Fault:
    began = time.time() * 1000
    order = [
        name
        for component in ("config", "gateway", "shard", "edge")
        for name in arena.replicas(component)
    ]
    responders_down = []
    for name in order:
        await arena.until(functools.partial(_runs, arena, name), f"{name} runs")
        before = arena.worker(name)
        if name.startswith("shard-") and await has_session(arena, name):
            responders_down.append(time.time() * 1000)
        log = arena.live.home / "logs" / f"{name}.log"
        said = log_files.size_of(log)
        arena.tell(name, signal.SIGTERM)
        await arena.restarted(name, before)
        if leave_empty and name.startswith("gateway-"):
            _require_said(log, said, LEFT_EMPTY)
        await arena.whole()
    return Fault(
        words=f"{len(order)} processes restarted one by one",
        began_ms=began,
        guilds=frozenset(arena.guilds),
        responders_down_ms=tuple(responders_down),
    )


def _require_said(log: Path, offset: int, words: str) -> None:
    with log.open("rb") as file:
        file.seek(offset)
        if words.encode() not in file.read():
            raise NotInTime(f"{log.name} does not say {words!r} of its end")


def _runs(arena: Arena, name: str) -> bool:
    return arena.worker(name) is not None


async def reshard(arena: Arena) -> Fault:
    """``modbot ops reshard N``: one shard more, or one fewer."""
    began = time.time() * 1000
    shards = max(1, len(await arena.live.control.sessions()))
    wanted = shards + 1 if shards < 4 else shards - 1
    command = ["ops", "reshard", str(wanted), "--watch", "--json", "--home", str(arena.live.home)]
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "components.cli",
        *command,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    try:
        async with asyncio.timeout(RESHARD_S):
            said, _ = await process.communicate()
    except TimeoutError:
        process.kill()
        await process.wait()
        raise NotThere(f"`modbot {' '.join(command)}` within {RESHARD_S:g} s") from None
    if process.returncode != 0:
        words = said.decode(errors="replace").strip()
        raise NotThere(f"`modbot {' '.join(command)}`: {words}")
    return Fault(
        words=f"{shards} shards became {wanted}", began_ms=began, guilds=frozenset(arena.guilds)
    )
