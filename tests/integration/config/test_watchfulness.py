"""What goes wrong unnoticed becomes an alarm: in the status, and once in the leader's log."""

import asyncio
import json
import logging
import time
from collections.abc import Callable
from typing import Any

import pytest

from components.bus.stream_info import stream_info
from components.config.watchfulness import WATCHED
from contracts import storage, subjects
from contracts.ids import GuildId, Sequence
from contracts.operations import Alarm, ClusterStatus, GuildList, GuildsQuery
from tests.integration.config.cluster import Cluster
from tests.support.nats import RunningCluster

KIB = 1024


async def until_alarms(cluster: Cluster, *names: str, within_s: float = 10) -> list[Alarm]:
    """Wait until exactly these alarms stand."""
    status: ClusterStatus | None = None
    try:
        async with asyncio.timeout(within_s):
            while True:
                status = await cluster.status_when_ready()
                if sorted(alarm.name for alarm in status.alarms) == sorted(names):
                    return status.alarms
                await asyncio.sleep(0.05)
    except TimeoutError:
        raise AssertionError(f"not {names}: {status and status.alarms}") from None


async def change_inputs(cluster: Cluster, **changes: Any) -> None:
    wanted = storage.inputs_stream() | changes
    subject = f"$JS.API.STREAM.UPDATE.{storage.INPUTS}"
    answer = await cluster.provisioner.ask(subject, json.dumps(wanted).encode())
    assert "error" not in json.loads(answer.data), answer.data


async def append(cluster: Cluster, guild: str, size: int) -> Sequence:
    stored = await cluster.shard.append(subjects.inputs(GuildId(guild)), b"x" * size)
    return Sequence(stored.sequence)


def told(caplog: pytest.LogCaptureFixture) -> list[tuple[str, str, bool]]:
    """Severity, name and end of every alarm that was logged."""
    fields: list[dict[str, Any]] = [getattr(record, "fields", {}) for record in caplog.records]
    return [(one["severity"], one["alarm"], "over" in one) for one in fields if "about" in one]


def now_ms() -> int:
    return int(time.time() * 1000)


@pytest.fixture
def watchful(cluster: Cluster, caplog: pytest.LogCaptureFixture) -> Callable[..., None]:
    """Start a replica that looks ten times a second."""
    caplog.set_level(logging.INFO, logger="components.config.watchfulness")

    def start(**settings: float) -> None:
        cluster.set(alarm_every_s=0.1, alarm_after_s=0.3, **settings)
        cluster.config()

    return start


async def test_a_log_that_fills_is_an_alarm_until_there_is_room(
    cluster: Cluster, watchful: Callable[..., None], caplog: pytest.LogCaptureFixture
) -> None:
    await change_inputs(cluster, max_bytes=100 * KIB)
    watchful()
    await until_alarms(cluster)
    for _ in range(8):
        await append(cluster, "1", 10 * KIB)
    (alarm,) = await until_alarms(cluster, "stream-full")
    assert (alarm.severity, alarm.about) == ("warning", "INPUTS")
    assert "of 100 KiB" in alarm.text
    await append(cluster, "1", 13 * KIB)
    async with asyncio.timeout(10):
        while (await until_alarms(cluster, "stream-full"))[0].severity != "critical":
            await asyncio.sleep(0.05)
    await change_inputs(cluster, max_bytes=1000 * KIB)
    await until_alarms(cluster)
    assert told(caplog) == [
        ("warning", "stream-full", False),
        ("critical", "stream-full", False),
        ("critical", "stream-full", True),
    ]


async def test_a_backup_that_stands_still_is_an_alarm_until_it_moves(
    cluster: Cluster, watchful: Callable[..., None], caplog: pytest.LogCaptureFixture
) -> None:
    watchful(alarm_age_s=3.0, alarm_lag_s=30.0)
    await cluster.status_when_ready()  # else the first input is old when it is placed
    pod = await cluster.pod("gateway-0", replica="pods/gateway-0/x", started_ms=now_ms())
    await cluster.register("1")
    await cluster.until_opened("1")
    backed_up = await append(cluster, "1", 10)
    pod.tell(backed_up_to=backed_up, complete_up_to=backed_up)
    await asyncio.sleep(4.0)
    await until_alarms(cluster)  # the log is quiet, and everything is in the backup
    last = await append(cluster, "1", 10)
    pod.tell(complete_up_to=last, backup_lag_s=31.0)
    alarms = await until_alarms(cluster, "mark-age", "backup-lag")
    assert {alarm.about for alarm in alarms} == {"gateway-0"}
    assert any("the bucket does not take it" in alarm.text for alarm in alarms)
    pod.tell(backed_up_to=last, backup_lag_s=0.1)
    await until_alarms(cluster)
    assert sorted(told(caplog)) == sorted(
        ("warning", name, over) for name in ("mark-age", "backup-lag") for over in (False, True)
    )


