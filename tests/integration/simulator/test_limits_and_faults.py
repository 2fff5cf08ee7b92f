"""Rate limits as Discord sends them, and injected faults."""

import asyncio
import time

import aiohttp
import discord
import pytest

from components.simulator.bootstrap import Simulator, running_simulator
from components.simulator.client import GuildInfo, SimulatorControl
from components.simulator.clock import Clock
from components.simulator.settings import Settings
from tests.integration.simulator.raw import TOKEN, Caller


@pytest.fixture
def one_moment(monkeypatch: pytest.MonkeyPatch) -> None:
    """No window ends, however long the test's requests take."""
    now_s = time.monotonic()
    monkeypatch.setattr(Clock, "monotonic", lambda _: now_s)


@pytest.mark.usefixtures("one_moment")
async def test_a_bucket_counts_down_and_refuses_with_a_full_429(
    caller: Caller, guild: GuildInfo
) -> None:
    path = f"/channels/{guild.channels['general']}/messages"
    left = []
    for i in range(5):
        reply = await caller.call("POST", path, {"content": str(i)})
        left.append(reply.headers["X-RateLimit-Remaining"])
    assert left == ["4", "3", "2", "1", "0"]
    before = time.time()
    refused = await caller.call("POST", path, {"content": "6"})
    after = time.time()
    assert refused.status == 429
    assert refused.headers["Content-Type"] == "application/json"
    assert refused.headers["Via"]
    assert refused.headers["X-RateLimit-Scope"] == "user"
    assert refused.headers["X-RateLimit-Bucket"] == reply.headers["X-RateLimit-Bucket"]
    assert 0 < refused.body["retry_after"] <= 5
    assert refused.body["global"] is False
    reset = float(refused.headers["X-RateLimit-Reset"])
    assert before - 0.1 <= reset - refused.body["retry_after"] <= after + 0.1


@pytest.mark.usefixtures("one_moment")
async def test_buckets_are_split_by_the_major_parameter(
    caller: Caller, control: SimulatorControl, guild: GuildInfo
) -> None:
    other = await control.create_channel(guild.id, "other")
    for _ in range(5):
        await caller.call(
            "POST", f"/channels/{guild.channels['general']}/messages", {"content": "x"}
        )
    reply = await caller.call("POST", f"/channels/{other}/messages", {"content": "x"})
    assert (reply.status, reply.headers["X-RateLimit-Remaining"]) == (200, "4")


async def test_old_messages_are_deleted_from_a_bucket_of_their_own(
    caller: Caller, control: SimulatorControl, guild: GuildInfo
) -> None:
    channel, alice = guild.channels["general"], guild.members[0].id
    old = await control.post(channel, alice, "old", created_at="2020-01-01T00:00:00+00:00")
    new = await control.post(channel, alice, "new")
    replies = [await caller.call("DELETE", f"/channels/{channel}/messages/{i}") for i in (old, new)]
    buckets = {r.headers["X-RateLimit-Bucket"] for r in replies}
    assert (len(buckets), [r.status for r in replies]) == (2, [204, 204])


@pytest.mark.usefixtures("one_moment")
async def test_50_requests_a_second_are_the_global_limit_and_answers_are_exempt(
    caller: Caller, control: SimulatorControl, guild: GuildInfo
) -> None:
    await control.set_limits(buckets={"guild": [1000, 1.0]})
    replies = [await caller.call("GET", f"/guilds/{guild.id}") for _ in range(51)]
    assert [r.status for r in replies[:50]] == [200] * 50
    refused = replies[50]
    assert (refused.status, refused.body["global"]) == (429, True)
    assert refused.headers["X-RateLimit-Global"] == "true"
    assert refused.headers["X-RateLimit-Scope"] == "global"
    assert (await control.limits())["global_429"] == 1
    for i in range(60):
        answer = await caller.call("POST", f"/interactions/1/t{i}/callback", {"type": 5})
        assert (answer.status, answer.code) == (404, 10062)


@pytest.mark.usefixtures("one_moment")
async def test_all_connections_of_a_token_share_the_global_limit(
    sim: Simulator, control: SimulatorControl, guild: GuildInfo
) -> None:
    await control.set_limits(buckets={"guild": [1000, 1.0]})
    statuses: list[int] = []
    async with aiohttp.ClientSession() as one, aiohttp.ClientSession() as other:
        for number in range(51):
            http = one if number % 2 else other
            caller = Caller(http, sim.api_url, sim.gateway_url)
            statuses.append((await caller.call("GET", f"/guilds/{guild.id}")).status)
    assert statuses == [200] * 50 + [429]


