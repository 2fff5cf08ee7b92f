"""A replica of config: the real view and leader, and a shell of them in virtual time.

What the leader plans is carried out as `components.config.placing` does, its lease is kept as
`components.config.leadership` does. Nothing about placement is decided here.
"""

from typing import TYPE_CHECKING

import msgspec

from components.bus.entries import Entry as BusEntry
from components.config.leader import Leader
from components.config.suspicion import PING_S
from components.config.view import BUCKETS, View
from components.config.world import Assign, Fence, LogFact, Options, Ping, Wanted
from components.ownership.lease import LeaseClock
from components.simulate.hosts import Host
from components.simulate.kv import Entry, WrongRevision
from components.simulate.link import Link, NoResponder, NotConnected, Unanswered
from components.simulate.process import Process
from components.simulate.server import CREATED
from components.simulate.tasks import Answer
from contracts import storage
from contracts.ids import Generation, GuildId, PodId, Sequence
from contracts.message import encode
from contracts.records import LeaderLease, PodIntent, PodPing

if TYPE_CHECKING:
    from components.simulate.cluster import Cluster

ROLE = "config"
TTL_S = 5.0
MARGIN_S = 0.5
POD_TTL_S = 5.0
STALE_S = 1.0
"""As `components.bus.staleness`: who does not renew for so much longer than the TTL is away."""
AGAIN_S = 0.2


