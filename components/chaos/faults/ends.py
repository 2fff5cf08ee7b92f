"""Processes end: one, several, with their parent, with their disk, twice."""

import asyncio
from collections.abc import Collection

from components.chaos.arena import Arena, NotThere
from components.chaos.scenario import Fault
from contracts.ids import GuildId

AWAY_S = (0.2, 6.0)
"""A node is away for a time in this range, before and after the end of its lease."""


async def kill_gateway(arena: Arena) -> Fault:
    """The owner of a probed guild, seen by its parent."""
    return await _kill_owner(arena, with_parent=False, disk_gone=False)


async def kill_gateway_and_parent(arena: Arena) -> Fault:
    """The owner and who would attest its end; away until its lease has surely ended."""
    return await _kill_owner(arena, with_parent=True, disk_gone=False)


async def wipe_disk(arena: Arena) -> Fault:
    """The owner, and its disk with it."""
    return await _kill_owner(arena, with_parent=False, disk_gone=True)


async def kill_pair(arena: Arena) -> Fault:
    """Owner and follower of one guild, one after the other within a second, disks gone."""
    guild = arena.dice.choice(arena.probed)
    owner, follower = arena.owner(guild), arena.follower(guild)
    struck = {
        one for one in arena.guilds if {arena.owner(one), arena.follower(one)} == {owner, follower}
    }
    before = {pod: arena.worker(pod) for pod in (owner, follower)}
    with arena.held(owner, follower):
        began = arena.kill(owner)
        # at once, so that only the backup is left, or while a new follower is being made
        await asyncio.sleep(arena.dice.choice((0.0, arena.dice.uniform(0.0, 1.0))))
        arena.kill(follower)
        await arena.until(
            lambda: arena.worker(owner) is None and arena.worker(follower) is None, "both end"
        )
        arena.wipe(owner)
        arena.wipe(follower)
        await _others_took(arena, struck, {owner, follower})
    for pod, pid in before.items():
        await arena.restarted(pod, pid)
    return Fault(
        words=f"{owner} and its follower {follower} lost with their disks",
        began_ms=began,
        guilds=frozenset(struck),
    )


async def kill_twice(arena: Arena) -> Fault:
    """The owner, and before all is well again whoever owns the guild then."""
    guild = arena.dice.choice(arena.probed)
    first = arena.owner(guild)
    struck = arena.owned_by([first])
    began = arena.kill(first)
    await asyncio.sleep(arena.dice.uniform(0.05, 2.0))  # the moment is the scenario's input
    second = arena.owner(guild)
    await arena.until(lambda: arena.worker(second) is not None, f"{second} runs")
    struck |= arena.owned_by([second])
    pid = arena.worker(second)
    arena.kill(second)
    await arena.restarted(second, pid)
    return Fault(words=f"{first} killed, then {second}", began_ms=began, guilds=frozenset(struck))


async def kill_shard(arena: Arena) -> Fault:
    """One of the processes that hold Discord sessions."""
    name = arena.dice.choice(arena.replicas("shard"))
    began = await _kill_and_return(arena, name)
    return Fault(
        words=f"{name} killed", began_ms=began, guilds=frozenset(), responders_down_ms=(began,)
    )


async def kill_edge(arena: Arena) -> Fault:
    """One of the edges."""
    name = arena.dice.choice(arena.replicas("edge"))
    return Fault(
        words=f"{name} killed",
        began_ms=await _kill_and_return(arena, name),
        guilds=frozenset(),
    )


async def kill_config(arena: Arena) -> Fault:
    """One of config's replicas: the leader or the other."""
    name = arena.dice.choice(arena.replicas("config"))
    return Fault(
        words=f"{name} killed", began_ms=await _kill_and_return(arena, name), guilds=frozenset()
    )


async def kill_both_configs(arena: Arena) -> Fault:
    """All of config, and a gateway restarts while there is none."""
    configs = arena.replicas("config")
    pod = arena.some_owner()
    struck = arena.owned_by([pod])
    before = {name: arena.worker(name) for name in (*configs, pod)}
    with arena.held(*configs):
        arena.kill(*configs)
        await asyncio.sleep(arena.dice.uniform(0.0, 2.0))  # the moment is the scenario's input
        began = arena.kill(pod)
        await arena.restarted(pod, before[pod])
        await asyncio.sleep(arena.dice.uniform(1.0, 8.0))  # how long config is away
    for name in configs:
        await arena.restarted(name, before[name])
    return Fault(
        words=f"{', '.join(configs)} killed, {pod} restarted meanwhile",
        began_ms=began,
        guilds=frozenset(struck),
    )


async def _kill_owner(arena: Arena, *, with_parent: bool, disk_gone: bool) -> Fault:
    pod = arena.some_owner()
    struck = arena.owned_by([pod])
    before = arena.worker(pod)
    if before is None:
        raise NotThere(f"{pod} does not run")
    away_s = arena.dice.uniform(*AWAY_S)
    with arena.held(pod):
        began = arena.kill_with_parent(pod) if with_parent else arena.kill(pod)
        if disk_gone:
            await arena.until(lambda: arena.worker(pod) is None, f"{pod} ends")
            arena.wipe(pod)
        await asyncio.sleep(away_s)  # how long the node is away is the scenario's input
    await arena.restarted(pod, before)
    words = f"{pod} killed" + (" with its parent" if with_parent else "")
    words += (", its disk gone" if disk_gone else "") + f", away for {away_s:.1f} s"
    return Fault(words=words, began_ms=began, guilds=frozenset(struck))


async def _kill_and_return(arena: Arena, name: str) -> float:
    before = arena.worker(name)
    began = arena.kill(name)
    await arena.restarted(name, before)
    return began


async def _others_took(arena: Arena, guilds: Collection[GuildId], lost: Collection[str]) -> None:
    """Wait until other pods have been named for the guilds."""
    await arena.until(
        lambda: not any(arena.owner(guild) in lost for guild in guilds),
        "another pod is assigned to every guild that lost both",
    )
