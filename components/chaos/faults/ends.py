"""Processes end: one, several, with their parent, with their disk, twice."""

import asyncio
import contextlib
import functools
from collections.abc import Collection

from components.chaos.arena import Arena, NotThere
from components.chaos.returns import has_session
from components.chaos.scenario import Fault
from contracts.ids import GuildId

AWAY_S = (0.2, 6.0)
"""A node is away for a time in this range, before and after the end of its lease."""
LEASE_OVER_S = (1.5, 5.0)
"""How much longer than its lease a node is away whose end nobody attests: the lease has surely
ended, margin and all."""
READOPTED_WITHIN_S = 40.0
"""A restart, the leader's TTL of 5 s without any sign of one, and a machine under load."""


async def kill_gateway(arena: Arena) -> Fault:
    """The owner of a probed guild, seen by its parent."""
    return await _kill_owner(arena)


async def kill_gateway_and_parent(arena: Arena) -> Fault:
    """The owner and who would attest its end; away until its lease has surely ended."""
    return await _kill_owner(arena, with_parent=True)


async def wipe_disk(arena: Arena) -> Fault:
    """The owner, and its disk with it."""
    return await _kill_owner(arena, disk_gone=True)


async def kill_pair(arena: Arena) -> Fault:
    """Owner and follower of one guild, one after the other within a second, disks gone."""
    guild = arena.dice.choice(arena.probed)
    owner, follower = arena.owner(guild), arena.follower(guild)
    struck = {
        one for one in arena.guilds if {arena.owner(one), arena.follower(one)} == {owner, follower}
    }
    before = {pod: arena.worker(pod) for pod in (owner, follower)}
    async with arena.away(owner, follower):
        began = arena.kill(owner)
        # at once, so that only the backup is left, or while a new follower is being made
        await asyncio.sleep(arena.dice.choice((0.0, arena.dice.uniform(0.0, 1.0))))
        with contextlib.suppress(NotThere):  # of several faults another has just ended it
            arena.kill(follower)
        for pod, pid in before.items():
            await arena.until(functools.partial(_ended, arena, pod, pid), f"{pod} ends")
        arena.wipe(owner)
        arena.wipe(follower)
        await _others_took(arena, struck, {owner, follower})
    return Fault(
        words=f"{owner} and its follower {follower} lost with their disks",
        began_ms=began,
        guilds=frozenset(struck),
    )


async def kill_twice(arena: Arena) -> Fault:
    """The owner, and before all is well again whoever was made the owner after it."""
    guild = arena.dice.choice(arena.probed)
    first = arena.owner(guild)
    struck = arena.owned_by([first])
    async with arena.away(first):
        began = arena.kill(first)
        await _others_took(arena, {guild}, {first})
        await asyncio.sleep(arena.dice.uniform(0.0, 2.0))  # the moment is the scenario's input
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
    held = await has_session(arena, name)
    began = await _kill_and_return(arena, name)
    return Fault(
        words=f"{name} killed",
        began_ms=began,
        guilds=frozenset(),
        responders_down_ms=(began,) if held else (),
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
    """All of config, and a gateway restarts while there is none: config stays away until the
    gateway has taken back every guild it owned. One that does not is a round not played."""
    configs = arena.replicas("config")
    async with arena.away(*configs):
        for name in configs:
            with contextlib.suppress(NotThere):  # of several faults another has just ended it
                arena.kill(name)
        await asyncio.sleep(arena.dice.uniform(0.2, 2.0))  # the moment is the scenario's input
        pod = arena.some_owner()
        before = arena.worker(pod)
        struck = arena.owned_by([pod])
        former = {guild: arena.watched.assignments[guild].incarnation for guild in struck}
        began = arena.kill(pod)
        await arena.restarted(pod, before)

        def taken_back() -> bool:
            now = {guild: arena.watched.assignments[guild] for guild in struck}
            return all(
                one.pod == one.by == pod and one.incarnation != former[guild]
                for guild, one in now.items()
            )

        words = f"{pod} takes back its guilds {sorted(struck)} while there is no config"
        await arena.until(taken_back, words, READOPTED_WITHIN_S)
        await asyncio.sleep(arena.dice.uniform(0.0, 3.0))  # how long config is away beyond that
    return Fault(
        words=f"{', '.join(configs)} killed, {pod} restarted meanwhile and took its guilds back",
        began_ms=began,
        guilds=frozenset(struck),
    )


async def _kill_owner(arena: Arena, *, with_parent: bool = False, disk_gone: bool = False) -> Fault:
    pod = arena.some_owner()
    struck = arena.owned_by([pod])
    before = arena.worker(pod)
    if before is None:
        raise NotThere(f"{pod} does not run")
    away_s = arena.dice.uniform(*(LEASE_OVER_S if with_parent else AWAY_S))
    if with_parent:
        away_s += arena.watched.leases[pod].ttl_s
    async with arena.away(pod):
        began = arena.kill_with_parent(pod) if with_parent else arena.kill(pod)
        if disk_gone:
            await arena.until(functools.partial(_ended, arena, pod, before), f"{pod} ends")
            arena.wipe(pod)
        await asyncio.sleep(away_s)  # how long the node is away is the scenario's input
    words = f"{pod} killed" + (" with its parent" if with_parent else "")
    words += (", its disk gone" if disk_gone else "") + f", away for {away_s:.1f} s"
    return Fault(words=words, began_ms=began, guilds=frozenset(struck))


def _ended(arena: Arena, pod: str, before: int | None) -> bool:
    """The process has ended; another may already stand and wait."""
    return arena.worker(pod) != before or before is None


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
