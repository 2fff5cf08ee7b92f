"""One run: machines, their processes, who uses them, what goes wrong, and who looks on.

A run has four parts: it starts undisturbed; retention takes the beginning of some guilds' logs;
faults; and, when they have ceased, a bounded time within which everything must be well again.
"""

from functools import partial
from typing import Literal

import msgspec

from components.simulate.clients import Client
from components.simulate.config import Config
from components.simulate.discord import Discord
from components.simulate.disks import Backups, Disk, Replica
from components.simulate.faults import Faults
from components.simulate.hosts import Host, PodHost
from components.simulate.judge import Judge
from components.simulate.loop import Loop
from components.simulate.operator import Operator
from components.simulate.pod import Pod
from components.simulate.server import Server
from components.simulate.watcher import Watcher
from contracts import storage
from contracts.ids import GuildId
from contracts.records import Assignment, Holder, LeaderLease, PodLease, RegisteredGuild

UNSEEN_S = 1.0
"""So long after a pod and its disk are gone the leader may still decide by what it reported."""


class Shape(msgspec.Struct, frozen=True, kw_only=True):
    """How large a run is, and how long."""

    pods: int = 3
    configs: int = 2
    guilds: int = 4
    input_every_s: float = 2.0
    """For each guild."""
    start_s: float = 4.0
    faults_s: float = 18.0
    fault_every_s: float = 3.0
    triggered: float = 0.12
    """Share of interesting writes that are followed by a fault at once."""
    well_within_s: float = 45.0
    """Once faults have ceased: a lease, a judge's patience, restarts, restores."""
    most_steps: int = 60_000


