"""Wires a gateway pod together, runs it, and takes it down in order. The only place that wires.

`main` reads the environment; `serve` takes settings and is what tests run. Both return when
``stop`` is set and everything under way is finished and reported; they raise when the pod must
end at once (`LeaseLost`, `EngineFailed`), and a supervisor starts it again.
"""

import asyncio
import logging
import os
import sqlite3
import threading
from collections.abc import Awaitable, Callable, Coroutine
from importlib.metadata import version
from pathlib import Path
from typing import Any, Final

import msgspec
from nats.aio.msg import Msg

from components.bus.connection import Bus, connect
from components.bus.errors import BusError
from components.bus.leases import LeaseLost
from components.bus.settings import BusSettings
from components.discord_api import DiscordSettings, point_at
from components.gateway.engine.engine import Engine
from components.gateway.engine.inputs import ENGINE_VERSION
from components.gateway.engine.transfer import unfinished_imports
from components.gateway.ownership.guild import Me
from components.gateway.ownership.pod import PodMachine
from components.gateway.settings import (
    BACKUP_PREFIX,
    PREFIX,
    BackupSettings,
    GatewaySettings,
    check,
    check_backup,
)
from components.gateway.shell.applier import Applier
from components.gateway.shell.attempts import Tries
from components.gateway.shell.backlog import Backlog
from components.gateway.shell.backup import Backup
from components.gateway.shell.bucket import ReplicaBucket
from components.gateway.shell.building import Rows
from components.gateway.shell.data_folder import DataFolder
from components.gateway.shell.departures import Departures
from components.gateway.shell.effects.lanes import Outlets
from components.gateway.shell.effects.limits import InvalidRequests
from components.gateway.shell.effects.rest import Rest
from components.gateway.shell.gate import Gate
from components.gateway.shell.guild import Services
from components.gateway.shell.handoffs import Handoffs
from components.gateway.shell.loads import Loads
from components.gateway.shell.log_clock import LogClock
from components.gateway.shell.logbook import Logbook
from components.gateway.shell.measures import measure_backup, measure_work
from components.gateway.shell.ownership import Ownership
from components.gateway.shell.pod import Pod, PodLoad
from components.gateway.shell.pruning import Pruning
from components.gateway.shell.replicas import Replicas
from components.gateway.shell.sights import Sights
from components.gateway.shell.snapshots import Snapshots
from components.gateway.shell.sweep import Sweep
from components.gateway.shell.tenure import Outputs
from components.gateway.shell.timers import Timers
from components.gateway.shell.turns import Turns
from components.process import exits
from components.process.clock import steady_s
from components.process.service import service
from components.process.settings import load
from components.process.stopping import unless_stopped
from components.sharing.place import Shares
from components.sharing.slots import RateShare
from components.telemetry.traces import carry
from contracts import subjects
from contracts.ids import GuildId, PodId, Sequence
from contracts.message import encode
from contracts.records import Holder, PodPing

log = logging.getLogger(__name__)

STOP_WITHIN_S: Final = 8.0
"""What is under way when the pod stops has this long; what is left is settled at the next start."""
PROMOTING_AT_ONCE: Final = 16
"""Guilds that are opened side by side after a takeover. Enough to hide the way to the log and back;
with all of them at once the first one is served when the last one is."""
CALM_AT_ONCE: Final = 1
"""Of these, guilds that nobody waits for: they leave the processor to what those wait for that
somebody does wait for."""


class PodSettings(msgspec.Struct, frozen=True, kw_only=True):
    """Everything a pod is told."""

    pod: PodId
    gateway: GatewaySettings
    bus: BusSettings
    discord: DiscordSettings
    backup: BackupSettings
    on_lease_lost: Callable[[], None] = lambda: None
    """Called when the lease is lost, before anything is taken down."""


async def main(stop: asyncio.Event) -> None:
    """Run a pod with settings from the environment until ``stop``."""
    async with service("gateway") as replica:
        settings = PodSettings(
            pod=PodId(replica),
            gateway=check(load(GatewaySettings, PREFIX)),
            bus=load(BusSettings, "NATS"),
            discord=load(DiscordSettings, "DISCORD"),
            backup=check_backup(load(BackupSettings, BACKUP_PREFIX)),
            on_lease_lost=_end_soon,
        )
        await serve(stop, settings)


async def serve(stop: asyncio.Event, settings: PodSettings) -> None:
    """Run a pod until ``stop``."""
    point_at(settings.discord)
    folder = DataFolder(Path(settings.gateway.data))
    data = await unless_stopped(stop, folder.lock())
    applier = Applier(folder.database, checkpoints=not settings.backup.bucket)
    try:
        await applier.start()
        connecting = connect(settings.bus, user="gateway", name=settings.pod)
        bus = await unless_stopped(stop, connecting)
        try:
            await _Running(settings, folder, data, applier, bus).run(stop)
        finally:
            await bus.close()
    finally:
        await applier.stop()
        folder.unlock()


