"""A cluster of entries: the real view and leader, with the test as the bus, the pods and time."""

from typing import Any

import msgspec

from components.bus.entries import Entry
from components.config.leader import Leader
from components.config.view import BUCKETS, View
from components.config.world import LogFact, Options, Plan
from contracts import storage
from contracts.ids import Epoch, Generation, GuildId, Incarnation, PodId, Sequence
from contracts.message import Message, encode
from contracts.records import (
    Assignment,
    EarlierOwner,
    GuildIntent,
    Holder,
    Holding,
    Joining,
    PodIntent,
    PodLease,
    ProcessEnd,
    RegisteredGuild,
    Released,
    Silent,
    StateSource,
)

NOW_S = 1000.0
GENERATION = Generation("2026-01-01T00:00:00Z")
FIRST = Sequence(10)


def start(number: int) -> Incarnation:
    """A pod's start."""
    return Incarnation(f"b-{number}")


def holder(pod: str, number: int = 1) -> Holder:
    """One start of one pod."""
    return Holder(pod=PodId(pod), incarnation=start(number))


def source(pod: str, number: int = 1, *, data: str = "", replica: str = "") -> StateSource:
    """A place where rows are."""
    return StateSource(
        pod=PodId(pod), incarnation=start(number), data=data or f"disk of {pod}", replica=replica
    )


def earlier(pod: str, number: int = 1, epoch: int = 1, process: str = "") -> EarlierOwner:
    """An owner of an earlier epoch."""
    return EarlierOwner(
        pod=PodId(pod), incarnation=start(number), epoch=Epoch(epoch), process=process
    )


def joining(pod: str, number: int = 1, **fields: Any) -> Joining:
    """A pod that builds the rows."""
    values = {"purpose": "own", "cause": "moved", "since_ms": 1, **fields}
    return Joining(pod=PodId(pod), incarnation=start(number), **values)


