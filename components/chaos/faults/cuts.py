"""Connections go silent with their sockets open, or Discord fails, or a disk is slow."""

import asyncio
import functools
import time
from typing import Final

from components.bus.errors import BusError
from components.chaos.arena import Arena, NotThere
from components.chaos.proxies import Mode
from components.chaos.questions import Outage
from components.chaos.returns import sessions_back
from components.chaos.scenario import Fault

CUTS: Final[tuple[tuple[Mode, float, float], ...]] = (
    ("held", 1.0, 4.5),
    ("swallowed", 1.0, 4.5),
    ("held", 5.5, 9.0),
    ("swallowed", 5.5, 9.0),
)
"""Shorter and longer than the lease's 5 s, in turn by the round's number."""
SLOW_MS = (50, 400)
LOOKED_WITHIN_S = 20.0
"""A gateway goes by the log's time, and looks at its own clock when it reports its load."""
JUMPS_S = (30, 3600, 86_400)


async def cut_gateway(arena: Arena) -> Fault:
    """Nothing passes between a gateway and NATS. What was under way arrives late, or never."""
    pod = arena.some_owner()
    struck = arena.owned_by([pod])
    mode, shortest, longest = CUTS[arena.number % len(CUTS)]
    seconds = arena.dice.uniform(shortest, longest)
    proxy = arena.proxies[pod]
    began = time.time() * 1000
    proxy.cut(mode)
    try:
        await asyncio.sleep(seconds)  # how long the cut lasts is the scenario's input
    finally:
        proxy.restore()
    if not proxy.stopped_some:
        raise NotThere(f"traffic of {pod} through its proxy, and nothing came")
    return Fault(
        words=f"{pod} cut from NATS for {seconds:.1f} s, bytes {mode}",
        began_ms=began,
        guilds=frozenset(struck),
    )


async def cut_discord(arena: Arena) -> Fault:
    """REST fails in every way, before and after it took effect; sessions lose their sockets."""
    control = arena.live.control
    began = time.time() * 1000
    try:
        words = [await _fail(arena) for _ in range(3)]
    finally:
        await control.clear_faults()
    back_ms = await sessions_back(arena)
    return Fault(
        words=f"Discord failed: {', then '.join(words)}",
        began_ms=began,
        guilds=frozenset(),
        outages=(Outage(from_ms=began, to_ms=back_ms),),
    )


async def _fail(arena: Arena) -> str:
    """One way of failing, for a while."""
    control = arena.live.control
    status = arena.dice.choice((None, 500, 502, 503, 429))
    # a 429 says that nothing happened
    moment = "before" if status == 429 else arena.dice.choice(("before", "after"))
    answer = "connection cut" if status is None else f"status {status}"
    await control.add_fault(
        path=None,
        status=status,
        drop=status is None,
        moment=moment,
        retry_after_s=0.5,
        scope="shared",  # others' doing: the address is not banned for it
        count=None,
    )
    await control.gateway_fault("drop")
    await asyncio.sleep(arena.dice.uniform(0.5, 2.5))  # how long is the scenario's input
    await control.clear_faults()
    return f"{answer} {moment} it took effect"


async def slow_disk(arena: Arena) -> Fault:
    """Every commit of one gateway takes much longer."""
    pod = arena.some_owner()
    delay_ms = arena.dice.randint(*SLOW_MS)
    slow = arena.flag(f"slow-{pod}")
    arena.flags.forget("slow", pod)
    began = time.time() * 1000
    try:
        slow.write_text(str(delay_ms), encoding="ascii")
        await asyncio.sleep(arena.dice.uniform(4.0, 8.0))  # how long is the scenario's input
    finally:
        slow.unlink(missing_ok=True)
    arena.flags.require_struck("slow", pod)
    return Fault(
        words=f"commits of {pod} delayed by {delay_ms} ms", began_ms=began, guilds=frozenset()
    )


async def jump_clock(arena: Arena) -> Fault:
    """The wall clocks of two gateways and half of the other processes jump one after the other,
    each forward and back behind the true time, or the other way round; steady clocks and the
    servers' clocks do not. A shard's replica that holds no shard id does not look at its own."""
    gateways = arena.dice.sample(arena.replicas("gateway"), 2)
    others = [name for part in ("config", "edge") for name in arena.replicas(part)]
    try:
        others += sorted(await arena.holding_shards())
    except (BusError, TimeoutError) as error:  # of several faults another has taken NATS away
        raise NotThere("NATS, which knows who holds the shards") from error
    struck = [*gateways, *arena.dice.sample(others, max(1, len(others) // 2))]
    directions = {name: 1 if number % 2 else -1 for number, name in enumerate(struck)}
    jumps = []
    for name in struck:
        arena.flags.forget("clock", name)
    began = time.time() * 1000
    try:
        for turn in (1, -1):
            for name in arena.dice.sample(struck, len(struck)):
                seconds = turn * directions[name] * arena.dice.choice(JUMPS_S)
                jumps.append(f"{name} {seconds:+} s")
                arena.flag(f"clock-{name}").write_text(str(seconds), encoding="ascii")
                await asyncio.sleep(arena.dice.uniform(0.2, 1.0))  # the moment is the input
            await asyncio.sleep(arena.dice.uniform(1.0, 3.0))
        for name in struck:
            looked = functools.partial(arena.flags.has_struck, "clock", name)
            await arena.until(looked, f"{name} looks at its wall clock", LOOKED_WITHIN_S)
    finally:
        for name in struck:
            arena.flag(f"clock-{name}").unlink(missing_ok=True)
    return Fault(words=f"clocks: {', '.join(jumps)}", began_ms=began, guilds=frozenset())