async def test_a_log_that_has_dropped_what_no_backup_holds_is_a_critical_alarm(
    cluster: Cluster, watchful: Callable[..., None]
) -> None:
    watchful()
    pod = await cluster.pod("gateway-0", replica="pods/gateway-0/x", started_ms=now_ms())
    await cluster.register("1")
    await cluster.until_opened("1")
    mark = await append(cluster, "1", 10)
    await append(cluster, "1", 10)
    first = await append(cluster, "1", 10)
    purge = {"seq": first}
    await cluster.provisioner.ask(
        f"$JS.API.STREAM.PURGE.{storage.INPUTS}", json.dumps(purge).encode()
    )
    pod.tell(backed_up_to=mark, complete_up_to=mark)
    (alarm,) = await until_alarms(cluster, "mark-hole")
    assert alarm.severity == "critical"
    assert f"complete up to {mark}, and the log begins at {first}" in alarm.text


async def test_a_pod_that_nothing_depends_on_raises_no_alarm(
    cluster: Cluster, watchful: Callable[..., None]
) -> None:
    await append(cluster, "7", 10)
    watchful(alarm_age_s=0.2)
    await cluster.pod("gateway-0", replica="pods/gateway-0/x", backup_lag_s=1e6)
    await asyncio.sleep(1.5)
    await until_alarms(cluster)


async def test_a_guild_that_its_owner_has_parked_is_shown_until_it_goes_on(
    cluster: Cluster, watchful: Callable[..., None]
) -> None:
    watchful()
    pods = [await cluster.pod("gateway-0"), await cluster.pod("gateway-1")]
    await cluster.register("1", "2")
    await cluster.until_followed("1", "2")
    owner = (await cluster.assignments())["1"].pod
    for pod in pods:  # a follower's guild is parked as well, and makes no second alarm
        pod.tell(parked={"1": 7} if pod.name == owner else {"1": 7, "3": 8})
    (alarm,) = await until_alarms(cluster, "parked")
    assert (alarm.severity, alarm.about) == ("critical", "1")
    assert (await cluster.guild("1")).parked_at == 7
    assert (await cluster.guild("2")).parked_at is None
    listed = await cluster.ask("guilds", GuildsQuery(waiting=True), GuildList)
    assert [(line.guild, line.parked_at) for line in listed.guilds] == [("1", 7)]
    assert "modbot guild 1 skip 7" in listed.guilds[0].reason
    for pod in pods:
        pod.tell(parked={})
    await until_alarms(cluster)


GONE = [storage.INPUTS, storage.EVENTS, f"OBJ_{storage.SNAPSHOTS}", f"KV_{storage.ATTEMPTS}"]


@pytest.mark.parametrize("stream", GONE)
async def test_a_stream_that_is_gone_is_a_critical_alarm(
    stream: str, cluster: Cluster, watchful: Callable[..., None]
) -> None:
    watchful()
    await until_alarms(cluster)
    await cluster.provisioner.ask(f"$JS.API.STREAM.DELETE.{stream}", b"")
    (alarm,) = await until_alarms(cluster, "stream-away")
    assert (alarm.severity, alarm.about) == ("critical", stream)


async def test_every_stream_and_bucket_is_watched_and_has_three_copies_in_a_cluster(
    nats_cluster: RunningCluster,
) -> None:
    operator = await nats_cluster.connect("operator")
    listed = json.loads((await operator.ask("$JS.API.STREAM.NAMES", b"")).data)["streams"]
    assert sorted(WATCHED) == sorted(listed)
    bus = await nats_cluster.connect("config")
    for name in listed:
        seen = await stream_info(bus, name)
        assert len({seen.leader, *(copy.name for copy in seen.copies)}) == 3, name


async def test_whoever_leads_next_tells_what_stands(
    cluster: Cluster, watchful: Callable[..., None], caplog: pytest.LogCaptureFixture
) -> None:
    await change_inputs(cluster, max_bytes=20 * KIB)
    await append(cluster, "1", 17 * KIB)
    cluster.set(alarm_every_s=0.1, alarm_after_s=0.3)
    first = cluster.config("config-0")
    await cluster.until_led(by="config-0")
    cluster.config("config-1")
    async with asyncio.timeout(10):
        while len(told(caplog)) < 1:
            await asyncio.sleep(0.05)
    await until_alarms(cluster, "stream-full")
    await first.stop()
    await cluster.until_led(by="config-1")
    async with asyncio.timeout(10):
        while len(told(caplog)) < 2:
            await asyncio.sleep(0.05)
    assert told(caplog) == [("warning", "stream-full", False)] * 2
