"""What the leader knows for dividing Discord's global rate, and the next division.

Promise: every record that `next` returns, written by compare-and-set on the revision that it
names, keeps what all pods may be using within the limit (docs/decisions/0007-rest-shares.md).
A synchronous state machine: entries of the buckets ``pods``, ``ends`` and ``shares`` and time in,
a record out. What is seen late makes it careful, never wrong. Nothing it knows must outlive it:
a new leader goes on from the record.
"""

from collections import deque
from typing import Final

import msgspec

from components.ownership.evidence import Evidence
from components.sharing.division import bounds_of, divide
from components.sharing.invalid import INVALID_WINDOW_S
from contracts.ids import Epoch, GuildId, Incarnation, PodId
from contracts.records import EarlierOwner, PodLease, ProcessEnd, RestShares, ShardReplica

COUNTED_S: Final = 1.0
"""So long after a pod's end Discord still counts what it sent."""
MARGIN_S: Final = 0.5
PUBLISH_EVERY_S: Final = 1.0
"""At most so often the count of invalid requests alone is published."""


class InvalidLedger:
    """Invalid requests of all processes that use the token within the last 10 minutes, also of
    those that have ended. ``who``: a pod or a replica of the shard, by a name of its own."""

    def __init__(self) -> None:
        self._live: dict[str, tuple[object, int]] = {}
        self._past: deque[tuple[float, int]] = deque()

    def seen(self, who: str, start: object, count: int, now_s: float) -> None:
        """What one start of it says. It begins at 0; what it counted before stays."""
        known = self._live.get(who)
        if known is not None and known[0] != start:
            self._past.append((now_s, known[1]))
        self._live[who] = (start, count)

    def gone(self, who: str, now_s: float) -> None:
        """It is not there any more."""
        known = self._live.pop(who, None)
        if known is not None:
            self._past.append((now_s, known[1]))

    def inherit(self, total: int, now_s: float) -> None:
        """What the leader before had counted, as far as nobody says it of himself."""
        self._past.append((now_s, max(0, total - self.total(now_s))))

    def total(self, now_s: float) -> int:
        """Of all; too many rather than too few."""
        while self._past and self._past[0][0] <= now_s - INVALID_WINDOW_S:
            self._past.popleft()
        live = sum(count for _, count in self._live.values())
        return live + sum(count for _, count in self._past)


