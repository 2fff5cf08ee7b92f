"""What operators order: a rolling restart, another number of shards; and several faults at once."""

import asyncio
import contextlib
import signal
import sys
import time
from collections.abc import Awaitable, Callable

from components.chaos.arena import Arena, NotThere
from components.chaos.faults import cuts, ends, servers, stops
from components.chaos.scenario import Fault
from contracts.ids import GuildId

RESHARD_S = 90.0


async def rolling_restart(arena: Arena) -> Fault:
    """SIGTERM to one component after the other, each back before the next one goes."""
    began = time.time() * 1000
    order = [
        name
        for component in ("config", "gateway", "shard", "edge")
        for name in arena.replicas(component)
    ]
    for name in order:
        before = arena.worker(name)
        arena.tell(name, signal.SIGTERM)
        await arena.restarted(name, before)
        await arena.whole()
    return Fault(
        words=f"{len(order)} processes restarted one by one",
        began_ms=began,
        guilds=frozenset(arena.guilds),
        responders_down_ms=(began,),
    )


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


STORM: tuple[Callable[[Arena], Awaitable[Fault]], ...] = (
    ends.kill_gateway,
    ends.kill_gateway_and_parent,
    ends.wipe_disk,
    ends.kill_shard,
    ends.kill_edge,
    ends.kill_config,
    stops.stop_gateway,
    stops.stop_short,
    cuts.cut_gateway,
    cuts.slow_disk,
    cuts.jump_clock,
    servers.kill_nats,
)


async def storm(arena: Arena) -> Fault:
    """Three faults at once, which may strike the same pod."""
    chosen = arena.dice.sample(STORM, 3)
    began = time.time() * 1000
    async with asyncio.TaskGroup() as group:
        tasks = [group.create_task(_one(arena, one)) for one in chosen]
    done = [fault for task in tasks if (fault := task.result()) is not None]
    guilds: set[GuildId] = set()
    for fault in done:
        guilds |= fault.guilds
    return Fault(
        words="; ".join(fault.words for fault in done),
        began_ms=began,
        guilds=frozenset(guilds),
        responders_down_ms=tuple(at for fault in done for at in fault.responders_down_ms),
        everyone_down=True,
        stopped=tuple(stopped for fault in done for stopped in fault.stopped),
    )


async def _one(arena: Arena, inject: Callable[[Arena], Awaitable[Fault]]) -> Fault | None:
    """A fault of a storm: one whose victim another has just ended has nothing to strike."""
    with contextlib.suppress(NotThere):
        return await inject(arena)
    return None
