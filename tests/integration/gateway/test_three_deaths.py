"""A pod, its follower and whoever restores them die one after another, their disks too.

What is acknowledged is still there, and every guild has an owner. The moments are random; a
failure names their seed, and ``MODBOT_TEST_SEED`` repeats it.
"""

import asyncio
import os
import random
from pathlib import Path

from components.bus.errors import BusError
from components.simulator.bootstrap import Simulator
from components.simulator.client import SimulatorControl
from contracts.errors import ServiceError
from contracts.records import Assignment
from tests.integration.gateway.conftest import make_towns
from tests.integration.gateway.fleet import Fleet, fleet
from tests.integration.gateway.test_cold import backed_up, variables, wipe
from tests.integration.gateway.town import PodProcess, Pods, Town, until
from tests.support.nats import RunningNats
from tests.support.postgres import RunningPostgres
from tests.support.s3 import running_store

GUILDS = 16
LEASE_TTL_S = 5
"""None of the four is started again: the one that is left must keep its lease, however busy the
machine is."""
PROMOTION_S = 0.4
"""About as long as it takes from a kill to the last answer of a follower, and some more."""


class Writer:
    """Writes to one guild for ever and keeps what was acknowledged."""

    def __init__(self, town: Town) -> None:
        self.town = town
        self.acknowledged = 0

    async def run(self) -> None:
        number = 0
        while True:
            number += 1
            while True:
                try:
                    reply = await self.town.put_settings(
                        f"write-{number}", spam={"timeout_s": 60 + number}
                    )
                except (BusError, ServiceError):
                    await asyncio.sleep(0.02)  # nobody owns it for the moment
                else:
                    break
            # Each version is one write more: none was lost, none was done twice.
            assert reply["version"] == number, self.town.guild
            self.acknowledged = number
            await asyncio.sleep(0.05)


async def lose(running: Fleet, pod: PodProcess) -> None:
    """``kill -9``, and the disk is gone. Config finds out by itself."""
    await pod.kill()
    await wipe(pod)
    running.pods.remove(pod)


async def restoring(running: Fleet, of: set[str]) -> tuple[PodProcess, str]:
    """Wait until a pod has begun to restore a replica of these pods, and is not done with it:
    Litestream writes to its scratch. Returns the pod and what it logged of it."""

    async def begun() -> tuple[PodProcess, str] | None:
        for pod in running.pods:
            for folder in (pod.data / "replicas").glob("pods_*"):
                _, name, incarnation = folder.name.split("_")
                words = f"restoring pods/{name}/{incarnation}: "
                if name in of and words in pod.words():
                    return pod, words
        return None

    found: tuple[PodProcess, str] = await until(begun, 30, 0.002)
    return found


async def test_a_pod_its_follower_and_a_third_that_restores_die_and_nothing_is_lost(
    discord: Simulator,
    control: SimulatorControl,
    nats_server: RunningNats,
    postgres_server: RunningPostgres,
    pods: Pods,
    tmp_path: Path,
) -> None:
    seed = int(os.environ.get("MODBOT_TEST_SEED") or random.randrange(2**32))
    print(f"MODBOT_TEST_SEED={seed}")
    dice = random.Random(seed)
    towns = await make_towns(GUILDS, discord, control, nats_server, members=1)
    async with (
        running_store(tmp_path / "s3") as store,
        fleet(
            nats_server, postgres_server, pods, 4, variables(store), lease_ttl_s=LEASE_TTL_S
        ) as running,
    ):
        await running.settle(towns)
        writers = [Writer(town) for town in towns]
        writing = [asyncio.create_task(writer.run()) for writer in writers]

        async def all_written() -> bool:
            return all(writer.acknowledged >= 3 for writer in writers)

        await until(all_written)
        await asyncio.gather(*(backed_up(pod) for pod in running.pods))
        chosen = await running.assignment(dice.choice(towns))
        assert chosen.follower is not None
        owner, follower = running.pod(chosen.pod), running.pod(chosen.follower.pod)
        both = {owner.name, follower.name}
        before = await running.cluster.assignments()
        orphans = [
            guild for guild, owned in before.items() if {owned.pod, _follower(owned)} <= both
        ]
        await lose(running, owner)
        await asyncio.sleep(dice.uniform(0, PROMOTION_S))  # at a random moment of the promotion
        await lose(running, follower)
        third, words = await restoring(running, both)
        await asyncio.sleep(dice.uniform(0, 0.1))
        await lose(running, third)
        assert words in third.words()
        (last,) = running.pods

        async def all_assigned() -> bool:
            owned = await running.cluster.assignments()
            return all(assignment.pod == last.name for assignment in owned.values())

        await until(all_assigned, 30)
        for town in towns:
            await running.answers(town)
        reached = [writer.acknowledged for writer in writers]

        async def all_written_again() -> bool:
            pairs = zip(writers, reached, strict=True)
            return all(writer.acknowledged >= upto + 2 for writer, upto in pairs)

        await until(all_written_again, 30)
        for task in writing:
            task.cancel()
        ended = await asyncio.gather(*writing, return_exceptions=True)
        assert [one for one in ended if not isinstance(one, asyncio.CancelledError)] == []
        for writer in writers:
            settings = await writer.town.ask("settings.get")
            assert settings["version"] >= writer.acknowledged
        after = await running.cluster.assignments()
        # Those of which no pod was left: from the bucket, by whoever was left in the end, or by
        # the third while the last one was its follower already.
        assert {after[guild].cause for guild in orphans} <= {"restored", "promoted"}
        assert "restored" in {after[guild].cause for guild in orphans}
        assert any(f"restored pods/{name}/" in last.words() for name in both)
        assert await last.stop() == 0
        for town in towns:
            await town.check_rows(last.data)


def _follower(owned: Assignment) -> str:
    return owned.follower.pod if owned.follower is not None else ""
