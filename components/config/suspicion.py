"""Which pods are taken for dead, and when (docs/decisions/0006, steps 9 and 10).

A synchronous state machine. A pod is suspected at once when the server tells that the connection
named in its lease is gone, or when it has not renewed for `MISSED_S`; it is then pinged, and only
who does not answer is fenced. An attested end, and a lease that has run out, need no ping: the
first process is gone, and the second can never renew again. All that a wrong verdict costs is a
promotion; the fence is a compare-and-set, which fails when the pod renewed after all. The server
tells of a connection once, so who lost it and had renewed just before is asked again, and who is
seen to name it only later is asked then.

After NATS or the leader came back, nobody is judged by silence before ``judge_from_s``.
"""

from collections.abc import Callable, Collection, Mapping

import msgspec

from components.config.world import Fence, Ping, Pod
from components.ownership.evidence import Evidence
from contracts.ids import Incarnation, PodId
from contracts.records import PodLease

MISSED_S = 2.5
"""Two renewals and a half (design.md: renewed every second)."""
PING_S = 0.5
KEPT_LOST = 256
"""Lost connections that are remembered. A lease is seen milliseconds after it was written."""
LOST = "its connection to NATS is gone"


class _Suspect(msgspec.Struct, kw_only=True):
    incarnation: Incarnation
    connection: tuple[str, int]
    """That was lost; one that the pod has made since ends the suspicion."""
    reason: str
    silent: bool
    """Suspected by silence, not by the server's word."""
    pinged_s: float | None = None
    unanswered: str = ""


class Verdict(msgspec.Struct, frozen=True, kw_only=True):
    """What is to be done about pods now, and when to ask again."""

    ping: list[Ping]
    fence: list[Fence]
    wake_at_s: float


