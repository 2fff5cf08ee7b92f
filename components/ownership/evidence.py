"""What proves that the owner of an earlier epoch has let go of a guild, or is silent.

Fed with what is seen in the buckets ``pods``, ``ends`` and ``handoffs``, in any order, late,
repeated, with values in between missing; every proof, once seen, stays one. Nothing is concluded
from a key that expired or is gone (0006, step 8).

*Let go*: it can apply and answer nothing that would not be ordered by the log (step 5).
*Silent*: no request of it to Discord is under way or can begin (step 7).
"""

from typing import Final

from components.ownership.incarnations import is_newer, parts
from contracts.ids import Epoch, GuildId, Incarnation, PodId
from contracts.records import EarlierOwner, PodLease, ProcessEnd, Released, Silent

Start = tuple[PodId, Incarnation]

KEPT_STARTS: Final = 16
"""Starts of one pod that are remembered; older ones are named by the assignment itself."""


class Evidence:
    """The proofs known to one judge. Times are seconds of the judge's own steady clock.

    ``ttl_s`` and ``margin_s``: the least that a fenced pod is waited for; a lease that states a
    longer TTL is waited for longer.
    """

    def __init__(self, *, ttl_s: float = 5.0, margin_s: float = 0.5) -> None:
        self._ttl_s = ttl_s
        self._margin_s = margin_s
        self._newest: dict[PodId, Incarnation] = {}
        self._unnamed: dict[PodId, int] = {}
        """Revision of a lease that was created and has not named its incarnation yet."""
        self._silent_from: dict[Start, float] = {}
        self._processes: dict[PodId, dict[Incarnation, str]] = {}
        self._ended: dict[PodId, set[str]] = {}
        self._released: dict[GuildId, Epoch] = {}
        self._silent: dict[GuildId, Epoch] = {}

    def pod_seen(self, lease: PodLease, revision: int, now_s: float) -> None:
        """An entry of bucket ``pods``, read, watched, or written by ourselves (then ``now_s`` is
        the moment of the acknowledgement)."""
        pod = lease.pod
        if lease.incarnation is None:
            self._unnamed[pod] = max(revision, self._unnamed.get(pod, 0))
            return
        newest = self._newest.get(pod)
        if newest is None or is_newer(lease.incarnation, newest):
            self._newest[pod] = lease.incarnation
        if lease.process:
            named = self._processes.setdefault(pod, {})
            named[lease.incarnation] = lease.process
            while len(named) > KEPT_STARTS:
                del named[next(iter(named))]
        if lease.state == "fenced":
            wait_s = max(self._ttl_s, lease.ttl_s) + self._margin_s
            self._silent_from.setdefault((pod, lease.incarnation), now_s + wait_s)

    def end_seen(self, end: ProcessEnd) -> None:
        """An entry of bucket ``ends``."""
        self._ended.setdefault(end.pod, set()).add(end.process)

    def released_seen(self, released: Released) -> None:
        """An entry ``released.<guild>`` of bucket ``handoffs``."""
        known = self._released.get(released.guild, 0)
        self._released[released.guild] = Epoch(max(released.epoch, known))

    def silent_seen(self, silent: Silent) -> None:
        """An entry ``silent.<guild>`` of bucket ``handoffs``."""
        known = self._silent.get(silent.guild, 0)
        self._silent[silent.guild] = Epoch(max(silent.epoch, known))

    def forget(self, guild: GuildId) -> None:
        """The guild is no longer of interest to this judge."""
        self._released.pop(guild, None)
        self._silent.pop(guild, None)

    def has_ended(self, pod: PodId, incarnation: Incarnation, process: str = "") -> bool:
        """Whether the process of this start is certainly gone: its end was attested."""
        process = process or self._processes.get(pod, {}).get(incarnation, "")
        return bool(process) and process in self._ended.get(pod, ())

    def is_fenced(self, pod: PodId, incarnation: Incarnation) -> bool:
        """Whether the start can never renew its lease again by a fence that was seen."""
        return (pod, incarnation) in self._silent_from

    def has_released(self, guild: GuildId, epoch: Epoch) -> bool:
        """Whether the owner of this epoch has let go of it by its own word."""
        return self._released.get(guild, 0) >= epoch

    def has_left(self, guild: GuildId, epoch: Epoch) -> bool:
        """Whether the owner of this epoch has said itself that it let go and that it is silent."""
        return self.has_released(guild, epoch) and self._silent.get(guild, 0) >= epoch

    def let_go(self, guild: GuildId, earlier: EarlierOwner) -> str:
        """The proof, in words, that the earlier owner has let go; empty: none is known."""
        if self.has_released(guild, earlier.epoch):
            return "released"
        return self.gone(earlier.pod, earlier.incarnation, earlier.process)

    def gone(self, pod: PodId, incarnation: Incarnation, process: str = "") -> str:
        """The proof, in words, that the start serves nobody any more; empty: none is known."""
        if self.has_ended(pod, incarnation, process):
            return "its process has ended"
        if self._started_again(pod, incarnation):
            return "the pod has started again"
        if self.is_fenced(pod, incarnation):
            return "fenced"
        return ""

    def living(self, pod: PodId) -> Incarnation | None:
        """The newest start that was seen of the pod, unless it is known to be gone."""
        newest = self._newest.get(pod)
        return None if newest is None or self.gone(pod, newest) else newest

    def silent(self, guild: GuildId, earlier: EarlierOwner, now_s: float) -> str:
        """The proof, in words, that the earlier owner is silent now; empty: none is known."""
        if self._silent.get(guild, 0) >= earlier.epoch:
            return "silent"
        if self.has_ended(earlier.pod, earlier.incarnation, earlier.process):
            return "its process has ended"
        if self._started_again(earlier.pod, earlier.incarnation):
            return "the pod has started again"
        if now_s >= self._silent_from.get((earlier.pod, earlier.incarnation), float("inf")):
            return "fenced for longer than its lease"
        return ""

    def silent_from_s(self, earlier: EarlierOwner) -> float | None:
        """When waiting alone will prove the silence; None: it will not."""
        return self._silent_from.get((earlier.pod, earlier.incarnation))

    def _started_again(self, pod: PodId, incarnation: Incarnation) -> bool:
        newest = self._newest.get(pod)
        if newest is not None and newest != incarnation and is_newer(newest, incarnation):
            return True
        start = parts(incarnation)
        unnamed = self._unnamed.get(pod, 0)
        # An unnamed lease tells its revision alone, which compares within one bucket.
        same_bucket = (
            newest is not None
            and start is not None
            and (named := parts(newest)) is not None
            and named[0] == start[0]
        )
        return same_bucket and start is not None and unnamed > start[1]
