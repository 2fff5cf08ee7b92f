"""Checking a Discord account against the simulated Discord."""

import re

import pytest
from aiohttp import web

from components.simulator.bootstrap import Simulator, running_simulator
from components.simulator.client import SimulatorControl
from components.simulator.settings import Settings
from components.stack.account import check
from components.stack.errors import AccountRefused
from tests.support.nats import free_port

TOKEN = "a-token"
ALL = 1 << 1 | 1 << 8 | 1 << 15
MEMBERS = 1 << 1
CONTENT = 1 << 15


async def with_intents(simulator: Simulator, intents: int) -> None:
    async with SimulatorControl(simulator.url) as control:
        (application,) = await control.applications()
        await control.update_application(int(application["id"]), privileged_intents=intents)


async def test_a_fit_account_gives_what_the_edge_needs() -> None:
    async with running_simulator(Settings(token=TOKEN)) as simulator:
        account = await check(TOKEN, api_url=simulator.api_url, gateway_url=simulator.gateway_url)
        async with SimulatorControl(simulator.url) as control:
            (application,) = await control.applications()
    assert account.application_id == application["id"]
    assert account.public_key == application["public_key"]
    assert account.token == TOKEN
    assert not account.simulated


async def test_a_refused_token_is_told_without_showing_it() -> None:
    async with running_simulator(Settings(token=TOKEN)) as simulator:
        with pytest.raises(AccountRefused, match="refused DISCORD_TOKEN") as refused:
            await check("wrong-secret", api_url=simulator.api_url)
    assert "wrong-secret" not in str(refused.value)


@pytest.mark.parametrize(
    ("granted", "switches"),
    [
        (MEMBERS, "turn on MESSAGE CONTENT INTENT at"),
        (CONTENT, "turn on SERVER MEMBERS INTENT at"),
        (0, "turn on SERVER MEMBERS INTENT and MESSAGE CONTENT INTENT at"),
    ],
)
async def test_a_missing_intent_is_named_with_its_switch(granted: int, switches: str) -> None:
    async with running_simulator(Settings(token=TOKEN)) as simulator:
        await with_intents(simulator, granted)
        with pytest.raises(AccountRefused, match=re.escape(switches)):
            await check(TOKEN, api_url=simulator.api_url)


async def test_presences_are_not_asked_for() -> None:
    async with running_simulator(Settings(token=TOKEN)) as simulator:
        await with_intents(simulator, MEMBERS | CONTENT)
        await check(TOKEN, api_url=simulator.api_url)


async def test_a_used_up_budget_of_sessions_is_told_with_the_wait() -> None:
    async with running_simulator(Settings(token=TOKEN, identify_budget=0)) as simulator:
        with pytest.raises(AccountRefused, match=r"0 more sessions.*wait"):
            await check(TOKEN, api_url=simulator.api_url)


async def test_an_outage_of_discord_is_told() -> None:
    async with running_simulator(Settings(token=TOKEN)) as simulator:
        async with SimulatorControl(simulator.url) as control:
            await control.add_fault(status=503, count=1)
        with pytest.raises(AccountRefused, match="answered 503"):
            await check(TOKEN, api_url=simulator.api_url)


async def test_a_discord_that_cannot_be_reached_is_told() -> None:
    async with running_simulator(Settings(token=TOKEN)) as simulator:
        url = simulator.api_url
    with pytest.raises(AccountRefused, match="cannot be reached"):
        await check(TOKEN, api_url=url)


@pytest.mark.parametrize("body", ["<html>Sign in to the hotel</html>", "{not json"])
async def test_another_server_in_between_is_told(body: str) -> None:
    kind = "text/html" if body.startswith("<") else "application/json"

    async def answer(_: web.Request) -> web.Response:
        return web.Response(text=body, content_type=kind)

    application = web.Application()
    application.router.add_get("/{path:.*}", answer)
    runner = web.AppRunner(application)
    await runner.setup()
    try:
        await web.TCPSite(runner, "127.0.0.1", port := free_port()).start()
        with pytest.raises(AccountRefused, match="is not Discord"):
            await check(TOKEN, api_url=f"http://127.0.0.1:{port}/api/v10")
    finally:
        await runner.cleanup()


async def test_an_address_that_is_none_is_told() -> None:
    with pytest.raises(AccountRefused, match="MODBOT_DISCORD_API_URL is wrong"):
        await check(TOKEN, api_url="http:///api")


@pytest.mark.parametrize("token", ["secret\n", " secret", "sec ret", "sécret", "secret\x00"])
async def test_a_token_that_was_copied_badly_is_told_without_showing_it(token: str) -> None:
    with pytest.raises(AccountRefused, match="copy the bot's token again") as refused:
        await check(token, api_url="http://127.0.0.1:1")
    assert token.strip() not in str(refused.value)