class Suspicion:
    """The suspects of one leader."""

    def __init__(self) -> None:
        self._suspects: dict[PodId, _Suspect] = {}
        self._answered_s: dict[PodId, float] = {}
        self._lost: dict[tuple[str, int], None] = {}
        """Connections that the server told of lately and nobody has answered for since."""

    def begin(self) -> None:
        """This replica leads from now on. What the server has told stays, for it tells it once: a
        pod may have died just before. Who was silent for another leader, or was pinged by it, is
        asked anew."""
        self._suspects.clear()
        self._answered_s.clear()

    def connection_gone(self, server: str, client: int) -> None:
        """The server's advisory: a connection is gone. It may not be a pod's, or of a pod whose
        lease that names it is not seen yet."""
        if not client:
            return
        self._lost.update(dict.fromkeys([(server, client), ("", client)]))  # as a lease names it
        while len(self._lost) > 2 * KEPT_LOST:
            del self._lost[next(iter(self._lost))]

    def answered(self, pod: PodId, incarnation: Incarnation, now_s: float) -> None:
        """The pod answered a ping."""
        suspect = self._suspects.get(pod)
        if suspect is not None and suspect.incarnation == incarnation:
            self._over(suspect, pod)
            self._answered_s[pod] = now_s

    def unanswered(self, ping: Ping, reason: str) -> None:
        """A ping found no responder, or no answer in `PING_S`."""
        suspect = self._suspects.get(ping.pod)
        if suspect is not None and ping.incarnation == suspect.incarnation:
            suspect.unanswered = reason

    def not_pinged(self, pod: PodId) -> None:
        """A ping could not be sent, which proves nothing of the pod."""
        if (suspect := self._suspects.get(pod)) is not None:
            self._over(suspect, pod)

    def refused(self, pod: PodId) -> None:
        """A fence was refused: the pod has renewed, or started anew. It is not silent; but if its
        connection is gone, that may have been the last thing it did: it is pinged again, unless
        what it wrote names another connection or another start."""
        suspect = self._suspects.get(pod)
        if suspect is None:
            return
        if suspect.silent:
            del self._suspects[pod]
        else:
            suspect.pinged_s, suspect.unanswered = None, ""

    def judge(
        self,
        pods: Mapping[PodId, Pod],
        named: Collection[PodId],
        awaited: Collection[PodId],
        start_of: Callable[[PodId], Incarnation | None],
        evidence: Evidence,
        now_s: float,
        judge_from_s: float,
    ) -> Verdict:
        """Whom to ping and whom to fence. Only pods that an assignment names are judged, and of
        those whose lease is gone only who is ``awaited``: nothing waits for the others, as for a
        pod that left in order. ``start_of``: the newest start of a pod that an assignment waits
        for, asked about pods that nothing on the bus remembers."""
        verdict = Verdict(ping=[], fence=[], wake_at_s=float("inf"))
        wake_at_s = float("inf")
        for pod in pods.values():
            if pod.pod not in named or pod.fenced or pod.lease is None:
                self._suspects.pop(pod.pod, None)
                continue
            if pod.lease.incarnation is None:
                continue  # it has just started and owns nothing
            if pod.away_since_s is not None and pod.pod not in awaited:
                self._suspects.pop(pod.pod, None)
                continue
            wake_at_s = min(
                wake_at_s, self._judge(pod, pod.lease, evidence, now_s, judge_from_s, verdict)
            )
        for name in sorted(awaited):
            forgotten = pods.get(name)
            if forgotten is not None and forgotten.away_since_s is None:
                continue  # it is here, or there is a value, which cannot be read
            if forgotten is not None and _named(forgotten):
                continue  # judged above
            start = start_of(name)
            if start is None:
                continue
            if now_s < judge_from_s:
                wake_at_s = min(wake_at_s, judge_from_s)
            else:
                verdict.fence.append(_fence_forgotten(name, start, forgotten))
        return msgspec.structs.replace(verdict, wake_at_s=wake_at_s)

    def _judge(
        self,
        pod: Pod,
        lease: PodLease,
        evidence: Evidence,
        now_s: float,
        judge_from_s: float,
        verdict: Verdict,
    ) -> float:
        """Judge one pod; returns when to look again."""
        incarnation = lease.incarnation
        assert incarnation is not None  # asked before
        if evidence.has_ended(pod.pod, incarnation):
            verdict.fence.append(_fence(pod, lease, "its process has ended"))
            return float("inf")
        if pod.away_since_s is not None:
            if now_s < judge_from_s:
                return judge_from_s
            verdict.fence.append(_fence(pod, lease, "its lease has ended"))
            return float("inf")
        suspect = self._suspects.get(pod.pod)
        if suspect is not None and (
            suspect.incarnation != incarnation
            or (not suspect.silent and suspect.connection != _connection(lease))
        ):
            self._over(suspect, pod.pod)
            suspect = None
        if _connection(lease) in self._lost:
            self._suspect(pod.pod, lease, LOST, silent=False)
            suspect = self._suspects[pod.pod]
        missed_at_s = max(pod.seen_s, self._answered_s.get(pod.pod, float("-inf"))) + MISSED_S
        missed_at_s = max(missed_at_s, judge_from_s)
        if suspect is not None and suspect.silent and now_s < missed_at_s:
            del self._suspects[pod.pod]  # it has renewed
            suspect = None
        if suspect is None:
            if now_s < missed_at_s:
                return missed_at_s
            self._suspect(pod.pod, lease, f"it has not renewed for {MISSED_S:g} s", silent=True)
            suspect = self._suspects[pod.pod]
        if suspect.pinged_s is None:
            suspect.pinged_s = now_s
            verdict.ping.append(Ping(pod=pod.pod, incarnation=incarnation))
        if now_s >= suspect.pinged_s + 2 * PING_S:  # the ping itself did not come back to us
            suspect.unanswered = suspect.unanswered or "its ping was not answered"
        if not suspect.unanswered:
            return suspect.pinged_s + 2 * PING_S
        verdict.fence.append(_fence(pod, lease, f"{suspect.reason} and {suspect.unanswered}"))
        return float("inf")

    def _over(self, suspect: _Suspect, pod: PodId) -> None:
        """The suspicion has come to its end, and with it the word that the connection is lost."""
        del self._suspects[pod]
        self._lost.pop(suspect.connection, None)

    def _suspect(self, pod: PodId, lease: PodLease, reason: str, *, silent: bool) -> None:
        assert lease.incarnation is not None  # only who is here is suspected
        known = self._suspects.get(pod)
        if known is None or known.incarnation != lease.incarnation or (known.silent and not silent):
            self._suspects[pod] = _Suspect(
                incarnation=lease.incarnation,
                connection=_connection(lease),
                reason=reason,
                silent=silent,
            )


def _fence(pod: Pod, lease: PodLease, reason: str) -> Fence:
    return Fence(
        lease=msgspec.structs.replace(lease, state="fenced"), revision=pod.revision, reason=reason
    )


def _fence_forgotten(pod: PodId, start: Incarnation, known: Pod | None) -> Fence:
    lease = PodLease(
        pod=pod,
        incarnation=start,
        data="",
        state="fenced",
        capacity=0,
        version="",
        engine_version=0,
        started_ms=0,
    )
    revision = known.revision if known is not None else 0
    return Fence(lease=lease, revision=revision, reason="nothing on the bus remembers it")


def _named(pod: Pod) -> bool:
    """Whether its last lease says which start it is of. One that does not is of a pod that died
    before it had named itself, while an earlier start of it may own guilds."""
    return pod.lease is not None and pod.lease.incarnation is not None


def _connection(lease: PodLease) -> tuple[str, int]:
    return lease.nats_server, lease.nats_client
