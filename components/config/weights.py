"""What each guild weighs, smoothed: a pure machine fed with pods' reports (`PodLoads`).

A report is of the last minute at most, and of less after a guild has moved or its pod has started;
so one report alone says little. A new guild counts as quiet, and each report of its owner moves its
weight a quarter of the way: after a minute of reports every ten seconds it is 80 % there. Guilds
are then not moved for a burst, nor back because their new owner has measured little yet.
"""

from collections.abc import Iterable, Mapping
from typing import Final

from components.config.balance.weights import DEFAULT_WEIGHT, weigh
from components.config.world import Held
from contracts.ids import GuildId
from contracts.records import PodLoads

SHARE_OF_NEWS: Final = 0.25


class Weights:
    """The weights known so far."""

    def __init__(self) -> None:
        self._weights: dict[GuildId, float] = {}
        self._seen_ms: dict[str, int] = {}

    def report(self, loads: PodLoads, assignments: Mapping[GuildId, Held]) -> None:
        """A pod's report; what it follows is measured by the owner. The same one twice counts
        once."""
        if self._seen_ms.get(loads.pod, -1) >= loads.at_ms:
            return
        self._seen_ms[loads.pod] = loads.at_ms
        for load in loads.guilds:
            held = assignments.get(load.guild)
            if held is None or held.assignment.pod != loads.pod:
                continue
            before = self._weights.get(load.guild, DEFAULT_WEIGHT)
            now = weigh(load.events_per_s, load.rows, load.engine_ms_per_s)
            self._weights[load.guild] = before + (now - before) * SHARE_OF_NEWS

    def of(self, guild: GuildId) -> float:
        """The guild's weight."""
        return self._weights.get(guild, DEFAULT_WEIGHT)

    def forget(self, guilds: Iterable[GuildId]) -> None:
        """Guilds that are no longer assigned."""
        for guild in guilds:
            self._weights.pop(guild, None)
