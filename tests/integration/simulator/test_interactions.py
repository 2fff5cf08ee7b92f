"""Interactions: over the gateway, over signed HTTP, their deadlines, and probes."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import aiohttp
import msgspec
import pytest
from aiohttp import web
from nacl.exceptions import BadSignatureError
from nacl.signing import VerifyKey

from components.simulator.bootstrap import Simulator, running_simulator
from components.simulator.client import ControlError, GuildInfo, SimulatorControl
from components.simulator.settings import Settings
from tests.integration.simulator.raw import Caller, RawGateway, Reply

APPLICATION = Settings().application_id
COMMANDS = [
    {
        "name": "case",
        "description": "cases",
        "options": [
            {
                "type": 1,
                "name": "view",
                "description": "view one",
                "options": [
                    {"type": 4, "name": "number", "description": "which", "required": True},
                    {"type": 6, "name": "member", "description": "whose"},
                ],
            }
        ],
    },
    {"name": "Report", "type": 3},
    {"name": "purge", "description": "p", "default_member_permissions": str(1 << 13)},
]
BUTTON = {
    "type": 1,
    "components": [{"type": 2, "style": 1, "label": "go", "custom_id": "vote:1"}],
}


@pytest.fixture
async def bot(caller: Caller, guild: GuildInfo) -> RawGateway:
    put = await caller.call("PUT", f"/applications/{APPLICATION}/commands", COMMANDS)
    assert put.status == 200
    return await caller.identified()


async def answer(
    caller: Caller, interaction: dict[str, Any], kind: int, query: str = "", **data: Any
) -> Reply:
    path = f"/interactions/{interaction['id']}/{interaction['token']}/callback{query}"
    return await caller.call("POST", path, {"type": kind, "data": data}, Authorization="")


async def test_a_slash_command_arrives_and_its_answer_is_a_message(
    bot: RawGateway, caller: Caller, control: SimulatorControl, guild: GuildInfo
) -> None:
    channel, alice, bob = guild.channels["general"], guild.members[0].id, guild.members[1].id
    asked = await control.command(channel, alice, "case view", {"number": 3, "member": bob})
    got = await bot.until("INTERACTION_CREATE")
    assert (got["id"], got["type"], got["guild_id"]) == (str(asked), 2, str(guild.id))
    assert got["member"]["user"]["id"] == str(alice)
    assert got["data"]["name"] == "case"
    assert got["data"]["options"] == [
        {
            "name": "view",
            "type": 1,
            "options": [
                {"name": "number", "type": 4, "value": 3},
                {"name": "member", "type": 6, "value": str(bob)},
            ],
        }
    ]
    assert list(got["data"]["resolved"]["users"]) == [str(bob)]
    reply = await answer(caller, got, 4, "?with_response=true", content="case 3")
    assert reply.body["resource"]["message"]["content"] == "case 3"
    outcome = await control.interaction(asked, wait_s=1)
    assert (outcome["answer"], outcome["answered_over"]) == (4, "rest")
    assert [m["content"] for m in outcome["messages"]] == ["case 3"]
    told = await bot.until("MESSAGE_CREATE")
    assert told["interaction_metadata"]["id"] == str(asked)
    assert [m["content"] for m in await control.messages(channel)] == ["case 3"]


async def test_a_second_answer_is_40060(
    bot: RawGateway, caller: Caller, control: SimulatorControl, guild: GuildInfo
) -> None:
    await control.command(
        guild.channels["general"], guild.members[0].id, "case view", {"number": 1}
    )
    got = await bot.until("INTERACTION_CREATE")
    assert (await answer(caller, got, 5)).status == 204
    again = await answer(caller, got, 4, content="late")
    assert (again.status, again.code) == (400, 40060)


async def test_a_deferral_shows_thinking_and_its_edit_completes_it(
    bot: RawGateway, caller: Caller, control: SimulatorControl, guild: GuildInfo
) -> None:
    channel = guild.channels["general"]
    asked = await control.command(channel, guild.members[0].id, "case view", {"number": 1})
    got = await bot.until("INTERACTION_CREATE")
    webhook = f"/webhooks/{APPLICATION}/{got['token']}"
    early = await caller.call("PATCH", f"{webhook}/messages/@original", {"content": "x"})
    assert (early.status, early.code) == (404, 10015)
    await answer(caller, got, 5, flags=64)
    assert (await control.interaction(asked))["loading"] is True
    done = await caller.call(
        "PATCH", f"{webhook}/messages/@original", {"content": "done"}, Authorization=""
    )
    assert (done.body["content"], done.body["flags"]) == ("done", 64)
    outcome = await control.interaction(asked)
    assert (outcome["loading"], outcome["messages"][0]["ephemeral_to"]) == (
        False,
        str(guild.members[0].id),
    )
    # Ephemeral: in no channel.
    assert await control.messages(channel) == []
    more = await caller.call("POST", webhook, {"content": "more"}, Authorization="")
    assert [m["id"] for m in await control.messages(channel)] == [more.body["id"]]
    gone = await caller.call("DELETE", f"{webhook}/messages/{more.body['id']}", Authorization="")
    assert gone.status == 204
    assert await control.messages(channel) == []


async def test_a_button_updates_its_message_and_opens_a_modal_which_can_be_submitted(
    bot: RawGateway, caller: Caller, control: SimulatorControl, guild: GuildInfo
) -> None:
    channel, alice = guild.channels["general"], guild.members[0].id
    posted = await caller.call(
        "POST", f"/channels/{channel}/messages", {"content": "vote", "components": [BUTTON]}
    )
    message = int(posted.body["id"])
    await control.press(channel, message, alice, "vote:1")
    got = await bot.until("INTERACTION_CREATE")
    assert (got["type"], got["data"]["custom_id"], got["message"]["id"]) == (
        3,
        "vote:1",
        str(message),
    )
    assert (await answer(caller, got, 7, content="1 vote")).status == 204
    assert (await control.messages(channel))[0]["content"] == "1 vote"
    opened = await control.press(channel, message, alice, "vote:1")
    field = {"type": 4, "custom_id": "why", "label": "Why", "style": 1}
    modal: dict[str, Any] = {
        "custom_id": "why-modal",
        "title": "Why",
        "components": [{"type": 1, "components": [field]}],
    }
    got = await bot.until("INTERACTION_CREATE")
    assert (await answer(caller, got, 9, **modal)).status == 204
    await control.submit(opened, {"why": "because"})
    got = await bot.until("INTERACTION_CREATE")
    assert (got["type"], got["data"]["custom_id"]) == (5, "why-modal")
    assert got["data"]["components"][0]["components"][0]["value"] == "because"
    refused = await answer(caller, got, 9, **modal)
    assert (refused.status, refused.code) == (400, 50035)
    assert (await answer(caller, got, 6)).status == 204
    with pytest.raises(ControlError, match="no component"):
        await control.press(channel, message, alice, "other")


async def test_a_message_command_carries_its_message(
    bot: RawGateway, control: SimulatorControl, guild: GuildInfo
) -> None:
    channel, alice = guild.channels["general"], guild.members[0].id
    message = await control.post(channel, alice, "rude")
    await control.command(channel, guild.members[1].id, "Report", type=3, target_id=message)
    got = await bot.until("INTERACTION_CREATE")
    assert got["data"]["target_id"] == str(message)
    assert got["data"]["resolved"]["messages"][str(message)]["content"] == "rude"


async def test_a_member_cannot_run_what_is_unknown_incomplete_or_not_theirs(
    bot: RawGateway, control: SimulatorControl, guild: GuildInfo
) -> None:
    channel, alice = guild.channels["general"], guild.members[0].id
    attempts: list[tuple[str, dict[str, Any], str]] = [
        ("nothing", {}, "registered"),
        ("case", {}, "subcommand"),
        ("case view", {}, "missing"),
        ("case view", {"number": 1, "x": 2}, "no such options"),
        ("purge", {}, "may not use"),
    ]
    for name, options, words in attempts:
        with pytest.raises(ControlError, match=words):
            await control.command(channel, alice, name, options)
    await control.command(channel, guild.owner_id, "purge")


async def test_an_answer_after_3_s_is_10062_and_a_token_after_15_min_50027() -> None:
    async with (
        running_simulator(Settings(ack_s=0.05)) as sim,
        SimulatorControl(sim.url) as control,
        aiohttp.ClientSession() as http,
    ):
        guild = (await control.create_guilds(member_count=1))[0]
        caller = Caller(http, sim.api_url, sim.gateway_url)
        await caller.call("PUT", f"/applications/{APPLICATION}/commands", COMMANDS)
        bot = await caller.identified()
        run = (guild.channels["general"], guild.members[0].id, "case view", {"number": 1})
        late = await control.command(*run)
        got = await bot.until("INTERACTION_CREATE")
        outcome = await control.interaction(late, wait_s=2)
        assert outcome["failure"] == "not answered in time"
        refused = await answer(caller, got, 4, content="too late")
        assert (refused.status, refused.code) == (404, 10062)
        sim.world.settings = Settings()
        await control.command(*run)
        got = await bot.until("INTERACTION_CREATE")
        assert (await answer(caller, got, 4, content="in time")).status == 204
        original = f"/webhooks/{APPLICATION}/{got['token']}/messages/@original"
        assert (await caller.call("GET", original, Authorization="")).status == 200
        sim.world.settings = Settings(token_s=0.0)  # its life is over
        expired = await caller.call("GET", original, Authorization="")
        assert (expired.status, expired.code) == (401, 50027)


class Edge:
    """An interactions endpoint. `strict` checks signatures as it must."""

    def __init__(self, key: str, strict: bool) -> None:
        self.url = ""
        self.seen: list[dict[str, Any]] = []
        self.answer: dict[str, Any] | None = {"type": 4, "data": {"content": "over HTTP"}}
        self._key = VerifyKey(bytes.fromhex(key))
        self.strict = strict
        self.arrived = asyncio.Event()  # set by an interaction that is answered with 202

    async def handle(self, request: web.Request) -> web.Response:
        raw = await request.read()
        if self.strict:
            stamp = request.headers.get("X-Signature-Timestamp", "")
            try:
                signature = bytes.fromhex(request.headers.get("X-Signature-Ed25519", ""))
                self._key.verify(stamp.encode() + raw, signature)
            except (ValueError, BadSignatureError):
                return web.Response(status=401)
        body = msgspec.json.decode(raw)
        if body["type"] == 1:
            return web.json_response({"type": 1})
        self.seen.append(body)
        if self.answer is None:
            self.arrived.set()
            return web.Response(status=202)
        return web.json_response(self.answer)


@pytest.fixture(params=[True])
async def edge(request: pytest.FixtureRequest, control: SimulatorControl) -> AsyncIterator[Edge]:
    application = (await control.applications())[0]
    served = Edge(application["public_key"], request.param)
    runner = await serve(served)
    yield served
    await runner.cleanup()


async def serve(edge: Edge) -> web.AppRunner:
    app = web.Application()
    app.router.add_post("/interactions", edge.handle)
    runner = web.AppRunner(app)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    edge.url = f"http://127.0.0.1:{runner.addresses[0][1]}/interactions"
    return runner


async def test_an_endpoint_that_checks_signatures_gets_interactions_instead_of_the_gateway(
    edge: Edge, bot: RawGateway, caller: Caller, control: SimulatorControl, guild: GuildInfo
) -> None:
    await control.update_application(APPLICATION, interactions_endpoint_url=edge.url)
    run = (guild.channels["general"], guild.members[0].id, "case view", {"number": 1})
    asked = await control.command(*run)
    outcome = await control.interaction(asked, wait_s=3)
    assert (outcome["answer"], outcome["answered_over"]) == (4, "http")
    assert [m["content"] for m in outcome["messages"]] == ["over HTTP"]
    assert edge.seen[0]["id"] == str(asked)
    edge.answer = None  # 202: it will answer by itself
    asked = await control.command(*run)
    await asyncio.wait_for(edge.arrived.wait(), 5)
    assert (await answer(caller, edge.seen[1], 4, content="by REST")).status == 204
    assert (await control.interaction(asked))["answered_over"] == "rest"
    dispatched = await control.record_all(["dispatch"])
    assert "INTERACTION_CREATE" not in [e.data["event"] for e in dispatched]


@pytest.mark.parametrize("edge", [False], indirect=True)
async def test_an_endpoint_that_takes_bad_signatures_is_refused_and_removed(
    edge: Edge, control: SimulatorControl
) -> None:
    with pytest.raises(ControlError) as refused:
        await control.update_application(APPLICATION, interactions_endpoint_url=edge.url)
    assert refused.value.code == 50035
    assert (await control.applications())[0]["interactions_endpoint_url"] is None
    probes = [e.data for e in await control.record_all(["probe"])]
    failed = [p["signature"] for p in probes if p.get("passed") is False]
    assert len(failed) == 6


async def test_probes_with_bad_signatures_want_401(edge: Edge, control: SimulatorControl) -> None:
    await control.update_application(APPLICATION, interactions_endpoint_url=edge.url)
    assert await control.probe(APPLICATION) is True
    statuses = [e.data["status"] for e in await control.record_all(["probe"])]
    assert statuses == [200, 401, 401, 401, 401, 401, 401] * 2


async def test_an_endpoint_that_is_away_fails_the_interaction(
    bot: RawGateway, sim: Simulator, control: SimulatorControl, guild: GuildInfo
) -> None:
    application = sim.world.by_token(Settings().token)
    assert application is not None
    application.interactions_endpoint_url = "http://127.0.0.1:9/interactions"
    asked = await control.command(
        guild.channels["general"], guild.members[0].id, "case view", {"number": 1}
    )
    outcome = await control.interaction(asked, wait_s=3)
    assert outcome["answer"] is None
    assert "Connect" in outcome["failure"]


async def test_an_endpoint_that_stops_checking_is_found_by_the_regular_probe() -> None:
    async with (
        running_simulator(Settings(probe_interval_s=0.05)) as sim,
        SimulatorControl(sim.url) as control,
    ):
        application = (await control.applications())[0]
        edge = Edge(application["public_key"], strict=True)
        runner = await serve(edge)
        try:
            await control.update_application(APPLICATION, interactions_endpoint_url=edge.url)
            edge.strict = False
            async for entry in control.follow(["probe"]):
                if entry.data.get("removed") == edge.url:
                    break
        finally:
            await runner.cleanup()
        assert (await control.applications())[0]["interactions_endpoint_url"] is None
