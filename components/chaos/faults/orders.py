"""What operators order: a rolling restart, another number of shards."""

import asyncio
import functools
import signal
import sys
import time

from components.chaos.arena import Arena, NotThere
from components.chaos.returns import has_session
from components.chaos.scenario import Fault

RESHARD_S = 90.0


async def rolling_restart(arena: Arena) -> Fault:
    """SIGTERM to one component after the other, each back before the next one goes."""
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
        arena.tell(name, signal.SIGTERM)
        await arena.restarted(name, before)
        await arena.whole()
    return Fault(
        words=f"{len(order)} processes restarted one by one",
        began_ms=began,
        guilds=frozenset(arena.guilds),
        responders_down_ms=tuple(responders_down),
    )


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
