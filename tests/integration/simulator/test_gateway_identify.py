"""IDENTIFY: budget, concurrency, shards, intents, close codes, and who may read content."""

from collections.abc import AsyncIterator
from typing import Any

import aiohttp
import pytest

from components.simulator.bootstrap import running_simulator
from components.simulator.client import GuildInfo, SimulatorControl
from components.simulator.gateway.protocol import Op
from components.simulator.settings import Settings
from tests.integration.simulator.raw import ALL_INTENTS, TOKEN, Caller

GUILD_MESSAGES, MESSAGE_CONTENT, GUILD_MEMBERS = 1 << 9, 1 << 15, 1 << 1


@pytest.fixture
async def strict() -> AsyncIterator[tuple[Caller, SimulatorControl]]:
    """A simulator with small numbers."""
    settings = Settings(
        identify_budget=2, max_concurrency=4, guilds_per_shard=3, sends_per_minute=10
    )
    async with (
        running_simulator(settings) as sim,
        SimulatorControl(sim.url) as control,
        aiohttp.ClientSession() as http,
    ):
        yield Caller(http, sim.api_url, sim.gateway_url), control


@pytest.mark.parametrize(
    ("fields", "code"),
    [
        ({"token": "wrong"}, 4004),
        ({"shard": [2, 2]}, 4010),
        ({"shard": [0, 0]}, 4010),
        ({"intents": 1 << 18}, 4013),
        ({"intents": -1}, 4013),
        ({"intents": "many"}, 4002),
    ],
)
async def test_a_wrong_identify_is_closed_with_its_code(
    fields: dict[str, Any], code: int, caller: Caller
) -> None:
    gateway = await caller.connect()
    await gateway.identify(**fields)
    assert await gateway.closed() == code


@pytest.mark.parametrize("intent", [GUILD_MEMBERS, MESSAGE_CONTENT, 1 << 8])
async def test_a_privileged_intent_that_is_not_granted_closes_with_4014(
    intent: int, caller: Caller, control: SimulatorControl
) -> None:
    await control.update_application(1_000_000_000_000_000_001, privileged_intents=0)
    gateway = await caller.connect()
    await gateway.identify(intents=intent)
    assert await gateway.closed() == 4014
    flags = (await caller.call("GET", "/oauth2/applications/@me")).body["flags"]
    assert flags == 0


async def test_another_version_closes_with_4012(caller: Caller) -> None:
    gateway = await caller.connect(query="v=6")
    assert await gateway.closed() == 4012


async def test_more_guilds_than_a_shard_may_have_closes_with_4011(
    strict: tuple[Caller, SimulatorControl],
) -> None:
    caller, control = strict
    await control.create_guilds(count=4)
    gateway = await caller.connect()
    await gateway.identify()
    assert await gateway.closed() == 4011
    half = await caller.connect()
    await half.identify(shard=[0, 2])
    assert len((await half.until("READY"))["guilds"]) == 2


@pytest.mark.parametrize(("op", "code"), [(3, 4003), (99, 4001), (0, 4001)])
async def test_a_payload_before_identify_is_closed(op: int, code: int, caller: Caller) -> None:
    gateway = await caller.connect()
    await gateway.send(op, {})
    assert await gateway.closed() == code


async def test_a_second_identify_closes_with_4005(caller: Caller) -> None:
    gateway = await caller.identified()
    await gateway.identify()
    assert await gateway.closed() == 4005


@pytest.mark.parametrize("raw", ["{", "[]", "x" * 4097])
async def test_what_is_no_payload_closes_with_4002(raw: str, caller: Caller) -> None:
    gateway = await caller.connect()
    await gateway.socket.send_str(raw)
    assert await gateway.closed() == 4002


async def test_too_many_sends_in_a_minute_close_with_4008(
    strict: tuple[Caller, SimulatorControl],
) -> None:
    caller, _ = strict
    gateway = await caller.identified()
    for _ in range(10):
        await gateway.send(Op.HEARTBEAT, None)
    assert await gateway.closed() == 4008


