"""A gateway pod: the real ownership machine, and a shell of it in virtual time.

What the machine asks for is carried out over a `Link`, as `components.gateway.shell` does; what
becomes of it is reported back. Nothing about ownership is decided here.
"""

from collections.abc import Callable
from typing import TYPE_CHECKING

from components.gateway.ownership.commands import Command, Permit
from components.gateway.ownership.guild import Me
from components.gateway.ownership.joining import Gone, Joiner
from components.gateway.ownership.pod import PodMachine
from components.simulate.carrying import CARRY_OUT
from components.simulate.guild import Guild
from components.simulate.hosts import PodHost
from components.simulate.kv import Entry, WrongRevision
from components.simulate.link import Link, NotConnected, Unanswered
from components.simulate.process import Process
from components.simulate.server import CREATED
from contracts import storage
from contracts.ids import Epoch, GuildId, Incarnation, PodId
from contracts.records import (
    Assignment,
    LeaderLease,
    PodLease,
    PodPing,
    ProcessEnd,
    Released,
    Silent,
)

if TYPE_CHECKING:
    from components.simulate.cluster import Cluster

TTL_S = 5.0
MARGIN_S = 0.5
SWEEP_S = 2.0
BEAT_S = 1.5
BACKUP_S = 0.7
AGAIN_S = 0.1
DRAIN_S = 20.0


