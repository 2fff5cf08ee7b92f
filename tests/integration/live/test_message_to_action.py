"""A message on Discord's socket becomes an action, a report, a case and facts; one trace."""

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest

from components.stack.live import LiveStack
from components.traffic.evidence import cut, gather, settled
from contracts.facts import CaseOpened, CaseUpdated, MessageFlagged
from contracts.ids import GuildId
from contracts.inputs import DiscordDispatch
from contracts.message import decode
from tests.integration.live.guild import SPAM, new_guild

pytestmark = pytest.mark.asyncio(loop_scope="session")


async def test_a_spam_message_is_deleted_its_author_timed_out_and_reported(
    stack: LiveStack,
) -> None:
    guild = await new_guild(stack, "spam")
    author = guild.members[0].id
    message = await stack.control.post(guild.channels["general"], author, SPAM)
    ours = GuildId(str(guild.id))
    await _case_is_done(stack, ours)
    await settled(stack.bus, [ours])

    state = await stack.control.guild(guild.id)
    member = next(m for m in state["member_list"] if m["user"]["id"] == str(author))
    assert member["communication_disabled_until"] is not None
    general = await stack.control.messages(guild.channels["general"])
    assert str(message) not in {m["id"] for m in general}
    thread = next(t for t in state["threads"] if t["name"].endswith(" logs"))
    posts = " ".join(m["content"] for m in await stack.control.messages(int(thread["id"])))
    assert "high" in posts
    assert "spam_keyword" in posts.replace(" ", "_").lower()

    evidence = await gather(stack.control, stack.bus, [ours], await cut_now(stack, ours))
    types = [fact.type for fact in sorted(evidence.facts, key=lambda f: f.stream_sequence)]
    assert MessageFlagged.type in types
    assert types.index(CaseOpened.type) < types.index(CaseUpdated.type)


async def test_one_message_is_one_trace_from_the_socket_to_the_rest_call(
    stack: LiveStack,
) -> None:
    guild = await new_guild(stack, "trace")
    message = await stack.control.post(guild.channels["general"], guild.members[0].id, SPAM)
    ours = GuildId(str(guild.id))
    await _case_is_done(stack, ours)
    evidence = await gather(stack.control, stack.bus, [ours], await cut_now(stack, ours))
    logged = next(
        item
        for item in evidence.inputs
        if isinstance(item.body, DiscordDispatch)
        and item.body.event == "MESSAGE_CREATE"
        and f'"{message}"'.encode() in bytes(item.body.data)
    )
    trace = logged.traceparent.split("-")[1]
    chain = await _chain(stack, trace, "effect message.delete")
    assert [span["service"] for span in chain] == ["gateway", "shard"]
    assert [span["name"] for span in chain] == ["effect message.delete", "discord dispatch"]
    assert chain[-1]["start_ns"] <= chain[0]["start_ns"] <= chain[0]["end_ns"]


async def _chain(stack: LiveStack, trace: str, name: str) -> list[dict[str, Any]]:
    """The named span of the trace and its parents up to the root, once all are written."""
    async with asyncio.timeout(15):
        while True:
            spans = {
                span["span"]: span
                for file in (stack.home / "traces").glob("*.jsonl")
                for line in _whole_lines(file)
                if (span := json.loads(line))["trace"] == trace
            }
            chain = [span for span in spans.values() if span["name"] == name]
            while chain and chain[-1]["parent"] in spans:
                chain.append(spans[chain[-1]["parent"]])
            if chain and chain[-1]["parent"] is None:
                return chain
            await asyncio.sleep(0.2)  # spans are written in batches, by other processes


def _whole_lines(file: Path) -> list[str]:
    """What is written by now: a batch comes in parts, which end anywhere in a line."""
    return file.read_text(encoding="utf-8").rpartition("\n")[0].splitlines()


async def _case_is_done(stack: LiveStack, guild: GuildId) -> None:
    """Wait for the fact that the case's action has happened."""
    async with asyncio.timeout(30):
        while True:
            evidence = await gather(stack.control, stack.bus, [guild], await cut_now(stack, guild))
            updates = [
                decode(fact.data, CaseUpdated)
                for fact in evidence.facts
                if fact.type == CaseUpdated.type
            ]
            if any(update.status == "done" for update in updates):
                return
            await asyncio.sleep(0.1)


async def cut_now(stack: LiveStack, guild: GuildId) -> Any:
    """The moment, for `gather`."""
    return await cut(stack.control, stack.bus, [guild])
