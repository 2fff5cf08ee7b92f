"""Which pod owns which guild: a pure function from what is known to what is to be done.

`decide` reads no clock and no network and changes nothing; the same world gives the same plan.
Its decisions are wishes: each is written by compare-and-set on the revision it was decided on, so
a decision made on old news is refused by the server and decided again on newer news.

Rules (design.md, "Ownership"): a guild is placed once, on the pod with the fewest guilds that has
room. It stays with its pod; a new incarnation of the pod gets it at the next epoch. Another pod
gets it only when its own has been away for long, is fenced, and the log still holds the guild's
first input, from which the other can rebuild everything.
"""

import heapq
from collections import Counter
from collections.abc import Iterator
from typing import Literal

import msgspec

from components.config.world import Assign, Fence, Held, LogFact, Plan, Pod, Waiting, World
from contracts.ids import Epoch, GuildId, Incarnation, PodId
from contracts.records import Assignment, PodLease

LOG_NEWS_S = 5.0
"""How long it may be believed that the log still holds an input: retention moves on."""
LOG_GAP_S = 60.0
"""An input that is gone does not come back; it is looked for again only because a person might
have restored the stream."""
LOG_EMPTY_S = 0.5
"""The shard registers a guild about when it appends its first input: look again soon."""
EMPTY_LOG_LOOKS = 4
"""Every look at a log that stays empty doubles the pause, this many times."""


def is_newer(incarnation: Incarnation, than: Incarnation) -> bool:
    """Whether the incarnation that a pod's lease shows came after the one of an assignment.

    Both are ``<bucket creation>-<revision>``; revisions order the starts within one bucket. In
    another bucket (NATS was rebuilt) the lease is the newer one, for it was just seen.
    """
    bucket, _, revision = incarnation.rpartition("-")
    other_bucket, _, other_revision = than.rpartition("-")
    if bucket != other_bucket or not (revision.isdecimal() and other_revision.isdecimal()):
        return incarnation != than
    return int(revision) > int(other_revision)


def decide(world: World) -> Plan:
    """The plan for the world as it is known."""
    return _Decision(world).plan()


