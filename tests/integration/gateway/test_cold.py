"""A pod, its follower and their disks are gone: a survivor restores the replica in the bucket."""

import shutil
import sqlite3
from collections.abc import AsyncIterator
from contextlib import closing
from pathlib import Path

import pytest

from components.gateway.engine.pod_tables import BEAT
from contracts.ids import Incarnation, PodId
from contracts.records import StateSource
from tests.integration.gateway.test_handover import earlier, fence, holding, settled
from tests.integration.gateway.test_lifecycle import noted
from tests.integration.gateway.town import SPAM, PodProcess, Pods, Town, until
from tests.support.nats import RunningNats
from tests.support.s3 import Store, running_store


@pytest.fixture
async def backup(tmp_path: Path) -> AsyncIterator[dict[str, str]]:
    """A bucket, as a pod is told of it."""
    async with running_store(tmp_path / "s3") as store:
        yield variables(store)


def variables(store: Store) -> dict[str, str]:
    """The settings of the store as variables."""
    settings = store.settings
    return {
        "MODBOT_BACKUP_BUCKET": settings.bucket,
        "MODBOT_BACKUP_ENDPOINT": settings.endpoint,
        "MODBOT_BACKUP_ACCESS_KEY": settings.access_key,
        "MODBOT_BACKUP_SECRET_KEY": settings.secret_key,
        "MODBOT_BACKUP_LOOK_EVERY_S": "0.2",
    }


async def backed_up(pod: PodProcess) -> None:
    """What is committed now is in the bucket."""
    # Not by the lease, which says what was true when it was renewed, up to a second ago.
    beat = noted(pod.data, BEAT) + 2  # the next one may have begun before what we ask about

    async def there() -> bool:
        lease = await pod.lease()
        return lease is not None and lease.backed_up_beat >= beat

    await until(there)


async def lose(town: Town, pod: PodProcess) -> StateSource:
    """``kill -9``, its disk too, and the leader's fence; what is left is in the bucket."""
    source = StateSource(
        pod=PodId(pod.name),
        incarnation=Incarnation(pod.incarnation),
        data=(pod.data / "identity").read_text(encoding="ascii").strip(),
        replica=f"pods/{pod.name}/{pod.incarnation}",
    )
    await pod.kill()
    await wipe(pod)
    await fence(town, pod)
    return source


async def wipe(pod: PodProcess) -> None:
    """The disk of a pod that has ended is gone."""

    async def gone() -> bool:
        shutil.rmtree(pod.data, ignore_errors=True)  # Litestream takes a moment to end
        return not pod.data.exists()

    await until(gone)


async def test_11_a_survivor_restores_what_was_backed_up_and_replays_the_rest(
    town: Town, pods: Pods, backup: dict[str, str]
) -> None:
    first, second = pods.make("gateway-0", **backup), pods.make("gateway-1", **backup)
    await first.start()
    await town.assign(first.name, first.incarnation)
    await town.served()
    talker, spammer = (member.id for member in town.info.members[:2])
    for number in range(20):
        await town.say(f"message {number}", talker)
    await backed_up(first)
    spam = await town.say(SPAM, spammer)
    await until(lambda: settled(town))
    source = await lose(town, first)
    late = await town.say("nobody heard this", talker)
    assert late
    await second.start()
    before = [earlier(first, town.epoch)]
    await town.assign(
        second.name, second.incarnation, cause="restored", before=before, sources=[source]
    )
    assert (await town.served()).pod == second.name
    assert (await holding(town, second, "own")).source == "replica"
    await until(lambda: settled(town))
    assert len(await town.rest("DELETE", f"/messages/{spam}")) == 1
    assert await second.stop() == 0
    await town.check_rows(second.data)