class Pod:
    """One process of one pod."""

    def __init__(self, cluster: "Cluster", host: PodHost, process: Process, link: Link) -> None:
        self.cluster = cluster
        self.loop = cluster.loop
        self.server = cluster.server
        self.discord = cluster.discord
        self.judge = cluster.judge
        self.host = host
        self.name = host.name
        self.process = process
        self.link = link
        self.disk = host.disk
        self.incarnation = ""
        self.machine: PodMachine | None = None
        self.guilds: dict[str, Guild] = {}
        self.draining = False
        self._token = host.token()
        self._revision = 0
        self._lease: PodLease | None = None
        self._unheard: PodLease | None = None
        self._tick_at_s = float("inf")
        self._tick_number = 0
        process.on_end.append(lambda: self.discord.process_ended(process))
        process.start(self._run())

    # What the simulation asks

    def could_send(self, guild: str) -> bool:
        """Whether an effect could leave at this moment."""
        machine = self.machine
        if machine is None:
            return False
        known = machine.guilds.get(GuildId(guild))
        if known is None or known.acting is None:
            return False
        return machine.may_send_effects(GuildId(guild), known.acting, self.process.now_s())

    def why_not_well(self, guild: str) -> str:
        """What is missing of a guild that this pod owns."""
        machine = self.machine
        known = machine.guilds.get(GuildId(guild)) if machine is not None else None
        if machine is None or known is None:
            return "not known"
        if known.phase != "open" or known.effects != "open":
            missing = known.waits_for(self.process.now_s())
            return f"{known.phase}, effects {known.effects} {known.reason} {missing}"
        if (reason := machine.pod_refusal(self.process.now_s())) is not None:
            return reason
        last = self.server.streams.logs[guild].last
        shell = self.guilds[guild]
        if shell.sequence < last - 50:
            return f"behind: {shell.sequence} of {last}"
        return ""

    def follows(self, guild: str) -> bool:
        """Whether the pod has the guild's rows and applies its log."""
        machine = self.machine
        known = machine.guilds.get(GuildId(guild)) if machine is not None else None
        return known is not None and known.phase == "following"

    def may_act(self, guild: Guild, epoch: int) -> bool:
        """The gate, for replies, appends and facts."""
        assert self.machine is not None  # nobody acts before
        permit = Permit(GuildId(guild.id), Epoch(epoch))
        return self.machine.may_act(permit, self.process.now_s())

    def may_send(self, guild: Guild, epoch: int) -> bool:
        """The gate, for effects."""
        assert self.machine is not None  # nobody acts before
        return self.machine.may_send_effects(GuildId(guild.id), Epoch(epoch), self.process.now_s())

    def lease_left_s(self) -> float:
        """How long the lease is certainly held."""
        assert self.machine is not None  # nobody acts before
        return self.machine.lease.remaining_s(self.process.now_s())

    def publish(self, guild: str, fact: int, epoch: int, expected: int) -> int:
        """Add a fact to EVENTS; done at the server."""
        published = self.server.streams.publish(guild, fact, epoch, expected)
        self.judge.fact_published(guild)
        return published

    def terminate(self) -> None:
        """SIGTERM: say so, go on until others have the guilds, then let go and end."""
        if not self.draining:
            self.draining = True
            self.process.start(self._drain())

    # Start

    async def _run(self) -> None:
        while not self.link.connected:
            await self.process.sleep(0.02)
        self.disk.lock = self.process
        await self._join()
        machine = self.machine = PodMachine(
            Me(
                pod=PodId(self.name),
                incarnation=Incarnation(self.incarnation),
                data=self.disk.data,
                replica=self._replica() if self.cluster.backed_up else "",
            ),
            ttl_s=TTL_S,
            margin_s=MARGIN_S,
            leader_ttl_s=self.cluster.leader_ttl_s,
            on_disk=[GuildId(guild) for guild in sorted(self.disk.rows)],
        )
        self.loop.say(self.process.name, f"joined as {self.incarnation} on {self.disk.data}")
        now_s = self.process.now_s
        link = self.link
        link.on_lost.append(lambda: self.carry_out(machine.disconnected(now_s())))
        link.on_connected.append(lambda: self.carry_out(machine.connected(link.count, now_s())))
        link.watch(storage.GUILDS, self._assignment, self._each(self._assignment))
        link.watch(storage.PODS, self._pod, self._each(self._pod))
        link.watch(storage.ENDS, self._end, self._each(self._end))
        link.watch(storage.HANDOFFS, self._handoff, self._each(self._handoff))
        link.watch(storage.LEADERS, self._leader, self._each(self._leader))
        link.listen(f"ping.{self.name}", self._pinged)
        link.listen(f"released.{self.name}", self._told_released)
        if link.connected:
            self.carry_out(machine.connected(link.count, now_s()))
        self.process.start(self._sweep())
        self.process.start(self._back_up())

    async def _join(self) -> None:
        joiner = Joiner(self.disk.data, ttl_s=TTL_S, margin_s=MARGIN_S)
        while True:
            try:
                entry = await self.link.read(storage.PODS, self.name)
                held, revision = _held(entry)
                now_s = self.process.now_s()
                wait_s = joiner.free_at_s(held, revision, self.link.count, now_s) - now_s
                if wait_s > 0:
                    self.loop.seen["join waits"] += 1
                    await self.process.sleep(min(wait_s, 0.5))
                    continue
                self._revision = await self._put_lease(self._value(incarnation=None), revision)
                self.incarnation = f"{CREATED}-{self._revision}"
                await self._renew_lease()
                return
            except (NotConnected, Unanswered, WrongRevision):
                await self.process.sleep(AGAIN_S)

    # The lease

    def _value(self, *, incarnation: str | None) -> PodLease:
        replica = f"pods/{self.name}/{incarnation}" if incarnation else ""
        backup = self.cluster.backups.replicas.get(replica)
        state = "starting" if self.machine is None else "serving"
        return PodLease(
            pod=PodId(self.name),
            incarnation=Incarnation(incarnation) if incarnation else None,
            nats_client=self.link.client,
            process=self._token,
            zone=self.host.zone,
            data=self.disk.data,
            state="draining" if self.draining else state,  # type: ignore[arg-type]
            capacity=100,
            replica=replica if self.cluster.backed_up else "",
            beat=self.disk.beat,
            backed_up_beat=backup.beat if backup is not None else 0,
            version="1",
            engine_version=1,
            started_ms=0,
        )

    def _replica(self) -> str:
        return f"pods/{self.name}/{self.incarnation}"

    async def _put_lease(self, value: PodLease, revision: int) -> int:
        return await self.link.write(storage.PODS, self.name, value, revision, TTL_S)

    async def _renew_lease(self) -> float:
        """Renew; returns when the renewal that counts was sent. Raises `WrongRevision` when the
        key is somebody else's now."""
        value = self._value(incarnation=self.incarnation)
        unheard, self._unheard = self._unheard, value
        sent_s = self.process.now_s()
        try:
            self._revision = await self._put_lease(value, self._revision)
        except WrongRevision:
            entry = await self.link.read(storage.PODS, self.name)
            ours = entry is not None and entry.value is not None and entry.value in (value, unheard)
            if entry is None or not ours or entry.revision <= self._revision:
                raise
            self._revision = entry.revision
            sent_s = self.process.now_s()
            self._revision = await self._put_lease(value, self._revision)
        return sent_s

    async def renew(self) -> None:
        """Renew the lease once, and see how far the bucket ``guilds`` is."""
        machine, link = self.machine, self.link.count
        assert machine is not None  # it asked
        now_s = self.process.now_s
        try:
            sent_s = await self._renew_lease()
        except WrongRevision:
            self.carry_out(machine.lease_lost("its key was written by another", now_s()))
            return
        except (NotConnected, Unanswered):
            self.carry_out(machine.renewal_failed(link, now_s()))
            return
        self.carry_out(machine.renewed(sent_s, link, now_s()))
        for guild in self.guilds.values():
            if guild.epoch:
                self.judge.may_send(guild.id)
        try:
            end = await self.link.ask(lambda: self.server.buckets[storage.GUILDS].revision)
        except (NotConnected, Unanswered):
            return
        self.carry_out(machine.bucket_end(end, now_s()))

    # What the machine sees

    def _each(self, show: Callable[[Entry], None]) -> Callable[[dict[str, Entry]], None]:
        def shown(entries: dict[str, Entry]) -> None:
            for entry in entries.values():
                show(entry)

        return shown

    def _assignment(self, entry: Entry) -> None:
        machine = self.machine
        assert machine is not None  # it watches from then on
        value = entry.value if isinstance(entry.value, Assignment) else None
        self.carry_out(
            machine.assignment_seen(GuildId(entry.key), value, entry.revision, self.process.now_s())
        )

    def _pod(self, entry: Entry) -> None:
        if self.machine is not None and isinstance(entry.value, PodLease):
            self.carry_out(self.machine.pod_seen(entry.value, entry.revision, self.process.now_s()))

    def _end(self, entry: Entry) -> None:
        if self.machine is not None and isinstance(entry.value, ProcessEnd):
            self.carry_out(self.machine.end_seen(entry.value, self.process.now_s()))

    def _handoff(self, entry: Entry) -> None:
        machine, now_s = self.machine, self.process.now_s()
        if machine is None:
            return
        if isinstance(entry.value, Released):
            self.carry_out(machine.released_seen(entry.value, now_s))
        elif isinstance(entry.value, Silent):
            self.carry_out(machine.silent_seen(entry.value, now_s))

    def _told_released(self, word: Released) -> None:
        if self.machine is not None:
            self.loop.seen["released, told directly"] += 1
            self.carry_out(self.machine.released_seen(word, self.process.now_s()))

    def _leader(self, entry: Entry) -> None:
        if self.machine is None:
            return
        if isinstance(entry.value, LeaderLease):
            self.carry_out(self.machine.leader_seen(self.process.now_s()))
        elif entry.value is None:
            self.carry_out(self.machine.leader_gone(self.process.now_s()))

    def _pinged(self, answer: Callable[[PodPing], None]) -> None:
        ping = PodPing(pod=PodId(self.name), incarnation=Incarnation(self.incarnation))
        if (connection := self.link.connection) is not None:
            connection.up(lambda: answer(ping))

    def opened_seen(self, guild: Guild, epoch: int) -> None:
        """An `OwnerOpened` was applied."""
        machine = self.machine
        if machine is not None:
            now_s = self.process.now_s()
            self.carry_out(machine.epoch_on_log(GuildId(guild.id), Epoch(epoch), now_s))

    def effects_ended(self, guild: Guild, epoch: int) -> None:
        """The lane of an epoch has ended."""
        machine = self.machine
        assert machine is not None  # it had begun
        known = machine.guilds.get(GuildId(guild.id))
        if known is None or known.acting != epoch:
            now_s = self.process.now_s()
            self.carry_out(machine.effects_ended(GuildId(guild.id), Epoch(epoch), now_s))

    # What the machine asks for

    def carry_out(self, commands: list[Command]) -> None:
        """Begin what is asked, in order, and see when time alone will ask for more."""
        for command in commands:
            if not self.process.alive:
                return
            CARRY_OUT[type(command)](self, command)
        self._see_to_tick()

    def guild(self, guild: str) -> Guild:
        """The guild's shell."""
        known = self.guilds.get(guild)
        if known is None:
            known = self.guilds[guild] = Guild(self, guild)
        return known

    def _see_to_tick(self) -> None:
        machine = self.machine
        if machine is None or not self.process.alive:
            return
        now_s = self.process.now_s()
        at_s = max(machine.wake_at_s(now_s), now_s + 0.001)
        if at_s < self._tick_at_s - 0.0005:
            self._tick_at_s = at_s
            self._tick_number += 1
            number = self._tick_number
            self.process.timer(at_s - now_s, lambda: self._tick(number))

    def _tick(self, number: int) -> None:
        if number != self._tick_number or self.machine is None:
            return
        self._tick_at_s = float("inf")
        self.carry_out(self.machine.tick(self.process.now_s()))

    # What goes on beside

    async def _sweep(self) -> None:
        """Compare the ends of logs, and note how far everything is complete."""
        streams = self.server.streams
        while True:
            await self.process.sleep(BEAT_S)
            try:
                ends, last = await self.link.ask(
                    lambda: ({guild: log.last for guild, log in streams.logs.items()}, streams.last)
                )
            except (NotConnected, Unanswered):
                continue
            complete = True
            for guild in self.guilds.values():
                if guild.taking:
                    guild.missing(ends[guild.id])
                    complete = complete and guild.sequence >= ends[guild.id]
                    if guild.sequence >= ends[guild.id]:
                        self.disk.complete[guild.id] = last
            self.disk.beat += 1

    async def _back_up(self) -> None:
        """Litestream: the replica follows the database, late."""
        path, backups = self._replica(), self.cluster.backups
        held: set[str] = set()
        while self.cluster.backed_up:
            await self.process.sleep(BACKUP_S * (0.5 + self.loop.random()))
            if not backups.up or self.disk.lost:
                continue
            if not backups.write(path, self.disk, self.loop.now_s):
                self.judge.broken("replica_path_shared", path)
            held, before = set(self.disk.rows), held
            for guild in sorted(before - held):
                self.cluster.check_sources(guild)

    async def _drain(self) -> None:
        machine = self.machine
        if machine is None:
            self.process.end()
            return
        now_s = self.process.now_s
        until_s = now_s() + DRAIN_S
        self.carry_out(machine.renew_soon(now_s()))
        while now_s() < until_s and machine.owned:
            await self.process.sleep(0.2)
        self.loop.seen[f"drained with {'no' if not machine.owned else 'some'} guilds left"] += 1
        self.carry_out(machine.stop(now_s()))
        until_s = now_s() + 5.0
        while now_s() < until_s and not machine.done:
            await self.process.sleep(0.05)
        if machine.lease.valid(now_s()):
            try:
                await self.link.write(storage.PODS, self.name, None, self._revision)
            except (NotConnected, Unanswered, WrongRevision):
                self.loop.seen["lease not given back"] += 1
        self.process.end()


def _held(entry: Entry | None) -> tuple[PodLease | Gone, int]:
    if entry is None:
        return "never", 0
    if isinstance(entry.value, PodLease):
        return entry.value, entry.revision
    return ("expired" if entry.expired else "left"), entry.revision
