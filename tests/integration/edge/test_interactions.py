"""Interactions over HTTP: signatures, and the rule of first responders."""

import asyncio
import json
import signal
import time
from typing import Any

import pytest
from nacl.signing import SigningKey

from components.bus.connection import Bus
from components.edge import interactions
from contracts import headers, subjects
from tests.integration.edge.owners import InteractionOwner
from tests.integration.edge.running import GUILD, Edge
from tests.support.nats import RunningNats


def a_command(interaction: str = "1001", **fields: Any) -> dict[str, Any]:
    return {
        "id": interaction,
        "application_id": "9",
        "type": 2,
        "token": "interaction-token",
        "version": 1,
        "guild_id": GUILD,
        "data": {"id": "5", "name": "case", "type": 1},
        **fields,
    }


@pytest.fixture
async def fake_owner(owner: Bus) -> InteractionOwner:
    fake = InteractionOwner(owner)
    await fake.open()
    return fake


async def test_a_ping_is_answered(edge: Edge) -> None:
    assert await edge.interact({"id": "1", "type": 1, "version": 1}) == (200, {"type": 1})


async def test_whatever_is_wrong_with_the_signature_is_401(edge: Edge) -> None:
    body = b'{"id":"1","type":1}'
    right = edge.signed(body)
    signature, timestamp = right["X-Signature-Ed25519"], right["X-Signature-Timestamp"]
    stranger = SigningKey.generate().sign(timestamp.encode() + body).signature.hex()
    wrong: list[tuple[bytes, dict[str, str]]] = [
        (body, {}),
        (body, {"X-Signature-Timestamp": timestamp}),
        (body, {"X-Signature-Ed25519": signature}),
        (body, {**right, "X-Signature-Ed25519": ""}),
        (body, {**right, "X-Signature-Timestamp": ""}),
        (body, {**right, "X-Signature-Timestamp": timestamp + "1"}),
        (body, {**right, "X-Signature-Timestamp": "9" * 5000}),
        (body, {**right, "X-Signature-Ed25519": stranger}),
        (body, {**right, "X-Signature-Ed25519": signature[:-2]}),
        (body, {**right, "X-Signature-Ed25519": signature + "00"}),
        (body, {**right, "X-Signature-Ed25519": "z" * 128}),
        (body, {**right, "X-Signature-Ed25519": "0" * 128}),
        (body, {**right, "X-Signature-Ed25519": "é" * 128}),
        (body + b" ", right),
        (b"", right),
        (b"", edge.signed(b"")),
    ]
    for number, (sent, fields) in enumerate(wrong):
        status, answer = await edge.post(sent, fields)
        assert (number, status, answer["status"]) == (number, 401, 401)
    assert await edge.post(body, right) == (200, {"type": 1})


async def test_a_body_that_is_too_large_is_refused_unread(edge: Edge) -> None:
    body = b" " * (256 * 1024 + 1)
    status, answer = await edge.post(body, edge.signed(body))
    assert (status, answer["title"]) == (413, "The body is too large")

    async def in_pieces() -> Any:
        for _ in range(40):
            yield b" " * 16 * 1024

    url = f"{edge.url}/interactions/discord"
    async with edge.http.post(url, data=in_pieces(), headers=edge.signed(b"x")) as response:
        assert response.status == 413


async def test_a_body_that_does_not_come_is_not_waited_for(edge: Edge) -> None:
    async def slow() -> Any:
        yield b"{"
        await asyncio.sleep(5)

    started = time.monotonic()
    url = f"{edge.url}/interactions/discord"
    async with edge.http.post(url, data=slow(), headers=edge.signed(b"x")) as response:
        assert response.status == 408
    assert time.monotonic() - started < 3


@pytest.mark.parametrize(
    "body", [b"{", b"[]", b'{"type":2}', b'{"id":"a.>","type":2,"guild_id":"7"}', b"\xff"]
)
async def test_signed_nonsense_is_400_in_words(edge: Edge, body: bytes) -> None:
    status, answer = await edge.post(body, edge.signed(body))
    assert status == 400
    assert answer["detail"]


async def test_the_endpoint_takes_only_posts(edge: Edge) -> None:
    async with edge.http.get(f"{edge.url}/interactions/discord") as response:
        assert response.status == 405


async def test_an_owner_that_is_quick_gives_the_first_response(
    edge: Edge, fake_owner: InteractionOwner
) -> None:
    telling = asyncio.create_task(fake_owner.answer_next())
    status, response = await edge.interact(a_command())
    assert status == 200
    assert response == {"type": 4, "data": {"content": "Case 7", "flags": 64}}
    assert await telling is True


async def test_an_interaction_that_is_sent_again_is_stored_once(
    edge: Edge, fake_owner: InteractionOwner, owner: Bus
) -> None:
    telling = asyncio.create_task(fake_owner.answer_next())
    assert (await edge.interact(a_command()))[1]["type"] == 4
    await telling
    # Sent again: stored already, so the owner does not see it and the receiver defers.
    assert (await edge.interact(a_command()))[1]["type"] == 5
    assert fake_owner.received.empty()
    stored = await owner.append(subjects.inputs(GUILD), b"{}", {headers.MSG_ID: "int:1001"})
    assert (stored.sequence, stored.duplicate) == (1, True)


