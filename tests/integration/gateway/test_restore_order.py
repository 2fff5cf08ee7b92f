"""Which guilds of a restored replica are taken in first."""

import asyncio
import sqlite3
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

from components.bus.buckets import Bucket
from components.gateway.engine.transfer import Batch
from components.gateway.shell.applier import Applier
from components.gateway.shell.building import Rows
from components.gateway.shell.departures import Departures
from components.gateway.shell.logbook import Logbook
from components.gateway.shell.replicas import Replicas
from components.gateway.shell.snapshots import Snapshots
from components.ownership.evidence import Evidence
from components.simulator.bootstrap import Simulator
from components.simulator.client import SimulatorControl
from contracts import storage
from contracts.ids import Incarnation, PodId
from contracts.message import decode
from contracts.records import Assignment, Holder
from tests.integration.gateway.conftest import make_towns
from tests.integration.gateway.test_cold import backed_up, lose, variables
from tests.integration.gateway.test_handover import earlier
from tests.integration.gateway.town import Pods, Town, until
from tests.support.nats import RunningNats
from tests.support.s3 import running_store

T = TypeVar("T")

ME = Holder(pod=PodId("survivor"), incarnation=Incarnation("survivor-1"))


class Noting(Applier):
    """An applier that keeps the order in which guilds were taken in."""

    order: list[str]

    async def on_database(
        self, run: Callable[[sqlite3.Connection], T], *, writes: bool = False
    ) -> T:
        result = await super().on_database(run, writes=writes)
        batch = getattr(run, "__self__", None)
        if isinstance(batch, Batch) and batch.last:
            self.order.append(batch.rows_of.guild)
        return result


async def test_guilds_that_have_waiting_input_are_taken_in_before_quiet_ones(
    discord: Simulator,
    control: SimulatorControl,
    nats_server: RunningNats,
    pods: Pods,
    tmp_path: Path,
) -> None:
    towns = await make_towns(8, discord, control, nats_server)
    quiet, busy = towns[:4], towns[4:]
    async with running_store(tmp_path / "s3") as store:
        lost = await pods.start(**variables(store))
        for town in towns:
            await town.assign(lost.name, lost.incarnation)
            await town.served()
        await backed_up(lost)
        source = await lose(towns[0], lost)
        for town in busy:
            await town.say("is anybody there?")
        applier = Noting(tmp_path / "survivor.db")
        applier.order = []
        await applier.start()
        bus = await nats_server.connect("gateway")
        logbook = Logbook(bus, applier)
        replicas = Replicas(store.settings, tmp_path / "replicas")
        snapshots = Snapshots(
            bus,
            applier,
            tmp_path / "survivor.db",
            tmp_path / "snapshots",
            Departures(Evidence()),
        )
        rows = Rows(applier, logbook, snapshots, replicas, ME)

        async def assigned(town: Town) -> Assignment:
            before = [earlier(lost, town.epoch)]
            await town.assign(
                ME.pod, ME.incarnation, cause="restored", before=before, sources=[source]
            )
            entry = await Bucket(town.config, storage.GUILDS).get(town.guild)
            assert entry is not None
            return decode(entry.value or b"", Assignment)

        try:
            assignments = [await assigned(town) for town in towns]
            turns = rows._importing
            # Somebody has the turn until all have come, so that the order is theirs to decide.
            async with turns.turn(first=True):
                bringing = [asyncio.create_task(rows.bring(one)) for one in assignments]

                async def all_wait() -> bool:
                    assert not any(task.done() for task in bringing)
                    return len(turns._first) + len(turns._rest) == len(towns)

                await until(all_wait)
                assert applier.order == []
            found = await asyncio.gather(*bringing)
            assert {one.source for one in found} == {"replica"}
            assert set(applier.order[: len(busy)]) == {town.guild for town in busy}
            assert set(applier.order[len(busy) :]) == {town.guild for town in quiet}
            assert len(applier.order) == len(towns)
        finally:
            await replicas.close()
            await applier.stop()