class Cluster:
    """Everything of one run."""

    def __init__(self, seed: int, shape: Shape, *, trace: bool = False) -> None:
        self.loop = loop = Loop(seed, trace=trace)
        self.shape = shape
        self.guilds = [str(1001 + number) for number in range(shape.guilds)]
        self.server = Server(loop, self.guilds, clustered=loop.happens(0.5))
        self.server.live_lost = 0.02
        self.server.live_late = 0.02
        self.server.advisories_lost = 0.1
        self.server.twice = 0.02
        self.backups = Backups()
        self.backed_up = loop.happens(0.75)
        self.followers: Literal[0, 1] = 0 if loop.happens(0.15) else 1
        self.leader_ttl_s = 5.0
        self.discord = Discord(loop)
        self.judge = Judge(loop, self.server.streams, self.discord, self.could_send)
        self.watcher = Watcher(loop, self.server)
        self.server.on_twice = self.watcher.delivered_twice
        self.configs = [Host(loop, self.server, f"config-{n}") for n in range(shape.configs)]
        self.pods = [
            PodHost(loop, self.server, f"gateway-{n}", "ab"[n % 2]) for n in range(shape.pods)
        ]
        self.hosts: list[Host] = [*self.configs, *self.pods]
        for host in self.configs:
            host.make = partial(Config, self, host)
        for pod_host in self.pods:
            pod_host.make = partial(Pod, self, pod_host)
            pod_host.on_disk_lost = self.check_all_sources
        self._twins = 0
        self.clients = [
            Client(loop, self.server, self.judge, guild, shape.input_every_s)
            for guild in self.guilds
        ]
        self.operator = Operator(self)
        self.faults = Faults(self, shape.fault_every_s, shape.triggered)
        self.server.buckets[storage.GUILDS].on_write.append(
            lambda entry: self.check_sources(entry.key)
        )

    def run(self) -> None:
        """Run it; what was wrong is in `judge.violations`."""
        shape, loop = self.shape, self.loop
        for guild in self.guilds:
            self.server.append(guild, "dispatch", f"{guild}.0", fact=True)
            registered = RegisteredGuild(guild=GuildId(guild), name=guild, shard=0, seen_ms=0)
            self.server.buckets[storage.REGISTRY].write(guild, registered, None, None)
        for host in self.hosts:
            loop.after(loop.random() * 0.3, host.start)
        for client in self.clients:
            client.begin()
        if not self._run_until(shape.start_s):
            return
        self._retention()
        self.faults.begin()
        if not self._run_until(shape.start_s + shape.faults_s):
            return
        loop.say("run", "faults cease")
        self.faults.end()
        self._become_well()

    def could_send(self, guild: str) -> list[str]:
        """The processes that could send an effect of the guild at this moment, if they ran."""
        able = []
        for host in self.pods:
            program = host.running
            if isinstance(program, Pod) and program.could_send(guild):
                able.append(program.process.name)
        return able

    def leader(self) -> Host | None:
        """The machine of config's leader, by the lease."""
        entry = self.server.buckets[storage.LEADERS].entries.get("config")
        lease = entry.value if entry is not None else None
        if not isinstance(lease, LeaderLease):
            return None
        return next((host for host in self.configs if lease.holder.startswith(host.name)), None)

    def assignment(self, guild: str) -> Assignment | None:
        """The guild's assignment, as it is."""
        entry = self.server.buckets[storage.GUILDS].entries.get(guild)
        return entry.value if entry is not None and isinstance(entry.value, Assignment) else None

    def held_elsewhere(self, host: PodHost) -> bool:
        """Whether every guild on the machine's disk is on another one, and known to be.

        A source counts for nothing while the last loss of a disk is too young to be seen: the
        leader gives it up as soon as owner and follower have reported the rows.
        """
        unseen = any(self.loop.now_s < other.disk_lost_s + UNSEEN_S for other in self.pods)
        for guild in host.disk.rows:
            named = self.assignment(guild)
            if named is None:
                return False
            holders = [holder.pod for holder in _holders(named)]
            others = [
                other
                for other in self.pods
                if other is not host and guild in other.disk.rows and _names(named, other)
            ]
            if not any(other.name in holders or not unseen for other in others):
                return False
        return True

    def twin_of(self, host: PodHost) -> PodHost:
        """One more machine for the pod's name; the first one is not started again."""
        self._twins += 1
        twin = PodHost(self.loop, self.server, host.name, host.zone, f"-twin{self._twins}")
        twin.make = partial(Pod, self, twin)
        twin.on_disk_lost = self.check_all_sources
        host.gone = True
        self.pods.append(twin)
        self.hosts.append(twin)
        return twin

    def fenced(self, lease: PodLease) -> None:
        """A fence was written: of a process that lives and runs?"""
        for host in self.pods:
            program = host.running
            if not isinstance(program, Pod) or program.incarnation != lease.incarnation:
                continue
            stopped = "stopped" if program.process.stopped else "live"
            cut = program.link.cut_up or program.link.cut_down
            self.watcher.event(f"fence of a {stopped} pod{', cut off' if cut else ''}")

    def check_all_sources(self) -> None:
        """`check_sources` of every guild."""
        for guild in self.guilds:
            self.check_sources(guild)

    def check_sources(self, guild: str) -> None:
        """Whether the rows are still somewhere that is recorded, and not on a lost machine."""
        named = self.assignment(guild)
        if named is None:
            return
        copies = []
        for host in self.pods:
            rows = host.disk.rows.get(guild)
            if rows is not None and not host.lost and _names(named, host):
                copies.append(
                    (host.disk.data, max(rows.sequence, host.disk.complete.get(guild, 0)))
                )
        for path in [
            *(f"pods/{each.pod}/{each.incarnation}" for each in _holders(named)),
            *(source.replica for source in named.sources),
        ]:
            replica = self.backups.replicas.get(path)
            if replica is not None and guild in replica.rows:
                copies.append((path, replica.up_to(guild)))
        self.judge.sources_kept(guild, copies)

    def _run_until(self, end_s: float) -> bool:
        if self.loop.run_until(end_s, most_steps=self.shape.most_steps):
            return not self.judge.violations
        self.judge.broken("ends", f"more than {self.shape.most_steps} steps")
        return False

    def _retention(self) -> None:
        """The first inputs of the guilds expire, as far as they are applied where a copy is sure
        to last: in the owner's backup, or, without backups, on every disk."""
        up_to = min(self._lasting_up_to(guild) for guild in self.guilds)
        if up_to and self.loop.happens(0.8):
            self.loop.say("run", f"INPUTS expires up to {up_to}")
            self.server.streams.expire_below(up_to + 1)

    def _lasting_up_to(self, guild: str) -> int:
        named = self.assignment(guild)
        if named is None:
            return 0
        disks = [host.disk for host in self.pods if guild in host.disk.rows]
        copies: list[Disk | Replica] = [*disks]
        if self.backed_up:
            replica = self.backups.replicas.get(f"pods/{named.pod}/{named.incarnation}")
            if replica is None or guild not in replica.rows:
                return 0
            copies.append(replica)
        elif len(disks) < 2:
            return 0
        return min(copy.up_to(guild) for copy in copies)

    def _become_well(self) -> None:
        end_s = self.loop.now_s + self.shape.well_within_s
        since_s, upto = self.loop.now_s, self.server.streams.last
        ill: list[str] = []
        while self.loop.now_s < end_s:
            if not self._run_until(self.loop.now_s + 1.0):
                return
            ill = self.ill(since_s) + self._left_over(upto)
            if not ill:
                self.loop.seen["well again"] += 1
                return
        for words in ill:
            self.judge.broken("well_again", words)

    def ill(self, since_s: float) -> list[str]:
        """What is not as it should be with nothing in its way."""
        words = self._moves_left()
        for client in self.clients:
            guild = client.guild
            named = self.assignment(guild)
            owner = self._program(named)
            if named is None or owner is None:
                words.append(f"guild {guild} has no living owner: {named}")
                continue
            if (why := owner.why_not_well(guild)) != "":
                words.append(f"guild {guild} on {owner.process.name}: {why}")
            if client.answered_s < since_s:
                words.append(f"nobody answers for guild {guild}")
            if self.followers and self.shape.pods > 1 and (why := self._follower_ill(named)):
                words.append(f"guild {guild}: {why}")
        return words

    def _moves_left(self) -> list[str]:
        """Moves that the leader wants and does not come to the end of."""
        host = self.leader()
        program = host.running if host is not None else None
        if not isinstance(program, Config):
            return []
        wanted = program.leader.wanted.values()
        return [f"guild {wish.guild} is still to go to {wish.pod}: {wish.cause}" for wish in wanted]

    def _left_over(self, up_to: int) -> list[str]:
        """Effects and facts of inputs up to a sequence that are not out."""
        words: list[str] = []
        for guild, log in self.server.streams.logs.items():
            effects = [effect for effect in log.truth[log.last].effects if effect <= up_to]
            if effects:
                words.append(f"guild {guild}: effects {effects} were not sent")
            published = len(log.facts)
            if any(fact <= up_to for fact in log.fact_inputs[published:]):
                words.append(f"guild {guild}: facts are missing after {published}")
        return words

    def _follower_ill(self, named: Assignment) -> str:
        if named.follower is None:
            return "it has no follower"
        program = self._program(named.follower)
        if program is None:
            return f"its follower {named.follower.pod} does not live"
        return "" if program.follows(named.guild) else f"{named.follower.pod} does not follow it"

    def _program(self, named: Assignment | Holder | None) -> Pod | None:
        for host in self.pods:
            program = host.running
            if (
                named is not None
                and isinstance(program, Pod)
                and (host.name, program.incarnation) == (named.pod, named.incarnation)
            ):
                return program
        return None


def _holders(named: Assignment) -> list[Holder]:
    owner = Holder(pod=named.pod, incarnation=named.incarnation)
    return [owner, *([named.follower] if named.follower is not None else [])]


def _names(named: Assignment, host: PodHost) -> bool:
    pods = [named.pod, named.follower.pod if named.follower is not None else ""]
    return host.name in pods or any(source.data == host.disk.data for source in named.sources)