class _Running:
    """A pod between its connection to the bus and the end of it."""

    def __init__(
        self, settings: PodSettings, folder: DataFolder, data: str, applier: Applier, bus: Bus
    ) -> None:
        gateway = settings.gateway
        self._settings = settings
        self._folder = folder
        self._data = data
        self._applier = applier
        self._bus = bus
        self._pod = Pod(
            bus,
            settings.pod,
            data=data,
            capacity=gateway.capacity,
            version=version("modbot"),
            engine_version=ENGINE_VERSION,
            ttl_s=gateway.lease_ttl_s,
            margin_s=gateway.lease_margin_s,
            process=gateway.process,
            zone=gateway.zone,
            backed_up=bool(settings.backup.bucket),
        )
        self._share = RateShare()
        self._invalid = InvalidRequests(gateway.invalid_limit)

    async def run(self, stop: asyncio.Event) -> None:
        on_disk = await self._applier.on_database(_clean_up, writes=True)
        await unless_stopped(stop, self._pod.join())
        gateway, lease = self._settings.gateway, self._pod.lease
        me = Me(
            pod=self._pod.id,
            incarnation=self._pod.incarnation,
            data=self._data,
            replica=self._pod.replica,
        )
        machine = PodMachine(
            me,
            ttl_s=gateway.lease_ttl_s,
            margin_s=gateway.lease_margin_s,
            leader_ttl_s=gateway.leader_ttl_s,
            on_disk=on_disk,
        )
        machine.lease.renewed(lease.renewed_at_s)
        gate = Gate(self._bus, machine)
        rest = Rest(
            gate, lambda: lease.remaining_s, self._share, self._invalid, gateway.rest_in_flight
        )
        rest.name(me.pod, me.incarnation)
        try:
            async with asyncio.TaskGroup() as tasks:
                await self._run_in(tasks, stop, machine, gate, rest)
        finally:
            machine.stop(steady_s())
            # Its guilds are closed and its effects ended: others may have the lease.
            await self._applier.stop()
            if lease.valid:
                await self._pod.leave()
            await rest.close()

    async def _run_in(
        self,
        tasks: asyncio.TaskGroup,
        stop: asyncio.Event,
        machine: PodMachine,
        gate: Gate,
        rest: Rest,
    ) -> None:
        gateway, me, bus = self._settings.gateway, machine.me, self._bus
        under_way: set[asyncio.Task[None]] = set()

        def spawn(work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
            task = tasks.create_task(work)
            under_way.add(task)
            task.add_done_callback(under_way.discard)
            return task

        clock = LogClock()
        timers = Timers(bus, gate, clock)
        logbook = Logbook(bus, self._applier)
        await logbook.load()
        backlog = Backlog(bus, self._folder.path)
        spawn(backlog.read(list(machine.guilds), logbook.mark))
        departures = Departures(machine.evidence)
        snapshots = Snapshots(
            bus,
            self._applier,
            self._folder.database,
            self._folder.path / "snapshots",
            departures,
        )
        outputs = Outputs(
            pod=me.pod,
            bus=bus,
            gate=gate,
            applier=self._applier,
            outlets=Outlets(
                bus=bus,
                gate=gate,
                rest=rest,
                applier=self._applier,
                spawn=spawn,
                wall_ms=clock,
            ),
            timers=timers,
            snapshots=snapshots,
            spawn=spawn,
        )
        replicas = (
            Replicas(self._settings.backup, self._folder.path / "replicas")
            if self._settings.backup.bucket
            else None
        )
        holder = Holder(pod=me.pod, incarnation=me.incarnation)
        services = Services(
            incarnation=me.incarnation,
            outputs=outputs,
            rows=Rows(self._applier, logbook, snapshots, replicas, holder, gateway.opening_at_once),
            logbook=logbook,
            backlog=backlog,
            clock=clock,
            opening=asyncio.Semaphore(gateway.opening_at_once),
            promoting=Turns(PROMOTING_AT_ONCE, calm=CALM_AT_ONCE),
            tries=Tries(),
        )
        handoffs = Handoffs(bus, me.pod, me.incarnation)
        ownership = Ownership(services, machine, gate, self._pod, handoffs)
        sights = Sights(bus, ownership, handoffs, departures, gateway.lease_ttl_s)
        sweep = Sweep(bus, gate, ownership, logbook, gateway.sweep_every_s)
        ownership.on_renewed = rest.extend
        ownership.compare_soon = sweep.some_soon
        ownership.compare_all = sweep.soon
        backup = (
            Backup(self._settings.backup, self._folder.database, self._pod.replica)
            if self._settings.backup.bucket
            else None
        )
        measure_work(bus, ownership, self._applier, logbook, self._share, self._invalid)
        pruning: Pruning | None = None
        if backup is not None:
            logbook.on_beat = backup.replication.noted
            pruning = Pruning(
                bus,
                ReplicaBucket(self._settings.backup),
                me.pod,
                self._pod.replica,
                retention_h=backup.retention_h,
                every_s=self._settings.backup.prune_every_s,
            )
            measure_backup(backup, pruning)
        self._pod.load = _load_of(
            ownership, self._applier, self._share, self._invalid, logbook, backup, pruning
        )
        self._share.on_news = ownership.renew_soon
        shares = Shares(
            bus,
            me.pod,
            me.incarnation,
            self._share,
            gateway.rest_per_s,
            heard=lambda record: self._invalid.publish(record.invalid_requests, len(record.shares)),
        )
        loads = Loads(bus, me, self._applier, self._folder.database, lambda: ownership.followed)
        bus.on_lost(ownership.disconnected)
        bus.on_connected(ownership.connected)
        bus.on_slow(lambda subject: sweep.soon())
        await bus.listen(subjects.ping(me.pod), _answer_pings(bus, me))

        async def asked_for_rows(message: Msg) -> None:
            spawn(snapshots.answer(message))

        await bus.listen(subjects.pod_snapshots(me.pod), asked_for_rows)
        await bus.listen(subjects.pod_released(me.pod), sights.hear_released)
        self._pod.state("serving")
        loops = [
            tasks.create_task(loop)
            for loop in (
                ownership.run(),
                self._until_lost(ownership),
                *sights.watches(),
                handoffs.run(),
                sweep.run(),
                timers.run(),
                shares.run(),
                loads.run(),
                rest.login(self._settings.discord.token),
                _watch(self._applier),
                *((backup.run(),) if backup is not None else ()),
                *((pruning.run(),) if pruning is not None else ()),
            )
        ]
        await stop.wait()
        await self._drain(ownership, sights)
        await self._applier.stop()
        if replicas is not None:
            await replicas.close()
        for task in (*loops, *under_way):
            task.cancel()

    async def _drain(self, ownership: Ownership, sights: Sights) -> None:
        """Serve until config has moved every guild, or for the grace period; then let go."""
        log.info("stopping")
        self._pod.state("draining")
        ownership.renew_soon()
        try:
            async with asyncio.timeout(self._settings.gateway.grace_s):
                while ownership.machine.owned and sights.others_serve:
                    await ownership.changed(within_s=1.0)
        except TimeoutError:
            log.warning("the grace period is over")
        left = len(ownership.machine.owned)
        try:
            async with asyncio.timeout(STOP_WITHIN_S):
                await ownership.stop()
        except TimeoutError:
            log.warning("something under way did not end in time; the next start settles it")
        log.info("left with %d guilds", left)

    async def _until_lost(self, ownership: Ownership) -> None:
        try:
            await ownership.ended
        except LeaseLost:
            self._applier.deliver_no_more()  # everything that would act on it ends with this task
            self._settings.on_lease_lost()
            raise


def _clean_up(database: sqlite3.Connection) -> list[GuildId]:
    """Remove what an import left that never ended; returns the guilds whose rows are here."""
    engine = Engine(database)
    for guild in unfinished_imports(database):
        engine.drop(guild)
    return engine.guilds()


def _answer_pings(bus: Bus, me: Me) -> Callable[[Msg], Awaitable[None]]:
    """A pod that answers is alive, whatever its lease looks like from outside."""
    answer = encode(PodPing(pod=me.pod, incarnation=me.incarnation))

    async def pong(message: Msg) -> None:
        if message.reply:
            try:
                await bus.say(message.reply, answer, carry())
            except BusError as error:
                log.info("a ping is not answered: %s", error)

    return pong


def _end_soon() -> None:
    """A pod without a lease is of no use to anyone: end even if taking it down gets stuck."""
    last_resort = threading.Timer(STOP_WITHIN_S, os._exit, (exits.CRASHED,))
    last_resort.daemon = True
    last_resort.start()


async def _watch(applier: Applier) -> None:
    await applier.failed


def _load_of(
    ownership: Ownership,
    applier: Applier,
    share: RateShare,
    invalid: InvalidRequests,
    logbook: Logbook,
    backup: Backup | None,
    pruning: Pruning | None,
) -> Callable[[], PodLoad]:
    """What the lease tells; the rate is that since the last renewal."""
    then, count = steady_s(), applier.applied

    def load_now() -> PodLoad:
        nonlocal then, count
        now, applied = steady_s(), applier.applied
        rate = (applied - count) / max(0.001, now - then)
        then, count = now, applied
        wanted, kept, revision = share.report()
        replication = backup.replication if backup is not None else None
        return PodLoad(
            guilds=ownership.open_count,
            applied_per_s=rate,
            rest_wanted_per_s=wanted,
            rest_share_per_s=kept,
            rest_share_revision=revision,
            invalid_requests=invalid.count,
            beat=logbook.beat,
            complete_up_to=logbook.mark,
            backed_up_beat=replication.backed_up_beat if replication else 0,
            backed_up_to=replication.backed_up_to if replication else Sequence(0),
            backup_lag_s=replication.worst_lag_s() if replication else 0.0,
            backup_retention_h=backup.retention_h if backup else 0.0,
            pruning_looked_ms=pruning.looked_ms if pruning else 0,
            pruned_replicas=pruning.replicas if pruning else 0,
            parked=ownership.parked,
            refused=ownership.refused,
        )

    return load_now