async def test_the_same_concurrency_key_within_5_s_is_refused_and_another_is_not(
    strict: tuple[Caller, SimulatorControl],
) -> None:
    caller, _ = strict
    await caller.identified(shard=[0, 8])
    for shard, accepted in ((4, False), (1, True)):  # 4 % 4 is 0 % 4
        gateway = await caller.connect()
        await gateway.identify(shard=[shard, 8])
        first = await gateway.receive()
        assert (first["op"] == Op.DISPATCH) is accepted
        if not accepted:
            assert (first["op"], first["d"]) == (Op.INVALID_SESSION, False)


async def test_the_identify_past_the_budget_resets_the_token_and_ends_all_sessions(
    strict: tuple[Caller, SimulatorControl],
) -> None:
    caller, control = strict
    limit = (await caller.call("GET", "/gateway/bot")).body["session_start_limit"]
    assert (limit["total"], limit["remaining"], limit["max_concurrency"]) == (2, 2, 4)
    sessions = [await caller.identified(shard=[i, 4]) for i in range(2)]
    limit = (await caller.call("GET", "/gateway/bot")).body["session_start_limit"]
    assert limit["remaining"] == 0
    third = await caller.connect()
    await third.identify(shard=[2, 4])
    assert await third.closed() == 4004
    for session in sessions:
        assert await session.closed() == 4004
    assert (await caller.call("GET", "/users/@me")).status == 401
    await control.update_application(1_000_000_000_000_000_001, token=TOKEN)
    assert (await caller.call("GET", "/users/@me")).status == 200


async def test_a_resume_costs_no_identify(strict: tuple[Caller, SimulatorControl]) -> None:
    caller, _ = strict
    gateway = await caller.identified()
    for _ in range(3):
        await gateway.socket.close(code=4000)
        again = await caller.connect()
        await again.resume(gateway.session_id, 1)
        assert (await again.receive())["t"] == "RESUMED"
        gateway.socket = again.socket
    limit = (await caller.call("GET", "/gateway/bot")).body["session_start_limit"]
    assert limit["remaining"] == 1


async def test_content_is_blank_without_its_intent_unless_it_is_the_bots_business(
    caller: Caller, control: SimulatorControl, guild: GuildInfo
) -> None:
    gateway = await caller.connect()
    await gateway.identify(intents=ALL_INTENTS & ~MESSAGE_CONTENT)
    channel, author = guild.channels["general"], guild.members[0].id
    embed = [{"title": "secret"}]
    await control.post(channel, author, "secret", embeds=embed, attachments=[{"filename": "a"}])
    hidden = await gateway.until("MESSAGE_CREATE")
    assert (hidden["content"], hidden["embeds"], hidden["attachments"]) == ("", [], [])
    await control.post(channel, author, "<@1000000000000000001> look")
    assert (await gateway.until("MESSAGE_CREATE"))["content"].endswith("look")
    await caller.call("POST", f"/channels/{channel}/messages", {"content": "mine"})
    assert (await gateway.until("MESSAGE_CREATE"))["content"] == "mine"


async def test_events_without_their_intent_are_not_sent(
    caller: Caller, control: SimulatorControl, guild: GuildInfo
) -> None:
    gateway = await caller.connect()
    await gateway.identify(intents=GUILD_MESSAGES)
    ready = await gateway.receive()
    assert ready["t"] == "READY"
    await control.join(guild.id, username="new")
    await control.create_role(guild.id, "other")
    await control.post(guild.channels["general"], guild.members[0].id, "only this")
    after = await gateway.receive()
    assert (after["t"], after["s"]) == ("MESSAGE_CREATE", 2)


async def test_a_channel_the_bot_cannot_see_is_silent(
    caller: Caller, control: SimulatorControl, guild: GuildInfo
) -> None:
    gateway = await caller.identified()
    hidden = await control.create_channel(
        guild.id, "hidden", overwrites=[{"role": "@everyone", "deny": 1 << 10}]
    )
    await gateway.until("GUILD_CREATE")
    await control.post(hidden, guild.owner_id, "unheard")
    await control.post(guild.channels["general"], guild.owner_id, "heard")
    assert (await gateway.until("MESSAGE_CREATE"))["content"] == "heard"
    refused = await caller.call("GET", f"/channels/{hidden}/messages")
    assert (refused.status, refused.code) == (403, 50001)
