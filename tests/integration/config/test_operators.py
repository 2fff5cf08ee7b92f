"""The operators' service: discoverable, described, and clear when something is wrong."""

import asyncio
import json

import pytest

from components.config import bootstrap
from contracts import headers, subjects
from contracts.errors import ErrorBody, ServiceError
from contracts.message import decode
from contracts.operations import OperationStarted, Reshard
from tests.integration.config.cluster import Cluster


async def test_the_service_describes_itself_to_the_nats_tool(cluster: Cluster) -> None:
    cluster.config()
    await cluster.status_when_ready()
    message = await cluster.operator.ask("$SRV.INFO.modbot-config", b"")
    info = json.loads(message.data)
    assert info["name"] == "modbot-config"
    assert info["metadata"] == {"replica": "config-0"}
    verbs = "status pods guild guilds plan rebalance drain undrain move pin unpin pause resume"
    assert {endpoint["subject"] for endpoint in info["endpoints"]} == {
        f"modbot.config.{verb}" for verb in (*verbs.split(), "history", "reshard")
    }
    for endpoint in info["endpoints"]:
        assert endpoint["metadata"]["description"]
        assert "$defs" in json.loads(endpoint["metadata"]["response_schema"])


async def test_status_counts_guilds_pods_and_who_waits(cluster: Cluster) -> None:
    cluster.config()
    await cluster.pod("gateway-0", capacity=1)
    await cluster.register("1")
    await cluster.until(lambda owned: "1" in owned)
    await cluster.register("2")
    await cluster.reason("2", "no pod has room")
    status = await cluster.status()
    assert (status.leader, status.replica, status.database) == ("config-0", "config-0", "up")
    assert status.guilds == 2
    assert status.waiting_total == 1
    assert [(waiting.guild, waiting.name) for waiting in status.waiting] == [("2", "guild 2")]
    (pod,) = status.pods
    assert (pod.pod, pod.state, pod.guilds, pod.capacity) == ("gateway-0", "serving", 1, 1)


async def test_a_served_guild_shows_its_owner(cluster: Cluster) -> None:
    cluster.config()
    pod = await cluster.pod("gateway-0")
    await cluster.register("1")
    await cluster.until(lambda owned: "1" in owned)
    placement = await cluster.guild("1")
    assert (placement.state, placement.reason) == ("served", "")
    assert (placement.pod, placement.incarnation, placement.epoch) == (
        "gateway-0",
        pod.incarnation,
        1,
    )


@pytest.mark.parametrize(
    ("request_data", "code", "words"),
    [
        (b'{"guild": "404"}', "404", "nobody has seen guild 404"),
        (b'{"guild": "x.y"}', "422", "is not a guild's id"),
        (b'{"guild": 5}', "400", 'send {"guild": "ID"}'),
        (b"\xff", "400", 'send {"guild": "ID"}'),
        (b"", "400", 'send {"guild": "ID"}'),
    ],
)
async def test_a_request_that_cannot_be_answered_says_what_to_do(
    cluster: Cluster, request_data: bytes, code: str, words: str
) -> None:
    cluster.config()
    await cluster.status_when_ready()
    message = await cluster.operator.ask(subjects.config_endpoint("guild"), request_data)
    fields = message.headers or {}
    assert fields[headers.SERVICE_ERROR_CODE] == code
    assert words in fields[headers.SERVICE_ERROR]
    body = decode(message.data, ErrorBody)
    assert str(body.code) == code
    assert words in body.error


async def test_a_replica_that_does_not_know_all_guilds_yet_changes_no_number_of_shards(
    cluster: Cluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It would find room for 2,500 guilds in any shard."""

    async def never(*_: object) -> None:
        await asyncio.Event().wait()

    monkeypatch.setattr(bootstrap, "follow", never)
    cluster.config()
    await cluster.until_led()
    with pytest.raises(ServiceError, match="still reading the buckets; ask again"):
        await cluster.ask("reshard", Reshard(count=1), OperationStarted)


async def test_the_caller_sees_its_trace_in_the_reply(cluster: Cluster) -> None:
    cluster.config()
    await cluster.status_when_ready()
    trace = "0af7651916cd43dd8448eb211c80319c"
    message = await cluster.operator.ask(
        subjects.config_endpoint("status"),
        b"",
        {headers.TRACEPARENT: f"00-{trace}-b7ad6b7169203331-01"},
    )
    assert trace in (message.headers or {})[headers.TRACEPARENT]
