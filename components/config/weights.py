"""What each guild weighs: a pure machine fed with pods' reports (`PodLoads`).

A report is taken whole: its pod has smoothed what it measured, and says over how long. So a leader
that has just begun comes to the weights that the one before it had. How much of a weight may be
chance is known with it (`doubt`), and balance moves nothing for that. A guild that nobody has
reported counts as quiet; one that has moved keeps its weight until its new owner reports it.
"""

from collections.abc import Iterable, Mapping

from components.config.balance.weights import DEFAULT_WEIGHT, doubt, weigh
from components.config.world import Held
from contracts.ids import GuildId, Incarnation, PodId
from contracts.records import PodLoads


class Weights:
    """The weights known so far."""

    def __init__(self) -> None:
        self._weights: dict[GuildId, float] = {}
        self._doubts: dict[GuildId, float] = {}
        self._reported: dict[PodId, Incarnation] = {}

    def report(self, loads: PodLoads, assignments: Mapping[GuildId, Held]) -> None:
        """A pod's report; what it follows is measured by the owner."""
        self._reported[loads.pod] = loads.incarnation
        for load in loads.guilds:
            held = assignments.get(load.guild)
            if held is None or held.assignment.pod != loads.pod:
                continue
            self._weights[load.guild] = weigh(load.events_per_s, load.rows, load.engine_ms_per_s)
            self._doubts[load.guild] = doubt(load.events_per_s, load.engine_ms_per_s, load.over_s)

    def of(self, guild: GuildId) -> float:
        """The guild's weight."""
        return self._weights.get(guild, DEFAULT_WEIGHT)

    def doubt_of(self, guild: GuildId) -> float:
        """Variance of the guild's weight."""
        return self._doubts.get(guild, 0.0)

    def reported(self, pod: PodId, incarnation: Incarnation) -> bool:
        """Whether that start of the pod has said what its guilds cost."""
        return self._reported.get(pod) == incarnation

    def forget(self, guilds: Iterable[GuildId]) -> None:
        """Guilds that are no longer assigned."""
        for guild in guilds:
            self._weights.pop(guild, None)
            self._doubts.pop(guild, None)
