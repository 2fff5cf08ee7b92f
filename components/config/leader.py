"""The leader as a synchronous state machine: news and time in, plans out.

It keeps what `decide` leaves open: which guilds to decide about again and when, who waits and why,
and the suspects. So a plan costs what the news concern, whatever the number of guilds. It owns no
truth: a new leader with an empty one comes to the same decisions from the view.

The shell (`placing`) pings, fences and writes what a plan says, tells the results to the view and
to `answered`, `unanswered` and `refused`, and asks for the next plan. Fences come before
assignments.
"""

import heapq
from collections.abc import Container, Iterable
from itertools import islice

from components.config.placement import decide
from components.config.suspicion import Suspicion
from components.config.view import View
from components.config.world import LogFact, Options, Ping, Plan, Waiting, Wanted, World
from contracts.ids import GuildId, Incarnation, PodId
from contracts.records import Holder

LATE_S = 1.0
"""A plan that comes so long after it was due: the process, or its machine, could not."""
BLIND_S = 2.0
"""Plans are at most half of it apart while sources may be given up."""
AT_A_TIME = 512
"""Guilds decided about in one plan: news of a crash must not queue behind the rest."""


class Leader:
    """One replica's mind, while it leads and (for what it tells people) while it does not."""

    def __init__(self, view: View, options: Options, *, pod_ttl_s: float) -> None:
        self._view = view
        self._options = options
        self._pod_ttl_s = pod_ttl_s
        self.suspicion = Suspicion()
        self.logs: dict[GuildId, LogFact] = {}
        self.wanted: dict[GuildId, Wanted] = {}
        """Moves that were asked for and are not made yet."""
        self.waiting: dict[GuildId, Waiting] = {}
        self.lacking: dict[GuildId, str] = {}
        self._unfit: dict[GuildId, dict[Holder, float]] = {}
        self._led_since_s = float("-inf")
        self._late_s = float("-inf")
        """When this process last found that it had been kept from running."""
        self._wake_at_s = float("inf")
        self._planned_s = float("inf")
        self._blind_s = float("-inf")
        """When there had last been no plan for `BLIND_S`."""
        self._postponed: dict[GuildId, None] = {}
        self._wake: list[tuple[float, GuildId]] = []
        self._wake_of: dict[GuildId, float] = {}

    def begin(self, now_s: float) -> None:
        """Lead from now on."""
        self._led_since_s = now_s
        self._wake_at_s = float("inf")
        self.suspicion.begin()
        self.wanted.clear()
        self._unfit.clear()
        self.look_at_all()

    def look_at_all(self) -> None:
        """Decide about every guild anew."""
        self._view.dirty.update(self._view.assignments, self._view.registry)

    def want(self, moves: Iterable[Wanted]) -> None:
        """Ask for moves. A later wish for a guild replaces an earlier one."""
        for move in moves:
            self.wanted[move.guild] = move
            self._view.dirty.add(move.guild)

    def disconnected(self, server: str, client: int) -> None:
        """The server's advisory of a lost connection."""
        self.suspicion.connection_gone(server, client)

    def answered(self, pod: PodId, incarnation: Incarnation, now_s: float) -> None:
        """A ping was answered."""
        self.suspicion.answered(pod, incarnation, now_s)

    def unanswered(self, ping: Ping, reason: str) -> None:
        """A ping was not answered."""
        self.suspicion.unanswered(ping, reason)

    def not_pinged(self, pod: PodId) -> None:
        """A ping could not be sent."""
        self.suspicion.not_pinged(pod)

    def refused(self, pod: PodId) -> None:
        """The server refused a fence: the pod has renewed, or started anew."""
        self.suspicion.refused(pod)

    def looked(self, guilds: Iterable[GuildId]) -> None:
        """The logs of these guilds were looked at (`logs`), or something else that they waited
        for is known now."""
        self._view.dirty.update(guilds)

    def judge_from_s(self) -> float:
        """From when on silence is evidence: one TTL, the longest of all leases, was to renew. Who
        was late itself has not listened: on an overloaded machine it would take the others for
        dead, and their restarts would add to the load."""
        return max(self._view.synced_at_s, self._led_since_s, self._late_s) + self._ttl_s

    @property
    def _ttl_s(self) -> float:
        return max([self._pod_ttl_s, *(lease.ttl_s for lease in self._view.leases)])

    def plan(
        self,
        now_s: float,
        history: Container[GuildId] | None,
        history_pending_until_s: float = float("-inf"),
    ) -> Plan:
        """What to do now. ``history``: the guilds that PostgreSQL knows; None while it has not
        said so, which is waited for until then."""
        view = self._view
        if now_s > self._wake_at_s + LATE_S:
            self._late_s = now_s
        if now_s > self._planned_s + BLIND_S:
            self._blind_s = now_s
        self._planned_s = now_s
        verdict = self.suspicion.judge(
            view.pods,
            view.index.by_pod.keys(),
            view.index.awaited.keys(),
            lambda pod: view.index.start_of(pod, view.assignments),
            view.evidence,
            now_s,
            self.judge_from_s(),
        )
        chosen = self._take(now_s)
        pending_until_s = history_pending_until_s if history is None else None
        known = _Either(history if history is not None else (), view.unassigned)
        out = decide(self._world(now_s, known, pending_until_s), chosen)
        for guild in chosen:
            self.waiting.pop(guild, None)
            self.lacking.pop(guild, None)
            if guild not in out.waiting and guild in self.logs:
                del self.logs[guild]
        self.waiting.update(out.waiting)
        self.lacking.update(out.lacking)
        self._postponed.update(dict.fromkeys(out.postponed))
        for guild, why_not in out.settled.items():
            wish = self.wanted.pop(guild, None)
            if wish is not None and wish.then is not None and not why_not:
                self.want([wish.then])
        for guild, (builder, until_s) in out.unfit.items():
            others = self._unfit.get(guild, {})
            left = {one: at_s for one, at_s in others.items() if at_s > now_s}
            self._unfit[guild] = left | {builder: until_s}
        for guild, at_s in out.wake.items():
            if at_s < self._wake_of.get(guild, float("inf")):
                self._wake_of[guild] = at_s
                heapq.heappush(self._wake, (at_s, guild))
        wake_at_s = min(verdict.wake_at_s, self._wake[0][0] if self._wake else float("inf"))
        self._wake_at_s = wake_at_s
        if any(view.index.sourced.values()):
            wake_at_s = min(wake_at_s, now_s + BLIND_S / 2)
        return Plan(
            ping=verdict.ping,
            fence=verdict.fence,
            assign=out.assign,
            look_up=out.look_up,
            settled=out.settled,
            more=bool(view.dirty),
            wake_at_s=None if wake_at_s == float("inf") else wake_at_s,
        )

    def _take(self, now_s: float) -> list[GuildId]:
        """Who is decided about now: whoever the news concern, those whose time has come, and some
        of those that wait for their turn; first those without an owner, and they alone."""
        view = self._view
        if view.pods_changed:
            view.pods_changed = False
            view.dirty.update(self.waiting, self.lacking)
        while self._wake and self._wake[0][0] <= now_s:
            at_s, guild = heapq.heappop(self._wake)
            if self._wake_of.get(guild) == at_s:
                del self._wake_of[guild]
                view.dirty.add(guild)
        chosen = list(islice(self._ownerless() or view.dirty, AT_A_TIME))
        view.dirty.difference_update(chosen)
        turn = list(self._postponed)[: AT_A_TIME // 2]
        for guild in turn:
            del self._postponed[guild]
        return list(dict.fromkeys([*chosen, *turn]))

    def _ownerless(self) -> dict[GuildId, None]:
        """Guilds to be decided about whose owner is not there. Asks the pods, not the guilds: of
        100,000 of them nearly all have one."""
        view = self._view
        found: dict[GuildId, None] = {}
        for pod, guilds in view.index.by_pod.items():
            known = view.pods.get(pod)
            if known is not None and known.here is not None:
                continue
            concerned = guilds & view.dirty
            owned = (one for one in concerned if view.assignments[one].assignment.pod == pod)
            found.update(dict.fromkeys(owned))
        return found

    def _world(
        self,
        now_s: float,
        placed_before: Container[GuildId],
        history_pending_until_s: float | None,
    ) -> World:
        view = self._view
        return World(
            now_s=now_s,
            judge_from_s=self.judge_from_s(),
            seen_from_s=max(self.judge_from_s(), self._blind_s + self._ttl_s),
            options=self._options,
            pods=view.pods,
            registry=view.registry,
            assignments=view.assignments,
            holds=view.holds,
            starts=view.starts,
            evidence=view.evidence,
            logs=self.logs,
            placed_before=placed_before,
            history_pending_until_s=history_pending_until_s,
            draining=view.intents.draining,
            pins=view.intents.pinned,
            askers=view.intents.askers,
            wanted=self.wanted,
            owned=view.index.owned,
            followed=view.index.followed,
            joining=view.index.joining,
            arriving=view.index.arriving,
            opening=view.index.opening,
            opening_since=view.index.opening_since,
            joining_since=view.index.joining_since,
            unfit=self._unfit,
            by_shard=view.index.by_shard,
        )


class _Either:
    """What either of two collections holds, without copying them."""

    def __init__(self, one: Container[GuildId], other: Container[GuildId]) -> None:
        self._one, self._other = one, other

    def __contains__(self, guild: object) -> bool:
        return guild in self._one or guild in self._other