async def test_11_a_second_death_during_the_restore_loses_nothing(
    town: Town, pods: Pods, backup: dict[str, str]
) -> None:
    first, second = pods.make("gateway-0", **backup), pods.make("gateway-1", **backup)
    third = pods.make("gateway-2", **backup)
    await first.start()
    await town.assign(first.name, first.incarnation)
    await town.served()
    for number in range(20):
        await town.say(f"message {number}")
    await backed_up(first)
    sources = [await lose(town, first)]
    before = [earlier(first, town.epoch)]
    await second.start()
    await town.assign(
        second.name, second.incarnation, cause="restored", before=before, sources=sources
    )
    before.append(earlier(second, town.epoch))
    sources.append(await lose(town, second))  # in the middle of it
    await third.start()
    await town.assign(
        third.name, third.incarnation, cause="restored", before=before, sources=sources
    )
    assert (await town.served()).pod == third.name
    assert (await holding(town, third, "own")).source == "replica"
    assert await third.stop() == 0
    await town.check_rows(third.data)


async def test_an_older_source_is_taken_when_the_log_does_not_continue_the_newest(
    town: Town, pods: Pods, backup: dict[str, str], nats_server: RunningNats
) -> None:
    first, second = pods.make("gateway-0", **backup), pods.make("gateway-1", **backup)
    third = pods.make("gateway-2", **backup)
    await first.start()
    await town.assign(first.name, first.incarnation)
    await town.served()
    await backed_up(first)
    behind = await lose(town, first)
    before = [earlier(first, town.epoch)]
    await second.start()
    await town.assign(
        second.name, second.incarnation, cause="restored", before=before, sources=[behind]
    )
    await town.served()
    written = await town.put_settings("a write", spam={"timeout_s": 61})
    end = (await town.log())[-1].sequence
    await backed_up(second)
    before.append(earlier(second, town.epoch))
    whole = await lose(town, second)
    await purge(nats_server, end + 1)
    await third.start()
    await town.assign(
        third.name, third.incarnation, cause="restored", before=before, sources=[whole, behind]
    )
    assert (await town.served()).pod == third.name
    assert (await holding(town, third, "own")).source == "replica"
    assert (await town.ask("settings.get"))["version"] == written["version"]
    assert f"the replica {behind.replica} has is complete only up to" in third.words()
    assert await third.stop() == 0


async def test_rows_that_the_log_does_not_continue_are_not_replaced_by_older_ones(
    town: Town, pods: Pods, backup: dict[str, str]
) -> None:
    first = pods.make("gateway-0", **backup)
    await first.start()
    await town.assign(first.name, first.incarnation)
    await town.served()
    await town.put_settings("a write", spam={"timeout_s": 61})
    await backed_up(first)
    assert await first.stop() == 0
    source = StateSource(
        pod=PodId(first.name),
        incarnation=Incarnation(first.incarnation),
        data=(first.data / "identity").read_text(encoding="ascii").strip(),
        replica=f"pods/{first.name}/{first.incarnation}",
    )
    before = [earlier(first, town.epoch)]
    # As if the log had lost its end: what the pod has applied lies beyond it.
    ahead = "UPDATE guilds SET sequence = sequence + 1000 RETURNING sequence"
    with closing(sqlite3.connect(first.data / "gateway.db", isolation_level=None)) as database:
        (sequence,) = database.execute(ahead).fetchone()
    await first.start()
    await town.assign(
        first.name, first.incarnation, cause="restarted", before=before, sources=[source]
    )

    async def refused() -> str | None:
        lease = await first.lease()
        return lease.refused.get(town.guild) if lease is not None else None

    assert "those that are here, at" in await until(refused)
    assert await first.stop() == 0
    with closing(sqlite3.connect(first.data / "gateway.db")) as database:
        assert database.execute("SELECT sequence FROM guilds").fetchall() == [(sequence,)]


async def purge(nats: RunningNats, first: int) -> None:
    """What is below has expired."""
    provisioner = await nats.connect("provisioner")
    await provisioner.ask("$JS.API.STREAM.PURGE.INPUTS", f'{{"seq": {first}}}'.encode())
