"""Wires a gateway pod together, runs it, and takes it down in order. The only place that wires.

`main` reads the environment; `serve` takes settings and is what tests run. Both return when
``stop`` is set and everything under way is finished and reported; they raise when the pod must
end at once (`LeaseLost`, `EngineFailed`), and a supervisor starts it again.
"""

import asyncio
import logging
import os
import sys
import threading
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path
from typing import Final

import msgspec

from components.bus.connection import Bus, connect
from components.bus.leases import LeaseLost
from components.bus.settings import BusSettings
from components.discord_api import DiscordSettings, point_at
from components.gateway.engine.inputs import ENGINE_VERSION
from components.gateway.settings import (
    BACKUP_PREFIX,
    PREFIX,
    BackupSettings,
    GatewaySettings,
    check,
    check_backup,
)
from components.gateway.shell.applier import Applier
from components.gateway.shell.backup import Backup
from components.gateway.shell.data_folder import DataFolder
from components.gateway.shell.effects.lanes import Outlets
from components.gateway.shell.effects.limits import InvalidRequests, RateShare
from components.gateway.shell.effects.rest import Rest
from components.gateway.shell.effects.shares import Shares
from components.gateway.shell.gate import Gate
from components.gateway.shell.guild import Services
from components.gateway.shell.logbook import Logbook
from components.gateway.shell.ownership import Ownership
from components.gateway.shell.pod import Pod, PodLoad
from components.gateway.shell.sweep import Sweep
from components.gateway.shell.timers import Timers
from components.process import exits
from components.process.clock import steady_s, wall_ms
from components.process.service import start_service
from components.process.settings import load
from components.process.stopping import unless_stopped
from contracts.ids import PodId

log = logging.getLogger(__name__)

STOP_WITHIN_S: Final = 8.0
"""What is under way when the pod stops has this long; what is left is settled at the next start."""
SWITCH_INTERVAL_S: Final = 0.0005
"""The applier's thread gets its turn sooner than after Python's 5 ms when the loop is busy."""


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
    replica = start_service("gateway")
    settings = PodSettings(
        pod=PodId(replica),
        gateway=check(load(GatewaySettings, PREFIX)),
        bus=load(BusSettings, "NATS"),
        discord=load(DiscordSettings, "DISCORD"),
        backup=check_backup(load(BackupSettings, BACKUP_PREFIX)),
        on_lease_lost=_end_soon,
    )
    sys.setswitchinterval(SWITCH_INTERVAL_S)
    await serve(stop, settings)


async def serve(stop: asyncio.Event, settings: PodSettings) -> None:
    """Run a pod until ``stop``."""
    point_at(settings.discord)
    folder = DataFolder(Path(settings.gateway.data))
    data = await unless_stopped(stop, folder.lock())
    applier = Applier(folder.database)
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
        )
        lease = self._pod.lease
        self._gate = Gate(bus, lambda: lease.valid)
        self._share = RateShare()
        self._invalid = InvalidRequests(gateway.invalid_limit)
        self._rest = Rest(
            self._gate,
            lambda: lease.remaining_s,
            self._share,
            self._invalid,
            gateway.rest_in_flight,
        )

    async def run(self, stop: asyncio.Event) -> None:
        await unless_stopped(stop, self._pod.join())
        self._rest.name(self._pod.id, self._pod.incarnation)
        try:
            async with asyncio.TaskGroup() as tasks:
                await self._run_in(tasks, stop)
        finally:
            self._gate.shut()
            # Its guilds are closed and its effects ended: others may have the lease.
            await self._applier.stop()
            if self._pod.lease.valid:
                await self._pod.leave()
            await self._rest.close()

    async def _keep_lease(self, renewed: Callable[[int], None]) -> None:
        try:
            await self._pod.keep(renewed, state="serving")
        except LeaseLost:
            self._settings.on_lease_lost()
            raise

    async def _run_in(self, tasks: asyncio.TaskGroup, stop: asyncio.Event) -> None:
        timers = Timers(self._bus, self._gate)
        logbook = Logbook(self._bus, self._applier)
        services = Services(
            pod=self._settings.pod,
            incarnation=self._pod.incarnation,
            bus=self._bus,
            gate=self._gate,
            applier=self._applier,
            outlets=Outlets(
                bus=self._bus,
                gate=self._gate,
                rest=self._rest,
                applier=self._applier,
                spawn=tasks.create_task,
                wall_ms=wall_ms,
            ),
            timers=timers,
            logbook=logbook,
            spawn=tasks.create_task,
            opening=asyncio.Semaphore(self._settings.gateway.opening_at_once),
        )
        ownership = Ownership(services)
        sweep = Sweep(
            self._bus,
            self._gate,
            ownership,
            logbook,
            self._settings.gateway.sweep_every_s,
        )
        self._pod.load = _load_of(ownership, self._applier, self._share, self._invalid)
        self._share.on_news = self._pod.renew_soon
        shares = Shares(
            self._bus,
            self._settings.pod,
            self._pod.incarnation,
            self._share,
            self._invalid,
            self._settings.gateway.rest_per_s,
        )

        async def confirm(link: int) -> None:
            await ownership.read_again(link)
            sweep.soon()

        def renewed(link: int) -> None:
            self._rest.extend()
            if not self._gate.confirmed(link):
                tasks.create_task(confirm(link))

        async def lost() -> None:
            self._gate.link_lost()
            ownership.link_lost()

        async def connected() -> None:
            self._pod.renew_soon()

        self._bus.on_lost(lost)
        self._bus.on_connected(connected)
        self._bus.on_slow(lambda subject: sweep.soon())
        loops = [
            tasks.create_task(self._keep_lease(renewed)),
            tasks.create_task(ownership.follow()),
            tasks.create_task(sweep.run()),
            tasks.create_task(timers.run()),
            tasks.create_task(shares.run()),
            tasks.create_task(self._rest.login(self._settings.discord.token)),
            tasks.create_task(_watch(self._applier)),
        ]
        if self._settings.backup.bucket:
            backup = Backup(self._settings.backup, self._folder.database, self._pod.replica)
            loops.append(tasks.create_task(backup.run()))
        await stop.wait()
        log.info("stopping")
        self._pod.draining()
        try:
            async with asyncio.timeout(STOP_WITHIN_S):
                await ownership.stop()
        except TimeoutError:
            log.warning("something under way did not end in time; the next start settles it")
        self._gate.shut()
        await self._applier.stop()
        for loop in loops:
            loop.cancel()


def _end_soon() -> None:
    """A pod without a lease is of no use to anyone: end even if taking it down gets stuck."""
    last_resort = threading.Timer(STOP_WITHIN_S, os._exit, (exits.CRASHED,))
    last_resort.daemon = True
    last_resort.start()


async def _watch(applier: Applier) -> None:
    await applier.failed


def _load_of(
    ownership: Ownership, applier: Applier, share: RateShare, invalid: InvalidRequests
) -> Callable[[], PodLoad]:
    """What the lease tells; the rate is that since the last renewal."""
    then, count = steady_s(), applier.applied

    def load_now() -> PodLoad:
        nonlocal then, count
        now, applied = steady_s(), applier.applied
        rate = (applied - count) / max(0.001, now - then)
        then, count = now, applied
        wanted, kept, revision = share.report()
        return PodLoad(
            guilds=ownership.open_count,
            applied_per_s=rate,
            rest_wanted_per_s=wanted,
            rest_share_per_s=kept,
            rest_share_revision=revision,
            invalid_requests=invalid.count,
        )

    return load_now
