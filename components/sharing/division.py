"""Divides a limit among pods and replicas of the shard, as successive revisions of one record.

Promise: whoever writes what `enter` or `divide` return, by compare-and-set on the revision that
they were given, keeps the sum of what pods may be using at or below the limit, however late a
process sees a division and however old the leases are that the leader knows
(docs/decisions/0007-rest-shares.md). Pure: no clock, no I/O. Shares are whole requests a second.
"""

import heapq
import math
from collections.abc import Collection, Mapping
from typing import Final

import msgspec

from contracts.ids import Incarnation
from contracts.records import PodLease, RestShares, ShardReplica

REST: Final = "rest"
"""The key of the division in bucket ``shares``."""
MINIMUM: Final = 1
"""Every pod keeps so much: an urgent effect in a quiet guild goes without asking anybody."""
FAR: Final = 0.1
"""A division that differs by this part of the limit from the one that demand asks for is made
anew also when nobody needs more; smaller differences are not worth a write."""

Leases = Mapping[str, PodLease | ShardReplica]
"""By name as in `RestShares`. Below "pod" is said of replicas of the shard, too."""


def enter(
    record: RestShares | None, pod: str, incarnation: Incarnation, limit: float
) -> RestShares | None:
    """The record with the pod in it; None when it is there already.

    A new pod takes half of what is free, so that others may enter while nobody divides. One that
    is started again takes its own share over: its process before must have ended, and its last
    request must have been counted (more than a second ago).
    """
    record = record or RestShares(per_s=limit, shares={})
    if record.incarnations.get(pod) == incarnation:
        return None
    share = record.shares.get(pod)
    if share is None:
        used = sum(_ceiling(record, other) for other in record.shares)
        share = math.ceil(max(0, math.floor(record.per_s - used)) / 2)
    return msgspec.structs.replace(
        record,
        shares={**record.shares, pod: share},
        incarnations={**record.incarnations, pod: incarnation},
        at_most={**record.at_most, pod: share},
    )


def divide(
    record: RestShares, revision: int, leases: Leases, ended: Collection[str], limit: float
) -> RestShares | None:
    """The next division by demand; None when the last one, at ``revision``, is still good.

    ``leases`` may be old; ``ended`` are pods of which no request can be counted any more.
    """
    pods = sorted(pod for pod in record.shares if pod not in ended)
    wanted = {pod: _wanted(record, pod, leases) for pod in pods}
    ideal = by_demand(limit, wanted)
    bounds = bounds_of(record, revision, leases)
    bounds = {pod: bounds[pod] for pod in pods}
    shares: dict[str, float] = {pod: record.shares[pod] for pod in pods}
    complete = sum(record.shares.values()) >= math.floor(limit) == math.floor(record.per_s)
    if complete and len(pods) == len(record.shares):
        hungry = any(shares[pod] < min(ideal[pod], max(wanted[pod], MINIMUM)) for pod in pods)
        if not hungry and all(abs(ideal[pod] - shares[pod]) < FAR * limit for pod in pods):
            return None
    free: float = max(0, math.floor(limit - sum(bounds.values())))
    for pod in sorted(pods, key=lambda pod: (shares[pod] - wanted[pod], pod)):
        # What was lowered is free for others only when its pod keeps to it.
        shares[pod] = max(0, min(ideal[pod], bounds[pod] + free))
        free -= max(0, shares[pod] - bounds[pod])
    if shares == record.shares and limit == record.per_s:
        return None
    return msgspec.structs.replace(
        record,
        per_s=limit,
        shares=shares,
        incarnations={pod: record.incarnations[pod] for pod in pods},
        at_most={pod: max(bounds[pod], shares[pod]) for pod in pods},
    )


def bounds_of(record: RestShares, revision: int, leases: Leases) -> dict[str, float]:
    """The most that each pod may be using now, whatever it has seen of the record."""
    return {pod: _bound(record, revision, pod, leases) for pod in record.shares}


def by_demand(limit: float, wanted: Mapping[str, int]) -> dict[str, int]:
    """The limit divided max-min fair: nobody gets more of what another one lacks than the other
    has. What nobody wants is spread evenly, so that demand that begins is met at once."""
    minimum = MINIMUM if len(wanted) * MINIMUM <= limit else 0
    shares = dict.fromkeys(sorted(wanted), minimum)
    left = max(0, math.floor(limit) - sum(shares.values()))
    lacking = [(share, pod) for pod, share in shares.items() if share < wanted[pod]]
    left = _one_by_one(shares, lacking, left, wanted)
    beyond = [(share - max(wanted[pod], minimum), pod) for pod, share in shares.items()]
    _one_by_one(shares, beyond, left, None)
    return shares


def _one_by_one(
    shares: dict[str, int],
    neediest: list[tuple[int, str]],
    left: int,
    most: Mapping[str, int] | None,
) -> int:
    """Give what is left to whoever comes first, until each has its most; returns the rest."""
    heapq.heapify(neediest)
    while left and neediest:
        at, pod = heapq.heappop(neediest)
        shares[pod] += 1
        left -= 1
        if most is None or shares[pod] < most[pod]:
            heapq.heappush(neediest, (at + 1, pod))
    return left


def _wanted(record: RestShares, pod: str, leases: Leases) -> int:
    lease = leases.get(pod)
    if lease is None or lease.incarnation != record.incarnations.get(pod):
        return 0
    return math.ceil(max(0.0, min(lease.rest_wanted_per_s, record.per_s)))


def _bound(record: RestShares, revision: int, pod: str, leases: Leases) -> float:
    lease = leases.get(pod)
    if (
        lease is not None
        and lease.incarnation == record.incarnations.get(pod)
        and lease.rest_share_revision >= revision
    ):
        return record.shares[pod]
    return _ceiling(record, pod)


def _ceiling(record: RestShares, pod: str) -> float:
    return max(record.at_most.get(pod, 0), record.shares[pod])