async def test_discord_py_waits_out_a_429_and_succeeds(
    sim: Simulator,
    control: SimulatorControl,
    guild: GuildInfo,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(discord.http.Route, "BASE", sim.api_url)
    http = discord.http.HTTPClient(asyncio.get_running_loop())
    await http.static_login(TOKEN)
    try:
        await control.add_fault(path="/guilds/*", status=429, retry_after_s=0.1)
        shown = await http.get_guild(guild.id)
        assert int(shown["id"]) == guild.id
    finally:
        await http.close()
    statuses = [
        e.data["status"] for e in await control.record_all(["rest"]) if "guilds" in e.data["path"]
    ]
    assert statuses == [429, 200]


async def test_too_many_invalid_requests_ban_the_address_without_a_via_header() -> None:
    settings = Settings(invalid_requests=5, invalid_ban_s=30.0)
    async with running_simulator(settings) as sim, aiohttp.ClientSession() as http:
        caller = Caller(http, sim.api_url, sim.gateway_url)
        for _ in range(5):
            assert (await caller.call("GET", "/users/@me", Authorization="Bot no")).status == 401
        banned = await caller.call("GET", "/users/@me")
        assert banned.status == 429
        assert "Via" not in banned.headers
        assert banned.headers["Content-Type"].startswith("text/html")
        async with SimulatorControl(sim.url) as control:
            assert list((await control.limits())["banned"].values()) == [pytest.approx(30, abs=5)]
            (ban,) = await control.record_all(["ban"])
            assert ban.data["invalid_requests"] == 5
            assert not (await control.set_limits(forgive=True))["banned"]
        assert (await caller.call("GET", "/users/@me")).status == 200


async def test_429s_of_shared_scope_do_not_count_as_invalid(
    caller: Caller, control: SimulatorControl
) -> None:
    await control.add_fault(status=429, scope="shared", count=3)
    await control.add_fault(status=429, scope="user", count=2)
    for _ in range(5):
        assert (await caller.call("GET", "/users/@me")).status == 429
    counted = (await control.set_limits())["invalid"]
    assert list(counted.values()) == [2]


async def test_limits_can_be_switched_off(
    caller: Caller, control: SimulatorControl, guild: GuildInfo
) -> None:
    await control.set_limits(enabled=False)
    path = f"/channels/{guild.channels['general']}/messages"
    replies = [await caller.call("POST", path, {"content": str(i)}) for i in range(60)]
    assert {r.status for r in replies} == {200}
    assert "X-RateLimit-Limit" not in replies[0].headers


@pytest.mark.parametrize("status", [500, 502, 503, 429])
async def test_a_fault_hits_its_route_as_often_as_asked(
    status: int, caller: Caller, control: SimulatorControl, guild: GuildInfo
) -> None:
    await control.add_fault(
        method="GET", path="/guilds/{guild_id}", status=status, count=2, retry_after_s=0.5
    )
    replies = [await caller.call("GET", f"/guilds/{guild.id}") for _ in range(3)]
    assert [r.status for r in replies] == [status, status, 200]
    assert (await caller.call("GET", "/users/@me")).status == 200
    faults = await control.record_all(["fault"])
    assert len(faults) == 2


async def test_a_fault_after_the_effect_loses_the_answer_not_the_effect(
    caller: Caller, control: SimulatorControl, guild: GuildInfo
) -> None:
    path = f"/channels/{guild.channels['general']}/messages"
    await control.add_fault(method="POST", status=502, moment="after")
    lost = await caller.call("POST", path, {"content": "it happened"})
    assert lost.status == 502
    await control.add_fault(method="POST", drop=True, moment="after")
    with pytest.raises(aiohttp.ClientError):
        await caller.call("POST", path, {"content": "this too"})
    await control.add_fault(method="POST", drop=True, moment="before")
    with pytest.raises(aiohttp.ClientError):
        await caller.call("POST", path, {"content": "this not"})
    contents = [m["content"] for m in await control.messages(guild.channels["general"])]
    assert contents == ["it happened", "this too"]
    entries = [e.data for e in await control.record_all(["rest"])]
    assert [e.get("took_effect") for e in entries] == [True, True, None]


async def test_a_fault_can_be_for_one_pod_and_be_late(
    caller: Caller, control: SimulatorControl
) -> None:
    await control.add_fault(pod="gateway-1", latency_ms=500, count=None)
    before = time.monotonic()
    await caller.call("GET", "/users/@me", **{"X-Modbot-Pod": "gateway-0"})
    quick = time.monotonic() - before
    await caller.call("GET", "/users/@me", **{"X-Modbot-Pod": "gateway-1"})
    assert time.monotonic() - before - quick >= 0.5
    assert quick < 0.5
    await control.clear_faults()
    pods = [e.data["pod"] for e in await control.record_all(["rest"])]
    assert pods == ["gateway-0", "gateway-1"]


async def test_gateway_latency_delays_dispatches(
    caller: Caller, control: SimulatorControl, guild: GuildInfo
) -> None:
    gateway = await caller.identified()
    await gateway.until("GUILD_CREATE")
    await control.gateway_fault("latency", latency_ms=80)
    before = time.monotonic()
    await control.post(guild.channels["general"], guild.members[0].id, "late")
    await gateway.until("MESSAGE_CREATE")
    assert time.monotonic() - before >= 0.08
