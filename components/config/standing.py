"""What is known of a start of a pod that an assignment names."""

from collections.abc import Mapping
from typing import Literal

from components.config.world import Pod, World
from components.ownership.incarnations import is_newer, parts
from contracts.ids import GuildId, Incarnation, PodId
from contracts.records import Holder, Joining, PodLease

Standing = Literal["here", "away", "unknown", "gone"]
"""``here``: it holds its lease. ``away``: its lease has ended, and it may have been renewed
unseen. ``unknown``: no news yet. ``gone``: it can never hold its lease again."""


def standing(world: World, pod: PodId, incarnation: Incarnation) -> Standing:
    """Whether that start of the pod is here. ``gone`` is never taken back."""
    known = world.pods.get(pod)
    if known is None:
        return "away"
    lease = known.lease
    if lease is None:
        return "away" if known.away_since_s is not None else "unknown"
    if lease.incarnation is None:
        start = parts(incarnation)
        later = start is not None and known.away_since_s is None and known.revision > start[1]
        return "gone" if later else "unknown"
    if lease.incarnation != incarnation:
        return "gone" if is_newer(lease.incarnation, incarnation) else "unknown"
    if known.fenced:
        return "gone"
    return "away" if known.away_since_s is not None else "here"


def holds(world: World, guild: GuildId, holder: Holder | None) -> bool:
    """Whether that start of the pod is here and has the guild's rows."""
    if holder is None or standing(world, holder.pod, holder.incarnation) != "here":
        return False
    holding = world.holds.get(guild, {}).get(holder.pod)
    return holding is not None and holding.incarnation == holder.incarnation


def has_joined(world: World, guild: GuildId, joining: Joining) -> bool:
    """Whether the pod has answered this joining: it has the rows, and follows."""
    holder = Holder(pod=joining.pod, incarnation=joining.incarnation)
    if not holds(world, guild, holder):
        return False
    return world.holds[guild][joining.pod].joined_ms == joining.since_ms


def serving(world: World, pod: PodId) -> PodLease | None:
    """The lease of a pod that takes work: it is here, serves, and nobody wants it empty."""
    known = world.pods.get(pod)
    lease = known.here if known is not None else None
    if lease is None or lease.state != "serving" or pod in world.draining:
        return None
    return lease


def serving_pods(pods: Mapping[PodId, Pod]) -> frozenset[PodId]:
    """The pods that are here and serve."""
    return frozenset(
        name
        for name, pod in pods.items()
        if (lease := pod.here) is not None and lease.state == "serving"
    )


def holder_of(lease: PodLease) -> Holder:
    """The pod's present start."""
    assert lease.incarnation is not None  # it is here
    return Holder(pod=lease.pod, incarnation=lease.incarnation)
