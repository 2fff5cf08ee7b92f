"""`/case view`, answered end to end by the owner: over the gateway and over HTTP."""

import asyncio
import json
from collections.abc import AsyncIterator
from typing import Any

import pytest
import pytest_asyncio

from components.chaos.questions import all_answered
from components.gateway.engine.texts import text as text_of
from components.simulator.client import ControlError, GuildInfo
from components.stack.live import LiveStack
from contracts import subjects
from contracts.ids import CaseNumber, GuildId
from contracts.interactions import (
    CHANNEL_MESSAGE,
    DEFERRED_CHANNEL_MESSAGE,
    EPHEMERAL,
    MANAGE_MESSAGES,
)
from contracts.message import decode, encode
from contracts.requests import CaseList, CaseView, GetCase, ListCases
from tests.integration.live.guild import SPAM, new_guild

pytestmark = pytest.mark.asyncio(loop_scope="session")


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def guild(stack: LiveStack) -> GuildInfo:
    """A guild with one case."""
    made = await new_guild(stack, "cases")
    await stack.control.post(made.channels["general"], made.members[0].id, SPAM)
    subject = subjects.request(GuildId(str(made.id)), ListCases.verb)
    async with asyncio.timeout(30):
        while True:
            reply = await stack.bus.ask(subject, encode(ListCases()))
            if decode(reply.data, CaseList).cases:
                return made
            await asyncio.sleep(0.05)


@pytest_asyncio.fixture(loop_scope="session", params=["gateway", "http"])
async def way(request: pytest.FixtureRequest, stack: LiveStack) -> AsyncIterator[str]:
    """How interactions reach modbot: over the shard's gateway, or the edge's endpoint."""
    (application,) = (a for a in await stack.control.applications() if a["name"] == "modbot")
    endpoint = f"{stack.record.urls['edge-0']}/interactions/discord"
    if request.param == "http":
        await stack.control.update_application(
            int(application["id"]), interactions_endpoint_url=endpoint
        )
    yield request.param
    await stack.control.update_application(int(application["id"]), interactions_endpoint_url=None)


async def ask(stack: LiveStack, channel: int, member: int, number: int) -> dict[str, Any]:
    """Run the command as a member; what Discord shows for it in the end: an answer that takes its
    owner longer than the receiver waits is deferred, and edited in."""
    interaction = await stack.control.command(channel, member, "case view", {"number": number})
    async with asyncio.timeout(30):
        (shown,) = await all_answered(stack.control, [interaction])
    return shown


async def test_a_moderator_sees_the_case_and_nobody_else_does(
    stack: LiveStack, guild: GuildInfo, way: str
) -> None:
    general, moderator, nobody = guild.channels["general"], guild.members[1], guild.members[2]
    shown = await ask(stack, general, moderator.id, 1)
    assert shown["answer"] in (CHANNEL_MESSAGE, DEFERRED_CHANNEL_MESSAGE), (way, shown)
    (message,) = shown["messages"]
    text = json.dumps(message, ensure_ascii=False)
    view = await case(stack, guild)
    assert message["flags"] & EPHEMERAL
    assert str(view.user) in text
    assert "#1" in text
    assert str(view.score) in text
    assert "<t:" in text

    # Discord does not offer the command to whom its default permissions leave out.
    with pytest.raises(ControlError, match="may not use 'case'"):
        await ask(stack, general, nobody.id, 1)


async def test_the_owner_refuses_in_words_whom_discord_lets_through(
    stack: LiveStack, guild: GuildInfo, way: str
) -> None:
    """A helper may moderate, but not in this channel: Discord says so with the interaction."""
    helper = f"helper-{way}"
    await stack.control.create_role(guild.id, helper, permissions=MANAGE_MESSAGES)
    quiet = await stack.control.create_channel(
        guild.id, f"quiet-{way}", overwrites=[{"role": helper, "deny": MANAGE_MESSAGES}]
    )
    member = await stack.control.join(guild.id, username=helper, roles=[helper])
    shown = await ask(stack, guild.channels["general"], member, 1)
    assert "#1" in json.dumps(shown["messages"])

    refused = await ask(stack, quiet, member, 1)
    (message,) = refused["messages"]
    assert message["flags"] & EPHEMERAL
    assert message["content"] == text_of("case.not_allowed")
    view = await case(stack, guild)
    assert str(view.user) not in json.dumps(message)


async def test_a_case_that_does_not_exist_is_answered_in_words(
    stack: LiveStack, guild: GuildInfo, way: str
) -> None:
    shown = await ask(stack, guild.channels["general"], guild.members[1].id, 999)
    (message,) = shown["messages"]
    assert message["flags"] & EPHEMERAL
    assert "999" in json.dumps(message)


async def case(stack: LiveStack, guild: GuildInfo) -> CaseView:
    """The case as its owner tells it."""
    subject = subjects.request(GuildId(str(guild.id)), GetCase.verb)
    reply = await stack.bus.ask(subject, encode(GetCase(number=CaseNumber(1))))
    return decode(reply.data, CaseView)
