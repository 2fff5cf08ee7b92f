"""What goes wrong, when: drawn from the seed.

Two ways: now and then, and right after something interesting was written (a move begun, an epoch,
a release, a fence), to whom it concerns, within milliseconds: that is where a protocol breaks. An
operator asks for things at the same moments.

Kept to what the design promises to survive: the bucket and the log are away at times but not
lost, and in an installation without backups a disk is lost only while the rows it holds are
elsewhere, too: with owner or follower, if another disk was lost before anybody can have seen it.
"""

from collections.abc import Callable
from typing import TYPE_CHECKING

from components.simulate.hosts import Host, PodHost
from components.simulate.kv import Entry
from contracts import storage
from contracts.records import Assignment, PodLease, Released

if TYPE_CHECKING:
    from components.simulate.cluster import Cluster

LONG_S = (5.0, 12.0)
"""Longer than a lease."""
SHORT_S = (0.05, 3.0)


class Faults:
    """The faults of one run."""

    def __init__(self, cluster: "Cluster", every_s: float, triggered: float) -> None:
        self._cluster = cluster
        self._loop = cluster.loop
        self._every_s = every_s
        self._triggered = triggered
        self.running = False
        server = cluster.server
        server.buckets[storage.GUILDS].on_write.append(self._assigned)
        server.buckets[storage.HANDOFFS].on_write.append(self._handed_off)
        server.buckets[storage.PODS].on_write.append(self._pod_written)
        self._any: list[tuple[float, Callable[[], None]]] = [
            (3.0, lambda: self.hit(self._pod())),
            (1.0, lambda: self.hit(self._config())),
            (0.5, self._both_configs),
            (0.7, self._nats_away),
            (0.5, self._bucket_away),
            (0.5, self._discord_away),
            (0.5, self._pair),
            (0.3, self._clock_jump),
            (2.0, self._operator),
        ]

    def begin(self) -> None:
        """From now on things go wrong."""
        self.running = True
        self._loop.after(self._loop.between(0.0, self._every_s), self._next)

    def end(self) -> None:
        """No more faults; what is broken is repaired."""
        cluster = self._cluster
        self.running = False
        if not cluster.server.up:
            cluster.server.come_up()
        cluster.backups.up = True
        cluster.discord.cut.clear()
        for host in cluster.hosts:
            host.heal()
            if host.running is None:
                host.start()

    def hit(self, host: Host) -> None:
        """One fault to one machine."""
        kind = self._loop.random()
        if isinstance(host, PodHost):
            if kind < 0.5:
                self._end(host)
            elif kind < 0.72:
                self._stop(host)
            elif kind < 0.97:
                self._cut(host)
            else:
                self._twin(host)
        elif kind < 0.4:
            self._note("kill", host)
            host.restart_s = (0.2, 6.0)
            host.kill()
        elif kind < 0.5:
            self._stop_in_order(host)
        elif kind < 0.7:
            self._stop(host)
        else:
            self._cut(host)

    def _stop(self, host: Host) -> None:
        length = LONG_S if self._loop.happens(0.5) else SHORT_S
        self._note("long stop" if length is LONG_S else "short stop", host)
        host.stop(self._loop.between(*length))

    def _stop_in_order(self, host: Host) -> None:
        program = host.running
        if program is not None and not program.process.stopped:
            self._note("stop in order", host)
            host.restart_s = (0.2, 6.0)
            program.terminate()

    def _twin(self, host: PodHost) -> None:
        """The pod is started on another machine, with an empty disk, while the first one may
        still run: cut off, stopped, or well."""
        if host.gone or not self._cluster.backed_up:
            return
        self._note("twin", host)
        if self._loop.happens(0.7):
            (self._cut if self._loop.happens(0.5) else self._stop)(host)
        twin = self._cluster.twin_of(host)
        self._loop.after(self._loop.between(0.0, 2.0), twin.start)

    def _end(self, host: PodHost, *, wiped: bool = False) -> None:
        loop = self._loop
        host.attested = loop.happens(0.6)
        wiped = (wiped or loop.happens(0.35)) and self._may_wipe(host)
        away = loop.happens(0.3)
        self._note(
            f"kill{' unattested' if not host.attested else ''}{' and wipe' if wiped else ''}", host
        )
        host.restart_s = (2.0, 12.0) if away else (0.1, 2.0)
        host.kill()
        if wiped and host.running is None:
            host.wipe()

    def _cut(self, host: Host) -> None:
        loop = self._loop
        way = loop.random()
        up, down = way < 0.66, way > 0.33
        noticed = loop.happens(0.4)
        words = "cut" if up and down else "cut one way"
        self._note(f"{words}, noticed by the server" if noticed else words, host)
        host.cut(up=up, down=down, noticed=noticed)
        length = LONG_S if loop.happens(0.5) else SHORT_S
        loop.after(loop.between(*length), host.heal)

    def _both_configs(self) -> None:
        for host in self._cluster.configs:
            self._note("kill", host)
            host.restart_s = (0.5, 8.0)
            host.kill()

    def _pair(self) -> None:
        """The owner of a guild, then its follower, with their disks."""
        cluster, loop = self._cluster, self._loop
        guild = cluster.guilds[int(loop.random() * len(cluster.guilds))]
        named = cluster.assignment(guild)
        if named is None or named.follower is None:
            return
        names = (named.pod, named.follower.pod)
        owner, follower = (next(host for host in cluster.pods if host.name == x) for x in names)
        self._note("pair", owner)
        self._end(owner, wiped=True)
        loop.after(loop.between(0.0, 1.5), lambda: self._end(follower, wiped=True))

    def _clock_jump(self) -> None:
        """NATS counts the time to live of keys by its wall clock."""
        self._note("NATS clock jump", None)
        for name in (storage.PODS, storage.LEADERS):
            self._cluster.server.buckets[name].jump()

    def _nats_away(self) -> None:
        server = self._cluster.server
        if not server.up:
            return
        self._note("NATS away", None)
        for bucket in server.buckets.values():
            bucket.immortal_share = 0.2 if self._loop.happens(0.3) else 0.0
        server.go_down()
        self._loop.after(self._loop.between(0.1, 8.0), self._nats_back)

    def _nats_back(self) -> None:
        if not self._cluster.server.up:
            self._loop.say("nats", "is back")
            self._cluster.server.come_up()

    def _bucket_away(self) -> None:
        backups = self._cluster.backups
        if backups.up:
            self._note("S3 away", None)
            backups.up = False
            self._loop.after(self._loop.between(1.0, 10.0), self._bucket_back)

    def _bucket_back(self) -> None:
        self._cluster.backups.up = True

    def _discord_away(self) -> None:
        host = self._pod()
        self._note("Discord cut", host)
        self._cluster.discord.cut.add(host.name)
        self._loop.after(
            self._loop.between(1.0, 8.0), lambda: self._cluster.discord.cut.discard(host.name)
        )

    def _operator(self) -> None:
        self._cluster.operator.act()

    # Right after something interesting

    def _assigned(self, entry: Entry) -> None:
        if not self.running or not isinstance(entry.value, Assignment):
            return
        if entry.value.before and self._loop.happens(self._triggered):
            self._chain(entry.value)
        elif self._loop.happens(self._triggered):
            named = entry.value
            concerned: list[str] = [named.pod]
            if named.joining is not None:
                concerned.append(named.joining.pod)
            concerned += [earlier.pod for earlier in named.before]
            if named.follower is not None:
                concerned.append(named.follower.pod)
            self._soon(concerned)

    def _chain(self, named: Assignment) -> None:
        """An earlier owner does not hear of it, and the new one does not stay long."""
        loop, pods = self._loop, self._cluster.pods
        earlier = [each.pod for each in named.before]
        for host in pods:
            if host.name in earlier:
                (self._cut if loop.happens(0.5) else self._stop)(host)
        new = next(host for host in pods if host.name == named.pod)
        self._note("chain", new)
        delay_s = loop.random() * (0.02 if loop.happens(0.5) else 3.0)
        if loop.happens(0.5):
            loop.after(delay_s, lambda: self._end(new))
        else:
            loop.after(delay_s, lambda: self._cluster.operator.move(named.guild))

    def _handed_off(self, entry: Entry) -> None:
        handed_off = self.running and isinstance(entry.value, Released)
        if handed_off and self._loop.happens(self._triggered):
            assert isinstance(entry.value, Released)  # just asked
            self._soon([entry.value.pod, *(host.name for host in self._cluster.pods)])

    def _pod_written(self, entry: Entry) -> None:
        lease = entry.value
        fenced = isinstance(lease, PodLease) and lease.state == "fenced"
        if self.running and fenced and self._loop.happens(4 * self._triggered):
            self._soon([host.name for host in self._cluster.pods])

    def _soon(self, names: list[str]) -> None:
        loop = self._loop
        delay_s = loop.random() * (0.006 if loop.happens(0.5) else 0.3)
        if loop.happens(0.15):
            loop.after(delay_s, self._operator)
            return
        if loop.happens(0.3):
            leader = self._cluster.leader()
            if leader is not None:
                loop.after(delay_s, lambda: self.hit(leader))
                return
        name = names[int(loop.random() * len(names))]
        host = next(host for host in self._cluster.pods if host.name == name)
        loop.after(delay_s, lambda: self.hit(host))

    # Chance

    def _next(self) -> None:
        if not self.running:
            return
        at = self._loop.random() * sum(weight for weight, _ in self._any)
        for weight, fault in self._any:
            at -= weight
            if at <= 0:
                fault()
                break
        self._loop.after(self._loop.between(0.1, 1.9) * self._every_s, self._next)

    def _pod(self) -> PodHost:
        pods = self._cluster.pods
        return pods[int(self._loop.random() * len(pods))]

    def _config(self) -> Host:
        leader = self._cluster.leader()
        if leader is not None and self._loop.happens(0.7):
            return leader
        configs = self._cluster.configs
        return configs[int(self._loop.random() * len(configs))]

    def _may_wipe(self, host: PodHost) -> bool:
        return self._cluster.backed_up or self._cluster.held_elsewhere(host)

    def _note(self, fault: str, host: Host | None) -> None:
        self._loop.say("fault", f"{fault} {host.name if host is not None else ''}")
        self._cluster.watcher.event(
            fault if host is None or isinstance(host, PodHost) else f"config {fault}"
        )