class ShareBook:
    """The leader's view. Times are seconds of its own steady clock."""

    def __init__(self, *, limit: float, ttl_s: float, shard_ttl_s: float = 0.0) -> None:
        self._limit = limit
        self._gone_after_s = max(ttl_s, shard_ttl_s) + MARGIN_S
        self._evidence = Evidence(ttl_s=ttl_s, margin_s=MARGIN_S)
        self._leases: dict[str, PodLease | ShardReplica] = {}
        """Of pods by name and of replicas of the shard by key, as in `RestShares`; so below."""
        self._revisions: dict[str, int] = {}
        self._absent: dict[str, tuple[int, float]] = {}
        """Revision at which a named one has no lease, and since when that is known."""
        self._confirmed: dict[str, Incarnation] = {}
        self._ended_at: dict[tuple[str, Incarnation], float] = {}
        self._record: RestShares | None = None
        self._revision = 0
        self._invalid = InvalidLedger()
        self._inherited = False
        self._published_s = float("-inf")

    def pod_seen(self, pod: PodId, lease: PodLease | None, revision: int, now_s: float) -> None:
        """An entry of bucket ``pods``; None: deleted, expired, or not there (any more)."""
        if not self._seen(pod, lease, revision, now_s):
            return
        if lease is None:
            self._invalid.gone(f"pod {pod}", now_s)
        else:
            self._evidence.pod_seen(lease, revision, now_s)
            self._invalid.seen(f"pod {pod}", lease.incarnation, lease.invalid_requests, now_s)

    def shard_seen(
        self, key: str, replica: ShardReplica | None, revision: int, now_s: float
    ) -> None:
        """An entry of bucket ``shards`` by which a replica shows that it lives; None: it is not
        there (any more)."""
        if not self._seen(key, replica, revision, now_s):
            return
        if replica is None:
            self._invalid.gone(f"shard {key}", now_s)
        else:
            count = replica.invalid_requests
            self._invalid.seen(f"shard {key}", replica.since_ms, count, now_s)

    def _seen(
        self, who: str, lease: PodLease | ShardReplica | None, revision: int, now_s: float
    ) -> bool:
        """Remember it; False when something later was seen."""
        if revision < self._revisions.get(who, 0) and lease is not None:
            return False
        self._revisions[who] = revision
        if lease is not None:
            self._absent.pop(who, None)
            self._leases[who] = lease
            return True
        self._leases.pop(who, None)
        if self._absent.get(who, (-1,))[0] != revision:
            self._absent[who] = (revision, now_s)
        return True

    def end_seen(self, end: ProcessEnd) -> None:
        """An entry of bucket ``ends``."""
        self._evidence.end_seen(end)

    def record_seen(self, record: RestShares | None, revision: int, now_s: float) -> None:
        """The division as it is now: read, watched, or written by ourselves."""
        if revision < self._revision:
            return
        self._record, self._revision = record, revision
        if record is None:
            return
        for pod in record.shares:
            if pod not in self._leases:
                self._absent.setdefault(pod, (self._revisions.get(pod, 0), now_s))

    def to_confirm(self, now_s: float) -> dict[str, int]:
        """Who is without a lease for longer than any could last: whoever still finds none, at this
        revision, in the bucket's leader calls `confirm`. (A watch may be late; no renewal can
        succeed after that revision, and what was renewed before it is over.)"""
        return {
            pod: revision
            for pod, (revision, since_s) in self._absent.items()
            if now_s >= since_s + self._gone_after_s and self._named(pod) is not None
        }

    def confirm(self, pod: str, incarnation: Incarnation) -> None:
        """`to_confirm` was true of the pod while the division named this start of it."""
        self._confirmed[pod] = incarnation

    def named(self, pod: str) -> Incarnation | None:
        """The start of the pod that the division names."""
        return self._named(pod)

    def next(self, now_s: float) -> tuple[RestShares, int] | None:
        """The division to be written over this revision; None: the one there is still good. To be
        asked once all buckets have been read."""
        if self._record is None:
            return None
        record, revision = self._record, self._revision
        if not self._inherited:
            # Now that everybody has been heard: else who is heard later would count twice.
            self._inherited = True
            self._invalid.inherit(record.invalid_requests, now_s)
        ended = [pod for pod in record.shares if self._has_ended(pod, now_s)]
        made = divide(record, revision, self._leases, ended, self._limit)
        total = self._invalid.total(now_s)
        if made is None:
            due = now_s >= self._published_s + PUBLISH_EVERY_S
            if total == record.invalid_requests or not due:
                return None
            made = msgspec.structs.replace(
                record, at_most=bounds_of(record, revision, self._leases)
            )
        self._published_s = now_s
        return msgspec.structs.replace(made, invalid_requests=total), revision

    def _has_ended(self, pod: str, now_s: float) -> bool:
        incarnation = self._named(pod)
        if incarnation is None:
            return True  # nobody uses what nobody is named for
        start = (pod, incarnation)
        if start not in self._ended_at:
            # The judge of ownership knows the proofs for pods (it never heard of a replica, which
            # enters by itself when it is started again); of a guild there is no talk here.
            whose = EarlierOwner(pod=PodId(pod), incarnation=incarnation, epoch=Epoch(1))
            silent = self._evidence.silent(GuildId(""), whose, now_s)
            if not silent and self._confirmed.get(pod) != incarnation:
                return False
            self._ended_at = {key: at for key, at in self._ended_at.items() if key[0] != pod} | {
                start: now_s
            }
        return now_s >= self._ended_at[start] + COUNTED_S

    def _named(self, pod: str) -> Incarnation | None:
        return None if self._record is None else self._record.incarnations.get(pod)
