"""A replica of config: the real view, leader and election, and a shell of them in virtual time.

What the leader plans is carried out as `components.config.placing` does, what the election asks
for as `components.config.leadership` does. Nothing about either is decided here.
"""

from collections.abc import Callable
from typing import TYPE_CHECKING, cast

import msgspec

from components.bus.entries import Entry as BusEntry
from components.bus.staleness import MARGIN_S
from components.config.balancing import BY_ITSELF, Balancer
from components.config.election import Election, GiveBack, Look, Request, Wait, Write
from components.config.leader import Leader
from components.config.placing import Placer
from components.config.settings import ConfigSettings
from components.config.suspicion import PING_S
from components.config.view import BUCKETS, View
from components.config.world import Assign, Fence, LogFact, Options, Ping
from components.simulate.hosts import Host
from components.simulate.kv import Entry, WrongRevision
from components.simulate.link import Link, NoResponder, NotConnected, Unanswered
from components.simulate.process import Process
from components.simulate.server import CREATED
from components.simulate.tasks import Answer
from contracts import storage
from contracts.ids import Generation, GuildId, Sequence
from contracts.message import encode
from contracts.records import LeaderLease, PodPing

if TYPE_CHECKING:
    from components.simulate.cluster import Cluster

ROLE = "config"
TTL_S = 5.0
POD_TTL_S = 5.0
GRACE_S = 4.0
JOIN_WITHIN_S = 3.0
"""Much shorter than it is, so that a run of a minute sees targets given up."""
BALANCE_EVERY_S = 3.0
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
        options = Options(followers=cluster.followers, grace_s=GRACE_S, join_within_s=JOIN_WITHIN_S)
        self.leader = Leader(self.view, options, pod_ttl_s=POD_TTL_S)
        settings = ConfigSettings(database_url="", followers=cluster.followers, grace_s=GRACE_S)
        self._balancer = Balancer(self.view, cast(Placer, self), settings, clock=process.now_s)
        self.election = Election(self._claim, process.now_s, ttl_s=TTL_S)
        self._term = 0
        """Counts how often this process was elected."""
        self._drivers = 0
        """Counts who drives the election; a later one ends the earlier."""
        self._news = Answer()
        self._vote = Answer()
        """News for the election."""
        self.view.listen(on_change=self.news)
        link.on_lost.append(self.view.connection_lost)
        for bucket in BUCKETS:
            link.watch(
                bucket,
                lambda entry, bucket=bucket: self.view.entry(bucket, _bus_entry(entry)),  # type: ignore[misc]
                lambda entries, bucket=bucket: self.view.reset(  # type: ignore[misc]
                    bucket, {key: _bus_entry(entry) for key, entry in entries.items()}
                ),
            )
        link.watch(storage.LEADERS, self._seen, lambda entries: self._seen(entries.get(ROLE)))
        link.listen("sys.disconnect", self._disconnected)
        process.start(self._stand())
        process.start(self._miss_renewals())

    @property
    def leading(self) -> bool:
        """Whether this replica may act as leader at this very moment."""
        return self.election.leading

    def terminate(self) -> None:
        """SIGTERM: give the lease back and end."""

        async def end() -> None:
            self._drivers += 1
            driver, election = self._drivers, self.election
            self.loop.seen["config stops " + election.stage] += 1
            election.resign()
            while election.stage == "leaving":
                await self._step(driver)
            self.process.end()

        self.process.start(end())

    def news(self) -> None:
        """Something changed; plan again."""
        self._news.give()

    def spread(self, *, by: str) -> None:
        """Spread guilds evenly once."""
        planned = self._balancer.question()()
        wishes = self._balancer.wishes(planned.moves, by=by)
        if wishes:
            self.loop.seen["guilds spread" if by == BY_ITSELF else "guilds spread as asked"] += 1
            self.leader.want(wishes)
            self.news()

    # Leadership

    async def _stand(self) -> None:
        self._drivers += 1
        driver, stage = self._drivers, self.election.stage
        while driver == self._drivers:
            await self._step(driver)
            before, stage = stage, self.election.stage
            if stage == "leading" and before != "leading":
                self._term += 1
                self.loop.say(self.process.name, "leads")
                self.process.start(self._lead(self._term))
                self.process.start(self._balance(self._term))
            elif before == "leading" and stage != "leading":
                self.loop.say(self.process.name, f"leads no longer: {self.election.reason}")
                self.loop.seen["leads no longer: " + self.election.reason] += 1
                self.news()

    async def _step(self, driver: int) -> None:
        """Carry out one request of the election, unless another drives it by then."""
        self._vote = vote = Answer()
        request = self.election.next()
        if isinstance(request, Wait):
            wait_s = max(0.001, request.until_s - self.process.now_s())
            self.process.timer(wait_s, vote.give)
            await vote
            return
        try:
            done = await self._carry_out(request)
        except WrongRevision:
            done = self.election.refused
        except (NotConnected, Unanswered) as error:
            why = type(error).__name__

            def done() -> None:
                self.election.failed(why)

        if driver == self._drivers:
            done()

    async def _carry_out(self, request: Request) -> Callable[[], None]:
        election, link = self.election, self.link
        if isinstance(request, Look):
            entry = await link.read(storage.LEADERS, ROLE)
            return lambda: election.found(_shown(entry), link.count)
        if isinstance(request, Write):
            lease, over = request.lease, request.revision
            revision = await link.write(storage.LEADERS, ROLE, lease, over, TTL_S)
            return lambda: election.written(revision)
        assert isinstance(request, GiveBack)  # nobody carries out a `Wait`
        await link.write(storage.LEADERS, ROLE, None, request.revision)
        return election.given_back

    def _claim(self) -> LeaderLease:
        return LeaderLease(holder=self.process.name, since_ms=0, nats_client=self.link.client)

    def _seen(self, entry: Entry | None) -> None:
        self.election.seen(_shown(entry))
        self._vote.give()

    def _disconnected(self, client: int) -> None:
        self.leader.disconnected("", client)
        self.election.disconnected("", client)
        self._vote.give()
        self.news()

    # Leading

    def _stays(self, term: int) -> bool:
        return self.election.stage == "leading" and self._term == term

    def _leads(self, term: int) -> bool:
        return self.leading and self._term == term

    async def _lead(self, term: int) -> None:
        process = self.process
        begun = False
        while self._stays(term):
            self._news = news = Answer()
            if not self.view.complete or not self.leading:
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
                    await self._fence(fence, term)
                for number, assign in enumerate(plan.assign):
                    try:
                        await self._assign(assign, term)
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

    async def _balance(self, term: int) -> None:
        """As `components.config.balancing` does by itself."""
        while self._stays(term):
            await self.process.sleep(BALANCE_EVERY_S)
            if not self._leads(term) or not self.view.complete or self.view.intents.paused:
                continue
            wanted = self.leader.wanted.values()
            if self._balancer.settled and all(wish.cause != "rebalanced" for wish in wanted):
                self.spread(by=BY_ITSELF)

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
            self.leader.not_pinged(ping.pod)
        else:
            self.loop.seen["ping answered"] += 1
            self.leader.answered(ping.pod, pong.incarnation, self.process.now_s())
        self.news()

    async def _fence(self, decision: Fence, term: int) -> None:
        if not self._leads(term):
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
        self.view.reread_pod(value.pod, _shown(entry))

    async def _assign(self, decision: Assign, term: int) -> None:
        assignment = msgspec.structs.replace(decision.assignment, by=self.name)
        joining = assignment.joining
        if joining is not None and not joining.since_ms:
            now_ms = int(self.process.now_s() * 1000)
            joining = msgspec.structs.replace(joining, since_ms=now_ms)
            assignment = msgspec.structs.replace(assignment, joining=joining)
        guild = assignment.guild
        if not self._leads(term):
            self.view.dirty.add(guild)
            return
        try:
            revision = await self.link.write(storage.GUILDS, guild, assignment, decision.revision)
        except (WrongRevision, Unanswered):
            entry = await self.link.read(storage.GUILDS, guild)
            if entry is None or entry.value != assignment:
                self.loop.seen["assignment refused"] += 1
                self.view.reread_assignment(guild, _shown(entry))
                return
            revision = entry.revision
        self.view.assigned(assignment, revision)

    async def _miss_renewals(self) -> None:
        """A lease that nobody renews has ended, also if its key does not expire."""
        while True:
            await self.process.sleep(1.0)
            now_s = self.process.now_s()
            for pod in list(self.view.pods.values()):
                if pod.away_since_s is not None or now_s - pod.seen_s < POD_TTL_S + MARGIN_S:
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


def _shown(entry: Entry | None) -> BusEntry | None:
    return _bus_entry(entry) if entry is not None else None
