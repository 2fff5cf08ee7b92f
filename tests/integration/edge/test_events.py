"""The feed of facts: in order, from any point on, through every kind of break."""

import asyncio
import json
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any
from urllib.parse import urlsplit

import aiohttp

from components.bus.connection import Bus
from components.bus.provisioning import provision
from components.edge import events
from components.edge import feed as feeds
from components.edge.events import Listeners
from contracts import facts, storage, subjects
from contracts.ids import CaseNumber, Epoch, GuildId, Sequence, UserId
from contracts.message import encode
from tests.integration.edge.running import GUILD, TOKEN, Edge
from tests.support.nats import RunningNats

EVENTS = f"/api/guilds/{GUILD}/events"


async def publish(owner: Bus, number: int, guild: GuildId = GUILD, *, reason: str = "") -> int:
    """Publish a fact as a guild's owner does; its sequence in EVENTS."""
    fact = facts.CaseOpened(
        number=CaseNumber(number),
        user=UserId("11"),
        action="timeout",
        status="pending",
        moderator_kind="bot",
        reason=reason,
    )
    fields = facts.headers_of(
        facts.CaseOpened,
        guild=guild,
        sequence=Sequence(number),
        index=0,
        epoch=Epoch(1),
        time_ms=1_700_000_000_000,
        subject="11",
    )
    stored = await owner.append(subjects.event(guild, fact.type), encode(fact), fields)
    return stored.sequence


class Listener:
    """Reads server-sent events as a browser does."""

    def __init__(self, response: aiohttp.ClientResponse) -> None:
        self.response = response
        self.comments = 0

    async def next(self) -> dict[str, str]:
        """The next event that has an id."""
        fields: dict[str, str] = {}
        async for raw in self.response.content:
            line = raw.decode().rstrip("\n")
            if not line:
                if "id" in fields:
                    return fields
                fields = {}
            elif line.startswith(":"):
                self.comments += 1
            else:
                name, _, value = line.partition(": ")
                fields[name] = value
        raise EOFError

    async def numbers(self, count: int) -> list[int]:
        """The case numbers of the next events."""
        return [json.loads((await self.next())["data"])["data"]["number"] for _ in range(count)]


@asynccontextmanager
async def listening(edge: Edge, after: int | None = None) -> AsyncIterator[Listener]:
    fields = dict(edge.authorization)
    if after is not None:
        fields["Last-Event-ID"] = str(after)
    async with edge.http.get(edge.url + EVENTS, headers=fields) as response:
        assert response.status == 200
        assert response.headers["Content-Type"] == "text/event-stream; charset=utf-8"
        async with asyncio.timeout(30):
            # The first line is sent once the feed's beginning is fixed.
            assert await response.content.readline() == b"retry: 1000\n"
            yield Listener(response)


async def consumers(nats_server: RunningNats) -> int:
    bus = await nats_server.connect("operator")
    reply = await bus.ask(f"$JS.API.STREAM.INFO.{storage.EVENTS}", b"")
    return int(json.loads(reply.data)["state"]["consumer_count"])


async def test_a_fact_arrives_as_an_event_with_its_attributes(edge: Edge, owner: Bus) -> None:
    async with listening(edge) as listener:
        sequence = await publish(owner, 7)
        event = await listener.next()
    assert (event["id"], event["event"]) == (str(sequence), "case.opened")
    content: dict[str, Any] = json.loads(event["data"])
    assert content["attributes"] == {
        "specversion": "1.0",
        "id": f"{GUILD}-7-0",
        "source": f"/modbot/guilds/{GUILD}",
        "type": "modbot.case.opened.v1",
        "time": "2023-11-14T22:13:20.000Z",
        "datacontenttype": "application/json",
        "subject": "11",
    }
    assert content["data"]["number"] == 7


async def test_a_new_listener_hears_only_what_is_still_to_come(edge: Edge, owner: Bus) -> None:
    await publish(owner, 1)
    async with listening(edge) as listener:
        await publish(owner, 2)
        assert await listener.numbers(1) == [2]


async def test_a_listener_goes_on_after_the_event_that_it_names(edge: Edge, owner: Bus) -> None:
    sequences = [await publish(owner, number) for number in range(1, 6)]
    async with listening(edge, after=sequences[1]) as listener:
        assert await listener.numbers(3) == [3, 4, 5]
        await publish(owner, 6)
        assert await listener.numbers(1) == [6]
    async with listening(edge, after=0) as listener:
        assert await listener.numbers(6) == [1, 2, 3, 4, 5, 6]


async def test_an_event_of_a_stream_that_is_no_more_brings_everything(
    edge: Edge, owner: Bus
) -> None:
    sequence = await publish(owner, 1)
    async with listening(edge, after=sequence + 1000) as listener:
        assert await listener.numbers(1) == [1]