class _Decision:
    """One run of `decide`: the world, and the plan so far."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._assign: list[Assign] = []
        self._fence: dict[PodId, Fence] = {}
        self._look_up: list[GuildId] = []
        self._waiting: dict[GuildId, Waiting] = {}
        self._wake_at = float("inf")
        self._room = _Room(world)

    def plan(self) -> Plan:
        orphans = [held for held in self._world.assignments.values() if not self._keep(held)]
        for held in sorted(orphans, key=lambda held: int(held.assignment.guild)):
            self._replace(held)
        for guild in sorted(self._unplaced(), key=int):
            self._place(guild)
        return Plan(
            assign=self._assign,
            fence=list(self._fence.values()),
            look_up=self._look_up,
            waiting=self._waiting,
            wake_at_s=None if self._wake_at == float("inf") else self._wake_at,
        )

    def _keep(self, held: Held) -> bool:
        """Leave the guild with its pod, at a new epoch if the pod has started anew. False when
        the pod is away for so long that the guild may go to another."""
        owned = held.assignment
        pod = self._world.pods.get(owned.pod) or Pod(
            pod=owned.pod, away_since_s=self._world.judge_from_s
        )
        if pod.away_since_s is not None:
            return self._may_return(held, pod, pod.away_since_s)
        lease = pod.lease
        if lease is None or lease.incarnation is None:
            self._wait(held, f"{owned.pod} is starting")
        elif lease.incarnation == owned.incarnation:
            if lease.state == "starting":
                self._wait(held, f"{owned.pod} is starting")
        elif not is_newer(lease.incarnation, owned.incarnation):
            self._wait(held, f"no news yet of the incarnation of {owned.pod} that owns it")
        elif lease.state == "draining":
            self._wait(held, f"{owned.pod} is leaving; waiting for it to come back")
        else:
            reason = f"{owned.pod} has started anew and goes on"
            self._give(held, owned.pod, lease.incarnation, "restarted", reason)
        return True

    def _may_return(self, held: Held, pod: Pod, away_since_s: float) -> bool:
        world = self._world
        # Who is fenced has been judged already; a new leader finishes what the last one began.
        end = float("-inf") if pod.fenced else away_since_s + world.replace_after_s
        end = max(end, world.judge_from_s)
        if world.now_s >= end:
            return False
        self._wake(end)
        self._wait(
            held,
            f"{pod.pod} is away; it keeps the guild, which may go to another pod when it has been "
            f"away for {world.replace_after_s:g} s and the log allows it",
        )
        return True

    def _replace(self, held: Held) -> None:
        """Give the guild of a pod that stays away to another, if its log is complete."""
        owned = held.assignment
        stay = f"waiting for {owned.pod} to come back"
        fact = self._world.logs.get(owned.guild)
        whole = (
            fact is not None
            and fact.first == owned.first_sequence
            and fact.generation == owned.generation
        )
        believed_s = LOG_NEWS_S if whole and self._room else LOG_GAP_S
        if fact is None or self._stale(fact.read_at_s + believed_s):
            self._look_up.append(owned.guild)
            self._wait(held, f"{owned.pod} is away; looking at what the log still holds")
        elif fact.generation != owned.generation:
            self._wait(held, f"the log was made anew since the guild was placed; {stay}")
        elif not whole:
            self._wait(held, f"its first input is no longer on the log; {stay}")
        elif not self._room:
            self._wait(held, f"{owned.pod} is away and {self._room.why_none}")
        elif (away := self._world.pods.get(owned.pod)) is not None and away.fenced:
            pod, incarnation = self._room.take()
            reason = f"{owned.pod} stayed away; rebuilt from the log by {pod}"
            self._give(held, pod, incarnation, "replaced", reason)
        else:
            self._wait(held, f"{owned.pod} stayed away and is being fenced")
            if owned.pod not in self._fence:
                self._fence[owned.pod] = self._fence_of(owned, away)

    def _fence_of(self, owned: Assignment, away: Pod | None) -> Fence:
        last = away.lease if away is not None else None
        if last is None:  # gone for longer than anything on the bus remembers
            last = PodLease(
                pod=owned.pod,
                incarnation=owned.incarnation,
                data="",
                state="fenced",
                capacity=0,
                version="",
                engine_version=0,
                started_ms=0,
            )
        return Fence(
            lease=msgspec.structs.replace(last, state="fenced"),
            revision=away.revision if away is not None else 0,
            reason=f"away for more than {self._world.replace_after_s:g} s",
        )

    def _unplaced(self) -> Iterator[GuildId]:
        assignments = self._world.assignments
        for guild, registered in self._world.registry.items():
            if registered.present and guild not in assignments:
                yield guild

    def _place(self, guild: GuildId) -> None:
        """Give a guild that nobody ever owned to the pod with the fewest guilds."""
        if guild in self._world.placed_before:
            self._hold(
                guild,
                "history knows this guild but the bus does not: its state is on a pod's disk or in "
                "a backup, and serving it from nothing would lose it",
            )
            return
        pending = self._world.history_pending_until_s
        if pending is not None and self._world.now_s < pending:
            self._wake(pending)
            self._hold(guild, "waiting for PostgreSQL to say whether it was ever placed")
            return
        if not self._room:
            self._hold(guild, self._room.why_none)
            return
        fact = self._world.logs.get(guild)
        if fact is None or self._stale(fact.read_at_s + _believed_s(fact)):
            self._look_up.append(guild)
            self._hold(guild, "looking for its first input")
        elif fact.first is None:
            self._hold(guild, "nothing is on its log yet")
        else:
            pod, incarnation = self._room.take()
            reason = f"new; {pod} has the fewest guilds"
            assignment = Assignment(
                guild=guild,
                pod=pod,
                incarnation=incarnation,
                epoch=Epoch(1),
                first_sequence=fact.first,
                generation=fact.generation,
                cause="placed",
                since_ms=0,
            )
            self._assign.append(Assign(assignment=assignment, revision=0, reason=reason))
            self._waiting[guild] = Waiting(pod=pod, reason=f"being placed: {reason}")

    def _give(
        self,
        held: Held,
        pod: PodId,
        incarnation: Incarnation,
        cause: Literal["restarted", "replaced"],
        reason: str,
    ) -> None:
        changed = msgspec.structs.replace(
            held.assignment,
            pod=pod,
            incarnation=incarnation,
            epoch=Epoch(held.assignment.epoch + 1),
            cause=cause,
            since_ms=0,
        )
        self._assign.append(Assign(assignment=changed, revision=held.revision, reason=reason))
        self._waiting[changed.guild] = Waiting(pod=pod, reason=f"being assigned: {reason}")

    def _wait(self, held: Held, reason: str) -> None:
        owned = held.assignment
        self._waiting[owned.guild] = Waiting(pod=owned.pod, reason=reason)

    def _hold(self, guild: GuildId, reason: str) -> None:
        self._waiting[guild] = Waiting(pod=None, reason=reason)

    def _stale(self, until_s: float) -> bool:
        if self._world.now_s >= until_s:
            return True
        self._wake(until_s)
        return False

    def _wake(self, at_s: float) -> None:
        self._wake_at = min(self._wake_at, at_s)


class _Room:
    """The pods that take guilds, fewest guilds first."""

    def __init__(self, world: World) -> None:
        owned = Counter(held.assignment.pod for held in world.assignments.values())
        self._pods: list[tuple[int, PodId, Incarnation, int]] = []
        serving = 0
        for pod in world.pods.values():
            lease = pod.lease
            if pod.away_since_s is not None or lease is None or lease.incarnation is None:
                continue
            if lease.state != "serving":
                continue
            serving += 1
            if owned[pod.pod] < lease.capacity:
                heapq.heappush(
                    self._pods, (owned[pod.pod], pod.pod, lease.incarnation, lease.capacity)
                )
        self.why_none = (
            f"no pod has room: {serving} serving, all at their capacity; start another pod or "
            "raise MODBOT_GATEWAY_CAPACITY"
            if serving
            else "no pod is serving"
        )

    def __bool__(self) -> bool:
        return bool(self._pods)

    def take(self) -> tuple[PodId, Incarnation]:
        """The pod for one more guild; only while there is one."""
        guilds, pod, incarnation, capacity = self._pods[0]
        if guilds + 1 < capacity:
            heapq.heapreplace(self._pods, (guilds + 1, pod, incarnation, capacity))
        else:
            heapq.heappop(self._pods)
        return pod, incarnation


def _believed_s(fact: LogFact) -> float:
    if fact.first is not None:
        return LOG_NEWS_S
    return LOG_EMPTY_S * float(2 ** min(fact.looks - 1, EMPTY_LOG_LOOKS))
