"""When a new leader may spread guilds by itself. A pure machine fed with time and what is known.

A replica that has just started knows no weights: to it all guilds weigh the same, and it would move
what the last leader had spread well. So it moves nothing by itself for one interval of balancing,
and until every pod that serves has said what its guilds cost since it started. A pod that starts
later is not waited for: what it takes over is known.
"""

from collections.abc import Mapping

from components.config.standing import serving_pods
from components.config.weights import Weights
from components.config.world import Pod
from contracts.ids import PodId


class Beginning:
    """Of one replica's time as leader."""

    def __init__(self, at_least_s: float) -> None:
        self._at_least_s = at_least_s
        self._until_s = float("inf")
        self._over = False

    def begin(self, now_s: float) -> None:
        """Lead from now on."""
        self._until_s = now_s + self._at_least_s
        self._over = False

    def is_over(self, now_s: float, pods: Mapping[PodId, Pod], weights: Weights) -> bool:
        """Whether guilds may be moved. Once they may, they may until the next `begin`."""
        self._over = self._over or (now_s >= self._until_s and _all_reported(pods, weights))
        return self._over


def _all_reported(pods: Mapping[PodId, Pod], weights: Weights) -> bool:
    for name in serving_pods(pods):
        lease = pods[name].lease
        if lease is None or lease.incarnation is None:
            return False
        if not weights.reported(name, lease.incarnation):
            return False
    return True