async def test_another_guilds_facts_are_not_heard(edge: Edge, owner: Bus) -> None:
    async with listening(edge) as listener:
        await publish(owner, 1, GuildId("43"))
        await publish(owner, 2)
        assert await listener.numbers(1) == [2]


async def test_an_event_id_that_is_none_is_400(edge: Edge) -> None:
    for given in ("x", "-1", "1.5", "9" * 19):
        status, body, _ = await edge.get(EVENTS, {"Last-Event-ID": given})
        assert (given, status) == (given, 400)
        assert "Last-Event-ID" in body["detail"]


async def test_many_facts_come_in_order_and_once(edge: Edge, owner: Bus) -> None:
    count = 3 * feeds.BATCH + 7
    async with listening(edge) as listener:
        publishing = asyncio.create_task(_publish_all(owner, range(1, count + 1)))
        assert await listener.numbers(count) == list(range(1, count + 1))
        await publishing


async def test_facts_go_on_in_order_and_once_when_the_server_was_killed(
    edge: Edge, owner: Bus, nats_server: RunningNats
) -> None:
    async with listening(edge) as listener:
        await _publish_all(owner, range(1, 11))
        assert await listener.numbers(5) == [1, 2, 3, 4, 5]
        nats_server.kill()
        await nats_server.start()
        again = await nats_server.connect("gateway", "again")
        await _publish_all(again, range(11, 21))
        assert await listener.numbers(15) == list(range(6, 21))


async def test_facts_go_on_when_the_stream_is_made_anew(
    edge: Edge, owner: Bus, nats_server: RunningNats
) -> None:
    async with listening(edge) as listener:
        await _publish_all(owner, range(1, 6))
        assert await listener.numbers(5) == [1, 2, 3, 4, 5]
        provisioner = await nats_server.connect("provisioner")
        await provisioner.ask(f"$JS.API.STREAM.DELETE.{storage.EVENTS}", b"")
        await provision(provisioner)
        await publish(owner, 6)
        assert await listener.numbers(1) == [6]


async def test_a_quiet_feed_shows_that_it_lives(edge: Edge, owner: Bus, monkeypatch: Any) -> None:
    monkeypatch.setattr(feeds, "QUIET_S", 0.2)
    async with listening(edge) as listener:
        while listener.comments < 2:
            line = await listener.response.content.readline()
            listener.comments += line.startswith(b":")
        await publish(owner, 1)
        assert await listener.numbers(1) == [1]


async def test_a_listener_that_leaves_leaves_nothing_on_the_server(
    edge: Edge, owner: Bus, nats_server: RunningNats
) -> None:
    async with listening(edge) as listener:
        await publish(owner, 1)
        assert await listener.numbers(1) == [1]
        assert await consumers(nats_server) == 1
    async with asyncio.timeout(5):
        while await consumers(nats_server):
            await asyncio.sleep(0.02)


async def test_a_listener_that_does_not_read_is_cut_off_while_others_go_on(
    edge: Edge, owner: Bus, nats_server: RunningNats, monkeypatch: Any
) -> None:
    monkeypatch.setattr(events, "STALLED_S", 0.3)
    address = urlsplit(edge.url)
    lazy = socket.socket()
    lazy.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    lazy.connect((address.hostname, address.port))
    head = f"GET {EVENTS} HTTP/1.1\r\nHost: edge\r\nAuthorization: Bearer {TOKEN}\r\n\r\n"
    lazy.sendall(head.encode())
    async with listening(edge) as listener, asyncio.timeout(30):
        while await consumers(nats_server) < 2:
            await asyncio.sleep(0.02)
        number = 0
        while await consumers(nats_server) == 2:
            number += 1
            await publish(owner, number, reason="x" * 100_000)
            assert await listener.numbers(1) == [number]
        assert await consumers(nats_server) == 1
    lazy.close()


async def test_more_listeners_than_an_edge_takes_are_told_to_come_back(
    edge: Edge, monkeypatch: Any
) -> None:
    monkeypatch.setattr(Listeners, "limit", 1)
    async with listening(edge):
        status, body, fields = await edge.get(EVENTS)
        assert (status, fields["retry-after"]) == (503, "2")
        assert "too many" in body["detail"]


async def test_a_stopping_edge_ends_its_feeds(edge: Edge, owner: Bus) -> None:
    async with listening(edge) as listener:
        await publish(owner, 1)
        assert await listener.numbers(1) == [1]
        edge.stop.set()
        try:
            await listener.next()
        except (EOFError, aiohttp.ClientError):
            ended = True
        else:
            ended = False
    assert ended


async def test_without_a_bus_a_feed_is_503_in_words(edge: Edge, nats_server: RunningNats) -> None:
    assert (await edge.get("/readyz"))[0] == 200
    nats_server.kill()
    status, body, fields = await edge.get(EVENTS)
    assert (status, fields["retry-after"]) == (503, "2")
    assert "message bus" in body["detail"]


async def _publish_all(owner: Bus, numbers: range) -> None:
    for number in numbers:
        await publish(owner, number)