async def test_an_interaction_carries_its_trace_and_where_to_answer(
    edge: Edge, fake_owner: InteractionOwner
) -> None:
    asking = asyncio.create_task(edge.interact(a_command()))
    message, received = await fake_owner.received.get()
    assert (message.headers or {})[headers.TRACEPARENT].startswith("00-")
    assert (received.via, received.answer_to) == ("http", "modbot.answers.edge.edge-0.1001")
    assert json.loads(bytes(received.data)) == a_command()
    await fake_owner.received.put((message, received))
    assert await fake_owner.answer_next() is True
    await asking


async def test_without_an_owner_a_command_is_deferred_in_time(edge: Edge) -> None:
    started = time.monotonic()
    status, response = await edge.interact(a_command())
    elapsed = time.monotonic() - started
    assert (status, response) == (200, {"type": 5, "data": {"flags": 64}})
    assert 0.9 < elapsed < 3


async def test_a_press_is_deferred_as_an_update(edge: Edge) -> None:
    press = a_command(type=3, data={"custom_id": f"mb1:{GUILD}:vote:yes", "component_type": 2})
    assert await edge.interact(press) == (200, {"type": 6})


async def test_an_answer_after_the_deferral_is_not_taken(
    edge: Edge, fake_owner: InteractionOwner
) -> None:
    status, response = await edge.interact(a_command())
    assert (status, response["type"]) == (200, 5)
    assert await fake_owner.answer_next() is False


async def test_a_press_in_a_direct_message_goes_to_the_guild_that_it_names(
    edge: Edge, fake_owner: InteractionOwner
) -> None:
    press = a_command(type=3, data={"custom_id": f"mb1:{GUILD}:appeal:1", "component_type": 2})
    del press["guild_id"]
    telling = asyncio.create_task(fake_owner.answer_next())
    status, response = await edge.interact(press)
    assert (status, response["type"]) == (200, 4)
    assert await telling is True


async def test_what_belongs_to_no_guild_is_answered_in_words(edge: Edge) -> None:
    command = a_command()
    del command["guild_id"]
    status, response = await edge.interact(command)
    assert (status, response["type"], response["data"]["flags"]) == (200, 4, 64)
    assert "inside a server" in response["data"]["content"]


async def test_while_the_bus_is_away_the_caller_is_told_in_time(
    edge: Edge, nats_server: RunningNats
) -> None:
    assert (await edge.interact({"id": "1", "type": 1}))[0] == 200
    nats_server.kill()
    started = time.monotonic()
    status, response = await edge.interact(a_command())
    assert time.monotonic() - started < 3
    assert (status, response["type"], response["data"]["flags"]) == (200, 4, 64)
    assert "Nothing has been done" in response["data"]["content"]
    assert "try again" in response["data"]["content"]


async def test_while_the_bus_does_not_answer_the_caller_is_told_that_it_may_be_done(
    edge: Edge, nats_server: RunningNats
) -> None:
    assert (await edge.interact({"id": "1", "type": 1}))[0] == 200
    assert nats_server.process is not None
    nats_server.process.send_signal(signal.SIGSTOP)
    started = time.monotonic()
    try:
        status, response = await edge.interact(a_command())
    finally:
        nats_server.process.send_signal(signal.SIGCONT)
    assert time.monotonic() - started < 3
    assert (status, response["type"], response["data"]["flags"]) == (200, 4, 64)
    assert "Nothing has been done" not in response["data"]["content"]
    assert "before you try again" in response["data"]["content"]
    later = await nats_server.connect("gateway", "later")
    stored = await later.append(subjects.inputs(GUILD), b"{}", {headers.MSG_ID: "int:1001"})
    assert stored.duplicate


async def test_an_interaction_is_stored_when_the_bus_comes_back_in_time(
    edge: Edge, nats_server: RunningNats, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(interactions, "APPEND_WITHIN_S", 15.0)  # however slowly the server starts
    assert (await edge.interact({"id": "1", "type": 1}))[0] == 200
    nats_server.kill()
    asking = asyncio.create_task(edge.interact(a_command()))
    await nats_server.start()
    status, response = await asking
    assert (status, response) == (200, {"type": 5, "data": {"flags": 64}})
    later = await nats_server.connect("gateway", "later")
    stored = await later.append(subjects.inputs(GUILD), b"{}", {headers.MSG_ID: "int:1001"})
    assert stored.duplicate


async def test_a_stopping_edge_ends_its_interactions_first(
    edge: Edge, fake_owner: InteractionOwner
) -> None:
    asking = asyncio.create_task(edge.interact(a_command()))
    message, received = await fake_owner.received.get()
    edge.stop.set()
    await fake_owner.received.put((message, received))
    assert await fake_owner.answer_next() is True
    status, response = await asking
    assert (status, response["type"]) == (200, 4)