class Town:
    """Entries in, plans out; `settle` carries plans out as the shell does."""

    def __init__(self, **options: Any) -> None:
        self.now_s = NOW_S
        self.view = View(lambda: self.now_s, pod_ttl_s=5.0)
        self.leader = Leader(self.view, Options(**options), pod_ttl_s=5.0)
        self.history: set[GuildId] | None = set()
        self.deaf: set[str] = set()
        """Pods that do not answer pings."""
        self.logs: dict[str, int | None] = {}
        self._revision = 100
        for bucket in BUCKETS:
            self.view.reset(bucket, {})
        self.leader.begin(self.now_s)
        self.now_s += 100  # nobody is new

    # the bus

    def put(self, bucket: str, key: str, value: Message | None) -> int:
        """Write a key."""
        self._revision += 1
        data = encode(value) if value is not None else None
        self.view.entry(bucket, Entry(key=key, value=data, revision=self._revision, created_ms=0))
        return self._revision

    def pod(self, name: str, number: int = 1, **fields: Any) -> None:
        """A pod writes its lease."""
        lease = PodLease(
            **{
                "pod": name,
                "incarnation": start(number),
                "data": f"disk of {name}",
                "state": "serving",
                "capacity": 100,
                "version": "1",
                "engine_version": 1,
                "started_ms": 0,
                **fields,
            }
        )
        self.put(storage.PODS, name, lease)

    def expire(self, name: str) -> None:
        """A pod's key is gone."""
        self.put(storage.PODS, name, None)

    def register(self, *guilds: str, shard: int = 0, log: bool = True) -> None:
        """A shard sees guilds."""
        for guild in guilds:
            self.logs.setdefault(guild, FIRST if log else None)
            self.put(
                storage.REGISTRY,
                guild,
                RegisteredGuild(
                    guild=GuildId(guild), name=f"guild {guild}", shard=shard, seen_ms=1
                ),
            )

    def owned(
        self, guild: str, pod: str, number: int = 1, *, held: bool = True, **fields: Any
    ) -> Assignment:
        """An assignment; ``held``: owner and follower have said that they have the rows."""
        assignment = Assignment(
            **{
                "guild": guild,
                "pod": pod,
                "incarnation": start(number),
                "epoch": 1,
                "first_sequence": FIRST,
                "generation": GENERATION,
                "cause": "placed",
                "since_ms": 1,
                **fields,
            }
        )
        self.logs.setdefault(guild, FIRST)
        self.put(storage.GUILDS, guild, assignment)
        if held:
            self.holds(guild, pod, number, role="own", epoch=assignment.epoch)
            if assignment.follower is not None:
                name = assignment.follower.incarnation
                self.holds(guild, assignment.follower.pod, int(name.partition("-")[2]))
        return assignment

    def holds(self, guild: str, pod: str, number: int = 1, **fields: Any) -> None:
        """A pod says that it has the rows, in answer to what the assignment asks of it."""
        held = self.view.assignments.get(GuildId(guild))
        asked = held.assignment.joining if held is not None else None
        holding = Holding(
            **{
                "guild": guild,
                "pod": pod,
                "incarnation": start(number),
                "data": f"disk of {pod}",
                "role": "follow",
                "epoch": 1,
                "sequence": 20,
                "beat": 5,
                "source": "log",
                "joined_ms": asked.since_ms if asked is not None and asked.pod == pod else 0,
                **fields,
            }
        )
        self.put(storage.HANDOFFS, f"holds.{guild}.{pod}", holding)

    def released(self, guild: str, pod: str, epoch: int) -> None:
        """An owner says that it lets go."""
        record = Released(
            guild=GuildId(guild),
            epoch=Epoch(epoch),
            pod=PodId(pod),
            incarnation=start(1),
            sequence=Sequence(20),
        )
        self.put(storage.HANDOFFS, f"released.{guild}", record)

    def silent(self, guild: str, pod: str, epoch: int) -> None:
        """An owner says that it sends nothing more."""
        record = Silent(
            guild=GuildId(guild), epoch=Epoch(epoch), pod=PodId(pod), incarnation=start(1)
        )
        self.put(storage.HANDOFFS, f"silent.{guild}", record)

    def ended(self, pod: str, process: str) -> None:
        """A parent attests an end."""
        end = ProcessEnd(pod=PodId(pod), process=process, exit_code=-9, ended_ms=1)
        self.put(storage.ENDS, f"{pod}.{process}", end)

    def drain(self, pod: str, *, draining: bool = True) -> None:
        """An operator wants a pod empty."""
        intent = PodIntent(pod=PodId(pod), draining=draining, by="alice", since_ms=1)
        self.put(storage.INTENT, f"pod.{pod}", intent)

    def pin(self, guild: str, pod: str | None) -> None:
        """An operator pins a guild."""
        value = (
            GuildIntent(guild=GuildId(guild), pod=PodId(pod), by="alice", since_ms=1)
            if pod is not None
            else None
        )
        self.put(storage.INTENT, f"guild.{guild}", value)

    # the leader

    def plan(self) -> Plan:
        """The next plan."""
        return self.leader.plan(self.now_s, self.history, NOW_S + 5)

    def once(self) -> Plan:
        """One plan, carried out."""
        plan = self.plan()
        for fence in plan.fence:
            known = self.view.pods.get(fence.lease.pod)
            assert fence.revision == (known.revision if known is not None else 0)
            self.put(storage.PODS, fence.lease.pod, fence.lease)
        for decision in plan.assign:
            held = self.view.assignments.get(decision.assignment.guild)
            assert decision.revision == (held.revision if held is not None else 0)
            self._revision += 1
            self.view.assigned(decision.assignment, self._revision)
        for ping in plan.ping:
            if ping.pod in self.deaf:
                self.leader.unanswered(ping, "nobody answers for it")
            else:
                self.leader.answered(ping.pod, ping.incarnation, self.now_s)
        for guild in plan.look_up:
            first = self.logs.get(guild)
            known_fact = self.leader.logs.get(guild)
            again = known_fact is not None and known_fact.first is None and first is None
            self.leader.logs[guild] = LogFact(
                first=None if first is None else Sequence(first),
                generation=GENERATION,
                read_at_s=self.now_s,
                looks=known_fact.looks + 1 if again and known_fact is not None else 1,
            )
        if plan.look_up:
            self.leader.looked(plan.look_up)
        return plan

    def settle(self, *, built: bool = False) -> None:
        """Carry plans out until nothing is left to do at this moment. ``built``: pods build what
        they are told and open what they own at once."""
        for _ in range(400):
            plan = self.once()
            if built:
                self._build()
            if not (plan.acts or plan.ping or plan.look_up or plan.more or self.view.dirty):
                return
        raise AssertionError("the leader does not come to rest")

    def later(self, seconds: float) -> None:
        """Time passes, and living pods renew."""
        self.now_s += seconds
        for pod in list(self.view.pods.values()):
            if pod.here is not None and pod.pod not in self.deaf:
                self.put(storage.PODS, pod.pod, pod.lease)

    def a(self, guild: str) -> Assignment:
        """The guild's assignment."""
        return self.view.assignments[GuildId(guild)].assignment

    def where(self, guild: str) -> tuple[str, int, str, str | None]:
        """Owner, epoch, cause, follower."""
        owned = self.a(guild)
        follower = owned.follower.pod if owned.follower is not None else None
        return owned.pod, owned.epoch, owned.cause, follower

    def reason(self, guild: str) -> str:
        """Why the guild waits or what it lacks."""
        waiting = self.leader.waiting.get(GuildId(guild))
        return (
            waiting.reason if waiting is not None else self.leader.lacking.get(GuildId(guild), "")
        )

    def _build(self) -> None:
        for guild, held in list(self.view.assignments.items()):
            owned = held.assignment
            roles: list[tuple[str, Holder | Joining | Assignment | None]] = [
                ("own", owned),
                ("follow", owned.follower),
                ("follow", owned.joining),
            ]
            for role, one in roles:
                pod = self.view.pods.get(one.pod) if one is not None else None
                if one is None or pod is None or pod.here is None or one.pod in self.deaf:
                    continue
                if pod.here.incarnation != one.incarnation:
                    continue
                known = self.view.holds.get(guild, {}).get(one.pod)
                done = known is not None and known.incarnation == one.incarnation
                if done and known is not None and (role == "follow" or known.epoch == owned.epoch):
                    continue
                number = int(one.incarnation.partition("-")[2])
                data = pod.here.data
                self.holds(guild, one.pod, number, role=role, epoch=owned.epoch, data=data)
        for pod in list(self.view.pods.values()):
            lease = pod.here
            if lease is not None and lease.replica and lease.backed_up_beat < 5:
                self.put(storage.PODS, pod.pod, msgspec.structs.replace(lease, backed_up_beat=5))
