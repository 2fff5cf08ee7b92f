"""A pod for a single guild: a new one, one that lost its follower, one to be restored.

`Chooser` remembers what it gave, so that a thousand guilds in a row end up spread. Each answer
costs a look at the pods with least load and a change of their order; with N pods that is far below
one pass over all of them unless most are full.
"""

import math
from collections import Counter
from collections.abc import Iterable, Mapping

from components.config.balance.layout import NOBODY, Layout
from components.config.balance.leveller import LOOK_FURTHER
from components.config.balance.model import BalanceOptions, GuildLoad, PodRoom
from components.config.balance.ranking import Ranking
from components.config.balance.weights import usable
from contracts.ids import GuildId, PodId


class Chooser:
    """Who takes the next guild. Answers None rather than overload a pod."""

    def __init__(
        self,
        pods: Iterable[PodRoom],
        guilds: Iterable[GuildLoad],
        pins: Mapping[GuildId, PodId] | None = None,
        options: BalanceOptions | None = None,
    ) -> None:
        self._pins = pins or {}
        self._share = (options or BalanceOptions()).follower_share
        layout = self._layout = Layout(pods, guilds, {})
        self._index = {pod.pod: at for at, pod in enumerate(layout.pods)}
        self._owned = [0.0] * len(layout.pods)
        self._load = [0.0] * len(layout.pods)
        self._room = [pod.capacity for pod in layout.pods]
        self._follow_room = [pod.capacity for pod in layout.pods]
        self._pairs = Counter[tuple[int, int]]()
        """(owner, follower): guilds that they share. When a pod is lost, many take its guilds."""
        for at, weight in enumerate(layout.weight):
            owner, follower = layout.owner[at], layout.follower[at]
            if owner != NOBODY:
                self._owned[owner] += weight
                self._load[owner] += weight
                self._room[owner] -= 1
            if follower != NOBODY:
                self._load[follower] += weight * self._share
                self._follow_room[follower] -= 1
                self._pairs[owner, follower] += 1
        self._by_owned = Ranking(self._owned, layout.taking)
        self._by_load = Ranking(self._load, layout.taking)

    def choose_owner(
        self, guild: GuildId, weight: float = 1.0, *, follower: PodId | None = None
    ) -> PodId | None:
        """The pod that is to own a guild that nobody owns: the one it is pinned to, if that takes
        guilds and has room; else its follower, which has its state; else the one that owns least.
        None if no pod has room."""
        for wish in (self._pins.get(guild), follower):
            pod = NOBODY if wish is None else self._index.get(wish, NOBODY)
            if pod != NOBODY and self._layout.takes[pod] and self._room[pod] > 0:
                if wish == follower:
                    self._unfollow(pod, weight)
                return self._own(pod, weight)
        for _, pod in self._by_owned.order:
            if self._room[pod] > 0:
                return self._own(pod, weight)
        return None

    def choose_follower(self, weight: float = 1.0, *, owner: PodId) -> PodId | None:
        """The pod that is to follow a guild that nobody follows: the one with least work that is
        not the owner's and, where zones are stated, not in its zone; among those with about as
        little, the one that follows fewest of the owner's guilds. None if there is none."""
        at = self._index.get(owner, NOBODY)
        size = usable(weight) * self._share
        best, looked, most = None, 0, math.inf
        for load, pod in self._by_load.order:
            if load > most or looked >= LOOK_FURTHER:
                break
            if self._follow_room[pod] < 1:
                continue
            if at != NOBODY and not self._layout.may_pair(at, pod):
                continue
            if best is None:
                most = load + size
            if best is None or self._pairs[at, pod] < self._pairs[at, best]:
                best = pod
            looked += 1
        if best is None:
            return None
        self._follow_room[best] -= 1
        self._pairs[at, best] += 1
        self._by_load.change(best, size)
        return self._layout.name(best)

    def _own(self, pod: int, weight: float) -> PodId:
        self._room[pod] -= 1
        self._by_owned.change(pod, usable(weight))
        self._by_load.change(pod, usable(weight))
        return self._layout.name(pod)

    def _unfollow(self, pod: int, weight: float) -> None:
        self._follow_room[pod] += 1
        self._by_load.change(pod, -usable(weight) * self._share)