class Config:
    """One process of one replica."""

    def __init__(self, cluster: "Cluster", host: Host, process: Process, link: Link) -> None:
        self.cluster = cluster
        self.loop = cluster.loop
        self.server = cluster.server
        self.name = host.name
        self.process = process
        self.link = link
        self.view = View(process.now_s, pod_ttl_s=POD_TTL_S)
        self.leader = Leader(
            self.view, Options(followers=cluster.followers, grace_s=4.0), pod_ttl_s=POD_TTL_S
        )
        self.lease = LeaseClock(ttl_s=TTL_S, margin_s=MARGIN_S)
        self._revision = 0
        self._unheard: LeaderLease | None = None
        self._seen: Entry | None = None
        self._seen_s = 0.0
        self._gone_at = 0
        self._news = Answer()
        self._vacant = Answer()
        self.view.listen(on_change=self._change)
        link.on_lost.append(self.view.connection_lost)
        for bucket in BUCKETS:
            link.watch(
                bucket,
                lambda entry, bucket=bucket: self.view.entry(bucket, _bus_entry(entry)),  # type: ignore[misc]
                lambda entries, bucket=bucket: self.view.reset(  # type: ignore[misc]
                    bucket, {key: _bus_entry(entry) for key, entry in entries.items()}
                ),
            )
        link.watch(storage.LEADERS, self._see, self._see_all)
        link.listen("sys.disconnect", self._disconnected)
        process.start(self._stand())
        process.start(self._miss_renewals())

    @property
    def leading(self) -> bool:
        """Whether this replica may act as leader at this very moment."""
        return self.lease.valid(self.process.now_s())

    def terminate(self) -> None:
        """SIGTERM: give the lease back and end."""

        async def end() -> None:
            if self.leading:
                self.lease.until_s = float("-inf")
                try:
                    await self.link.write(storage.LEADERS, ROLE, None, self._revision)
                except (NotConnected, Unanswered, WrongRevision):
                    self.loop.seen["lease not given back"] += 1
            self.process.end()

        self.process.start(end())

    def operator_acts(self) -> None:
        """Somebody asks for a move, a drain, or starts a pod anew."""
        loop = self.loop
        pods = self.cluster.pods
        host = pods[int(loop.random() * len(pods))]
        kind = loop.random()
        if kind < 0.6:
            guilds = self.cluster.guilds
            self.move(guilds[int(loop.random() * len(guilds))])
        elif kind < 0.75:
            self.cluster.watcher.event("drain asked for")
            self._intend(host.name, draining=True)
            loop.after(loop.between(2.0, 8.0), lambda: self._intend(host.name, draining=False))
        else:
            program = host.running
            if program is not None and not program.process.stopped:
                self.cluster.watcher.event("restart asked for")
                host.restart_s = (0.2, 2.0)
                program.terminate()

    def move(self, guild: str) -> None:
        """Somebody asks for a move of the guild."""
        pods = self.cluster.pods
        host = pods[int(self.loop.random() * len(pods))]
        self.cluster.watcher.event("move asked for")
        wanted = Wanted(
            guild=GuildId(guild),
            pod=PodId(host.name),
            purpose="own" if self.loop.happens(0.8) else "follow",
            cause="moved",
            by="operator",
            reason="asked for",
        )
        self.leader.want([wanted])
        self._change()

    def _intend(self, pod: str, *, draining: bool) -> None:
        intent = PodIntent(pod=PodId(pod), draining=draining, by="operator", since_ms=0)
        self.server.buckets[storage.INTENT].write(f"pod.{pod}", intent, None, None)

    # Leadership

    async def _stand(self) -> None:
        while True:
            await self._elected()
            self.loop.say(self.process.name, "leads")
            self.lease = LeaseClock(ttl_s=TTL_S, margin_s=MARGIN_S, until_s=self.lease.until_s)
            self.process.start(self._keep(self.lease))
            await self._lead(self.lease)
            self.loop.say(self.process.name, "leads no longer")

    async def _elected(self) -> None:
        while True:
            self._vacant = vacant = Answer()
            if not self._gone_at and (self._seen is None or self._seen.value is not None):
                self.process.timer(1.0, vacant.give)
                await vacant
            sent_s = self.process.now_s()
            try:
                revision = await self._vacancy()
                if revision is not None:
                    value = self._value()
                    self._revision = await self.link.write(
                        storage.LEADERS, ROLE, value, revision, TTL_S
                    )
                    self._unheard = value
                    self.lease = LeaseClock(ttl_s=TTL_S, margin_s=MARGIN_S)
                    self.lease.renewed(sent_s)
                    return
            except WrongRevision:
                self._seen = self._seen  # another was faster, or the leader has renewed
            except (NotConnected, Unanswered):
                await self.process.sleep(AGAIN_S)
            await self.process.sleep(AGAIN_S)

    async def _vacancy(self) -> int | None:
        """The revision at which the lease may be taken; None: somebody has it."""
        revision, self._gone_at = self._gone_at, 0
        if revision:
            return revision
        entry = await self.link.read(storage.LEADERS, ROLE)
        if entry is None or entry.value is None:
            return entry.revision if entry is not None else 0
        if self._seen is None or self._seen.revision != entry.revision:
            self._see(entry)
        stale_s = self.process.now_s() - self._seen_s
        return entry.revision if stale_s > TTL_S + STALE_S else None

    async def _keep(self, lease: LeaseClock) -> None:
        while lease.valid(self.process.now_s()):
            await self.process.sleep(1.0)
            sent_s = self.process.now_s()
            if not lease.valid(sent_s):
                break
            try:
                sent_s = await self._renew()
                lease.renewed(sent_s)
            except WrongRevision:
                break
            except (NotConnected, Unanswered):
                continue
        lease.lose()
        self._change()

    async def _renew(self) -> float:
        value, unheard = self._value(), self._unheard
        self._unheard = value
        sent_s = self.process.now_s()
        try:
            self._revision = await self.link.write(
                storage.LEADERS, ROLE, value, self._revision, TTL_S
            )
        except WrongRevision:
            entry = await self.link.read(storage.LEADERS, ROLE)
            if entry is None or entry.revision <= self._revision:
                raise
            if entry.value not in (value, unheard):
                raise
            self._revision = entry.revision
            sent_s = self.process.now_s()
            self._revision = await self.link.write(
                storage.LEADERS, ROLE, value, self._revision, TTL_S
            )
        return sent_s

    def _value(self) -> LeaderLease:
        return LeaderLease(holder=self.process.name, since_ms=0, nats_client=self.link.client)

    def _see(self, entry: Entry) -> None:
        if self._seen is not None and entry.revision <= self._seen.revision:
            return
        self._seen, self._seen_s = entry, self.process.now_s()
        if entry.value is None:
            self._vacant.give()

    def _see_all(self, entries: dict[str, Entry]) -> None:
        for entry in entries.values():
            self._see(entry)
        if not entries:
            self._vacant.give()

    def _disconnected(self, client: int) -> None:
        self.leader.disconnected("", client)
        lease = self._seen.value if self._seen is not None else None
        if isinstance(lease, LeaderLease) and lease.nats_client == client and not self.leading:
            assert self._seen is not None  # it has a value
            self._gone_at = self._seen.revision
            self._vacant.give()
        self._change()

    # Leading

    def _change(self) -> None:
        self._news.give()

    async def _lead(self, lease: LeaseClock) -> None:
        process = self.process
        begun = False
        while not lease.lost:
            self._news = news = Answer()
            if not self.view.complete or not lease.valid(process.now_s()):
                process.timer(1.0, news.give)
                await news
                continue
            if not begun:
                begun = True
                self.leader.begin(process.now_s())
            plan = self.leader.plan(process.now_s(), ())
            for ping in plan.ping:
                process.start(self._ping(ping))
            try:
                for fence in plan.fence:
                    await self._fence(fence, lease)
                for number, assign in enumerate(plan.assign):
                    try:
                        await self._assign(assign, lease)
                    except (NotConnected, Unanswered):
                        rest = plan.assign[number:]
                        self.view.dirty.update(each.assignment.guild for each in rest)
                        raise
                if plan.look_up:
                    await self._look(plan.look_up)
                    continue
            except (NotConnected, Unanswered):
                self.view.dirty.update(plan.look_up)
                await process.sleep(AGAIN_S)
                continue
            if plan.more:
                continue
            wait_s = 1.0
            if plan.wake_at_s is not None:
                wait_s = min(wait_s, max(0.001, plan.wake_at_s - process.now_s()))
            process.timer(wait_s, news.give)
            await news

    async def _look(self, guilds: list[GuildId]) -> None:
        logs = self.server.streams.logs
        firsts = await self.link.ask(lambda: {guild: logs[guild].first_kept() for guild in guilds})
        for guild, first in firsts.items():
            known = self.leader.logs.get(guild)
            self.leader.logs[guild] = LogFact(
                first=Sequence(first) if first is not None else None,
                generation=Generation(CREATED),
                read_at_s=self.process.now_s(),
                looks=known.looks + 1 if known is not None and first is None else 1,
            )
        self.leader.looked(guilds)

    async def _ping(self, ping: Ping) -> None:
        self.loop.seen["ping"] += 1
        answer = Answer()

        def hear(pong: PodPing) -> None:
            connection = self.link.connection
            if connection is not None:
                connection.down(lambda: answer.give(pong))

        try:
            await self.link.request(f"ping.{ping.pod}", hear)
            self.process.timer(PING_S, lambda: answer.give(None, Unanswered()))
            pong: PodPing = await answer
        except NoResponder:
            self.leader.unanswered(ping, "nobody answers for it")
        except Unanswered:
            self.leader.unanswered(ping, "it did not answer")
        except NotConnected:
            self.leader.refused(ping.pod)
        else:
            self.loop.seen["ping answered"] += 1
            self.leader.answered(ping.pod, pong.incarnation, self.process.now_s())
        self._change()

    async def _fence(self, decision: Fence, lease: LeaseClock) -> None:
        if not lease.valid(self.process.now_s()):
            return
        value = msgspec.structs.replace(decision.lease, fenced_by=self.name)
        try:
            await self.link.write(storage.PODS, value.pod, value, decision.revision)
            self.loop.say(self.process.name, f"fenced {value.pod}: {decision.reason}")
            self.cluster.fenced(value)
        except (WrongRevision, Unanswered):
            self.loop.seen["fence refused"] += 1
            self.leader.refused(value.pod)
        entry = await self.link.read(storage.PODS, value.pod)
        self.view.reread_pod(value.pod, _bus_entry(entry) if entry is not None else None)

    async def _assign(self, decision: Assign, lease: LeaseClock) -> None:
        assignment = msgspec.structs.replace(decision.assignment, by=self.name)
        guild = assignment.guild
        if not lease.valid(self.process.now_s()):
            self.view.dirty.add(guild)
            return
        try:
            revision = await self.link.write(storage.GUILDS, guild, assignment, decision.revision)
        except (WrongRevision, Unanswered):
            entry = await self.link.read(storage.GUILDS, guild)
            if entry is None or entry.value != assignment:
                self.loop.seen["assignment refused"] += 1
                self.view.reread_assignment(guild, _bus_entry(entry) if entry is not None else None)
                return
            revision = entry.revision
        self.view.assigned(assignment, revision)

    async def _miss_renewals(self) -> None:
        """A lease that nobody renews has ended, also if its key does not expire."""
        while True:
            await self.process.sleep(1.0)
            now_s = self.process.now_s()
            for pod in list(self.view.pods.values()):
                if pod.away_since_s is not None or now_s - pod.seen_s < POD_TTL_S + STALE_S:
                    continue
                try:
                    entry = await self.link.read(storage.PODS, pod.pod)
                except (NotConnected, Unanswered):
                    break
                if entry is not None and entry.revision == pod.revision:
                    self.view.not_renewed(pod.pod, entry.revision)
                elif entry is not None:
                    self.view.reread_pod(pod.pod, _bus_entry(entry))


def _bus_entry(entry: Entry) -> BusEntry:
    if entry.encoded is None:
        value = encode(entry.value) if entry.value is not None else None
        entry.encoded = BusEntry(key=entry.key, value=value, revision=entry.revision, created_ms=0)
    return entry.encoded
