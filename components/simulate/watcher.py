"""Which transitions and which rare pairs a run has seen: what of the protocol was exercised.

A guild is at each moment in some phase of a change of owner; an event (a fault, a fence, a change
of leader) that comes meanwhile is counted as "event during phase".
"""

from collections import Counter

from components.simulate.kv import Entry
from components.simulate.loop import Loop
from components.simulate.server import Server
from contracts import storage
from contracts.records import Assignment, LeaderLease, PodLease, Released, Silent

PLANNED = ("moved", "drained", "rebalanced", "pinned")


class Watcher:
    """Looks at every write."""

    def __init__(self, loop: Loop, server: Server) -> None:
        self.loop = loop
        self.seen: Counter[str] = loop.seen
        self.leader = ""
        self._guilds: dict[str, Assignment] = {}
        self._released: dict[str, int] = {}
        self._silent: dict[str, int] = {}
        self._opened: dict[str, int] = {}
        server.buckets[storage.GUILDS].on_write.append(self._assigned)
        server.buckets[storage.HANDOFFS].on_write.append(self._handed_off)
        server.buckets[storage.PODS].on_write.append(self._pod)
        server.buckets[storage.LEADERS].on_write.append(self._leader)

    def event(self, name: str) -> None:
        """Something happened: count it, and what it came into."""
        self.seen[name] += 1
        for phase in sorted({self._phase(named) for named in self._guilds.values()} - {""}):
            self.seen[f"{name} during {phase}"] += 1

    def delivered_twice(self, what: str, guild: str) -> None:
        """A message was delivered again: of one guild, or (empty) of everybody's concern."""
        self.seen[f"{what} delivered twice"] += 1
        if not guild:
            self.event("duplicate delivery")
            return
        self.seen["duplicate delivery"] += 1
        named = self._guilds.get(guild)
        if named is not None and (phase := self._phase(named)):
            self.seen[f"duplicate delivery during {phase}"] += 1

    def opened(self, guild: str, epoch: int) -> None:
        """The owner of an epoch answers."""
        self._opened[guild] = max(epoch, self._opened.get(guild, 0))

    def effects_open(self, guild: str, epoch: int, proof: str) -> None:
        """The owner of an epoch sends effects; how the earlier owners' silence was proven."""
        self.seen[f"effects open: {proof}"] += 1

    def _phase(self, named: Assignment) -> str:
        guild = named.guild
        if self._opened.get(guild, 0) < named.epoch:
            if named.cause not in PLANNED:
                return "takeover"
            earlier = max((each.epoch for each in named.before), default=0)
            return "handover" if self._released.get(guild, 0) < earlier else "release"
        if named.joining is not None:
            return "move" if named.joining.purpose == "own" else "building a follower"
        earlier = max((each.epoch for each in named.before), default=0)
        if earlier and self._silent.get(guild, 0) < earlier:
            return "waiting for silence"
        return ""

    def _assigned(self, entry: Entry) -> None:
        named = entry.value
        if not isinstance(named, Assignment):
            return
        before = self._guilds.get(named.guild)
        if before is None or named.epoch != before.epoch:
            self.event(f"epoch {named.cause}")
        elif named.joining != before.joining:
            what = "begun" if named.joining is not None else "given up or done"
            purpose = named.joining or before.joining
            self.seen[f"joining to {purpose.purpose if purpose else ''} {what}"] += 1
        if before is not None and named.epoch == before.epoch and named.before != before.before:
            self.seen["earlier owners left out"] += 1
        if before is not None and len(named.sources) < len(before.sources):
            self.seen["sources shrunk"] += 1
        elif before is not None and len(named.sources) > len(before.sources):
            self.seen["sources grown"] += 1
        self._guilds[named.guild] = named
        if self.loop.tracing:
            self.loop.say("kv guilds", f"r{entry.revision} {_words(named)}")

    def _handed_off(self, entry: Entry) -> None:
        value = entry.value
        if isinstance(value, Released):
            self._released[value.guild] = value.epoch
            self.event("released")
        elif isinstance(value, Silent):
            self._silent[value.guild] = value.epoch
            self.seen["silent"] += 1
        if self.loop.tracing and value is not None:
            self.loop.say("kv handoffs", f"r{entry.revision} {entry.key} {value}")

    def _pod(self, entry: Entry) -> None:
        lease = entry.value
        if isinstance(lease, PodLease) and lease.state == "fenced":
            self.event("fence")
            self.loop.say("kv pods", f"r{entry.revision} {lease.pod} {lease.incarnation} fenced")
        elif lease is None:
            self.seen["lease expired or given back"] += 1
            self.loop.say("kv pods", f"r{entry.revision} {entry.key} is gone")

    def _leader(self, entry: Entry) -> None:
        holder = entry.value.holder if isinstance(entry.value, LeaderLease) else ""
        if holder and holder != self.leader:
            if self.leader:
                self.event("leader change")
            self.leader = holder
            self.loop.say("kv leaders", f"{holder} leads")


def _words(named: Assignment) -> str:
    follower = f" follower {named.follower.pod}" if named.follower else ""
    joining = f" joining {named.joining.pod} to {named.joining.purpose}" if named.joining else ""
    before = "".join(f" before {each.pod}@{each.epoch}" for each in named.before)
    sources = "".join(f" source {each.data}" for each in named.sources)
    return (
        f"guild {named.guild} epoch {named.epoch} {named.cause} on {named.pod} "
        f"({named.incarnation}){follower}{joining}{before}{sources}"
    )
