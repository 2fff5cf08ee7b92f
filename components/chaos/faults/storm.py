"""Several faults at once, which may strike the same pod."""

import asyncio
from collections.abc import Sequence
from typing import Final

from components.chaos.arena import Arena, NotThere
from components.chaos.faults import cuts, ends, orders, servers, stops
from components.chaos.scenario import Fault, Injection
from contracts.ids import GuildId

AT_ONCE: Final = 3
AT_LEAST: Final = 2
"""Fewer that did their harm are no storm."""
TRIES: Final = 4
"""So many faults are drawn in the place of one that finds nothing to strike."""

FAULTS: Final[dict[str, Injection]] = {
    "kill-gateway": ends.kill_gateway,
    "kill-gateway-and-parent": ends.kill_gateway_and_parent,
    "wipe-disk": ends.wipe_disk,
    "kill-pair": ends.kill_pair,
    "kill-twice": ends.kill_twice,
    "stop-gateway": stops.stop_gateway,
    "stop-short": stops.stop_short,
    "cut-gateway": cuts.cut_gateway,
    "cut-discord": cuts.cut_discord,
    "slow-disk": cuts.slow_disk,
    "kill-shard": ends.kill_shard,
    "kill-edge": ends.kill_edge,
    "kill-config": ends.kill_config,
    "kill-both-configs": ends.kill_both_configs,
    "reshard": orders.reshard,
    "stop-postgres": servers.stop_postgres,
    "stop-s3": servers.stop_s3,
    "kill-nats": servers.kill_nats,
    "rolling-restart": orders.restart_all,
    "clock-jump": cuts.jump_clock,
}
"""By the name of its scenario: every one that needs a single NATS node."""

_NO_ROWS = "who restarts without config takes back guilds whose rows its disk holds: it is gone"
_NOBODY_NAMES = "one keeps a pod away until config names another owner, the other keeps config away"
_ALL_AWAY = "three pods: one keeps two away until the third owns, the other may keep the third away"
_ONE_FLAG = "both stop a process through the same flag of its pod, and either wakes it"
_REFUSED = "the operator's command asks config, which is away: it is refused and strikes nothing"

APART: Final[dict[frozenset[str], str]] = {
    frozenset({"kill-both-configs", "wipe-disk"}): _NO_ROWS,
    frozenset({"kill-both-configs", "kill-pair"}): _NOBODY_NAMES,
    frozenset({"kill-both-configs", "kill-twice"}): _NOBODY_NAMES,
    frozenset({"kill-pair", "kill-twice"}): _ALL_AWAY,
    frozenset({"stop-gateway", "stop-short"}): _ONE_FLAG,
    frozenset({"reshard", "kill-config"}): _REFUSED,
    frozenset({"reshard", "kill-both-configs"}): _REFUSED,
    frozenset({"reshard", "kill-nats"}): _REFUSED,
    frozenset({"reshard", "rolling-restart"}): _REFUSED,
    frozenset({"reshard", "stop-postgres"}): _REFUSED,
}
"""Pairs that cannot run together, and why."""


class Draws:
    """Which faults a storm is made of."""

    def __init__(self, order: Sequence[str]) -> None:
        self._left = list(order)
        self._chosen: list[str] = []

    def draw(self) -> str | None:
        """The next fault that may run beside all that were chosen; None when there is none."""
        for name in self._left:
            if not any(frozenset({name, other}) in APART for other in self._chosen):
                self._left.remove(name)
                self._chosen.append(name)
                return name
        return None

    def give_up(self, name: str) -> None:
        """It found nothing to strike: what cannot run beside it may be drawn now."""
        self._chosen.remove(name)


async def storm(arena: Arena) -> Fault:
    """Three faults at once. Raises `NotThere` when fewer than two did their harm."""
    draws = Draws(arena.dice.sample(list(FAULTS), len(FAULTS)))
    missed: list[str] = []
    first = [draws.draw() for _ in range(AT_ONCE)]
    async with asyncio.TaskGroup() as group:
        tasks = [group.create_task(_strike(arena, draws, name, missed)) for name in first]
    done = [struck for task in tasks if (struck := task.result()) is not None]
    if len(done) < AT_LEAST:
        names = ", ".join(name for name, _ in done) or "none"
        why = f" ({'; '.join(missed)})" if missed else ""
        raise NotThere(f"{AT_LEAST} faults of a storm that strike; those that did: {names}{why}")
    return together(done, missed)


async def _strike(
    arena: Arena, draws: Draws, name: str | None, missed: list[str]
) -> tuple[str, Fault] | None:
    """Do one fault; another in the place of one that finds nothing to strike, because what it
    needs was just ended by the others. ``missed`` says which those were, and why."""
    for _ in range(TRIES):
        if name is None:
            return None
        try:
            return name, await FAULTS[name](arena.of(f"storm {name}"))
        except NotThere as error:
            missed.append(f"{name} needs {error}")
            draws.give_up(name)
            name = draws.draw()
    return None


def together(done: Sequence[tuple[str, Fault]], missed: Sequence[str] = ()) -> Fault:
    """Several faults as one: whatever one of them excuses is excused, and no more. ``missed``:
    those that found nothing to strike, and why."""
    faults = [fault for _, fault in done]
    guilds: set[GuildId] = set()
    for fault in faults:
        guilds |= fault.guilds
    return Fault(
        words="; ".join([*(f"{name}: {fault.words}" for name, fault in done), *missed]),
        began_ms=min(fault.began_ms for fault in faults),
        guilds=frozenset(guilds),
        responders_down_ms=tuple(at for fault in faults for at in fault.responders_down_ms),
        outages=tuple(outage for fault in faults for outage in fault.outages),
        stopped=tuple(stopped for fault in faults for stopped in fault.stopped),
        struck=tuple(name for name, _ in done),
    )
