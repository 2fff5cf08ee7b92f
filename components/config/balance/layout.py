"""The input of a plan as arrays over indices: pods by name, guilds by number.

The order of what is given does not matter: the same input gives the same layout.
"""

from collections.abc import Iterable, Mapping
from typing import TypeVar

from components.config.balance.model import GuildLoad, PodRoom
from components.config.balance.weights import usable, usable_doubt
from contracts.ids import GuildId, PodId

C = TypeVar("C")

NOBODY = -1
"""No pod, or one that is not listed."""


class Layout:
    """Who holds what at the start. Read only."""

    def __init__(
        self, pods: Iterable[PodRoom], guilds: Iterable[GuildLoad], pins: Mapping[GuildId, PodId]
    ) -> None:
        self.pods = sorted(pods, key=lambda pod: pod.pod)
        self.guilds = sorted(guilds, key=lambda load: (len(load.guild), load.guild))
        index = {pod.pod: at for at, pod in enumerate(self.pods)}
        if len(index) < len(self.pods):
            raise ValueError("a pod is listed twice")
        self.zone = [pod.zone for pod in self.pods]
        self.takes = [not (pod.draining or pod.away) for pod in self.pods]
        self.away = [pod.away for pod in self.pods]
        self.taking = [at for at, takes in enumerate(self.takes) if takes]
        zones = {self.zone[at] for at in self.taking}
        self.zoned = len(zones) > 1
        """Whether there is another zone to go to; with one there is nothing to respect."""
        self.apart = [
            self.zone[at] if self.zoned and self.zone[at] else at for at in range(len(self.pods))
        ] + [NOBODY]
        """Pods with an equal entry may not hold the same guild: the zone where one is stated,
        else the pod. The last entry is for `NOBODY`."""
        self.one_zone = "" if self.zoned or not zones else next(iter(zones))
        self.weight = [usable(load.weight) for load in self.guilds]
        self.doubt = [usable_doubt(load.doubt) for load in self.guilds]
        self.owner = [_at(index, load.owner) for load in self.guilds]
        self.follower = [_at(index, load.follower) for load in self.guilds]
        self.pin = [_at(index, pins.get(load.guild)) for load in self.guilds]
        self.kept = [
            load.guild in pins and not (pin != NOBODY and self.takes[pin])
            for load, pin in zip(self.guilds, self.pin, strict=True)
        ]
        """Pinned to a pod that takes nothing or is not listed: balance leaves it where it is until
        it can go there."""
        self.pins = pins

    def name(self, pod: int) -> PodId:
        """Of a pod that is listed."""
        return self.pods[pod].pod

    def may_pair(self, owner: int, follower: int) -> bool:
        """Whether one may follow what the other owns: another pod, and another zone if stated."""
        return self.apart[owner] != self.apart[follower]

    def heaviest_first(self, *found: Mapping[int, C]) -> dict[int, C]:
        """One group of guilds after the other, each with its heaviest first, equal ones by
        number."""
        weight = self.weight.__getitem__
        return {
            guild: group[guild]
            for group in found
            for guild in sorted(group, key=weight, reverse=True)  # keeps the order of equal ones
        }


def _at(index: Mapping[PodId, int], pod: PodId | None) -> int:
    return NOBODY if pod is None else index.get(pod, NOBODY)
