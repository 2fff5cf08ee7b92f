"""Effects on their way to Discord: refusals, rate limits, failures, order, the gate."""

import asyncio
import logging
import re
from typing import Any

import msgspec
import pytest
from nats.aio.msg import Msg

from components.simulator.client import SimulatorControl
from contracts import headers, subjects
from contracts.inputs import EffectResult, InteractionReceived, interaction_id
from contracts.interactions import AnswerTaken, InteractionAnswer
from contracts.message import decode, encode
from tests.integration.gateway.town import SPAM, Pods, Town, until
from tests.support.nats import RunningNats


@pytest.fixture
async def served(town: Town, pods: Pods) -> Town:
    await town.assign("gateway-0", await pods.inside())
    await town.served()
    return town


async def settled(town: Town, count: int) -> list[EffectResult]:
    """Wait until ``count`` effects have results; returns them."""

    async def all_there() -> list[EffectResult] | None:
        results = [item for item in await town.inputs() if isinstance(item, EffectResult)]
        return results if len(results) >= count else None

    found: list[EffectResult] = await until(all_there)
    return found


async def test_a_rate_limited_effect_waits_as_long_as_discord_says(
    served: Town, control: SimulatorControl
) -> None:
    await control.add_fault(method="DELETE", status=429, retry_after_s=0.6, count=1)
    spam = await served.say(SPAM)
    results = await settled(served, 2)
    assert {result.outcome for result in results} == {"done"}
    first, second = await served.rest("DELETE", f"/messages/{spam}")
    assert second.at_ms - first.at_ms >= 550


async def test_deletions_of_a_guild_run_side_by_side(
    served: Town, control: SimulatorControl
) -> None:
    await control.set_limits(enabled=True)  # where none is told, one goes after the other
    pings = "@everyone @here"  # deleted, and nothing else is done
    first = await served.say(f"{pings} first")
    await until(lambda: served.rest("DELETE", f"/messages/{first}"))  # the limits are known
    member = served.info.members[1].id
    slow = await control.post(served.channel, member, f"{pings} slow")
    await control.add_fault(method="DELETE", path=f"*/messages/{slow}", latency_ms=1500)
    await served.heard(slow, f"{pings} slow", member)
    quick = await served.say(f"{pings} quick", served.info.members[0].id)

    async def both() -> list[float] | None:
        found = [await served.rest("DELETE", f"/messages/{message}") for message in (slow, quick)]
        return [entries[0].at_ms for entries in found] if all(found) else None

    began_slow, began_quick = await until(both)
    assert began_quick < began_slow + 1000


@pytest.mark.parametrize("status", [500, 502, 503])
async def test_a_failing_discord_is_asked_again_with_growing_pauses(
    status: int, served: Town, control: SimulatorControl, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, logger="components.gateway.shell.effects.lanes")
    await control.add_fault(method="DELETE", status=status, count=2)
    spam = await served.say(SPAM)
    results = await settled(served, 2)
    assert {result.outcome for result in results} == {"done"}
    first, second, third = await served.rest("DELETE", f"/messages/{spam}")
    # What lies between two requests is no less than the pause; a busy machine makes it more.
    said = re.findall(r"message\.delete of guild \d+ again in ([\d.]+) s", caplog.text)
    one, other = (float(pause_s) for pause_s in said)
    assert one < other
    assert second.at_ms - first.at_ms >= 1000 * one - 50
    assert third.at_ms - second.at_ms >= 1000 * other - 50


async def test_a_refusal_is_reported_with_discords_code_and_words(
    served: Town, control: SimulatorControl
) -> None:
    gone = served.info.members[1].id
    message = await control.post(served.channel, gone, SPAM)
    await control.leave(served.info.id, gone)
    await served.heard(message, SPAM, gone)
    failed = [result for result in await settled(served, 2) if result.outcome == "failed"]
    assert [(r.error.status, r.error.code) for r in failed if r.error] == [(404, 10007)]


async def test_a_message_that_is_gone_already_counts_as_deleted(
    served: Town, control: SimulatorControl
) -> None:
    author = served.info.members[1].id
    message = await control.post(served.channel, author, SPAM)
    await control.delete(served.channel, message, author)
    await served.heard(message, SPAM, author)
    assert {result.outcome for result in await settled(served, 2)} == {"done"}


async def test_removals_go_before_posts_and_posts_in_order(
    served: Town, control: SimulatorControl
) -> None:
    log = served.info.channels["mod-log"]
    await served.put_settings("one", mod_log_channel=str(log))
    await control.add_fault(method="DELETE", status=500, count=1)
    await served.say(SPAM)

    async def reported() -> bool:
        status = await served.status()
        return status.cases > 0 and status.outbox_pending == 0

    await until(reported)
    calls = [
        entry.data
        for entry in await control.record_all(kinds=["rest"])
        if entry.data["method"] != "GET"
    ]
    removal = max(n for n, call in enumerate(calls) if call["method"] in ("DELETE", "PATCH"))
    posts = min(n for n, call in enumerate(calls) if call["method"] == "POST")
    assert removal < posts


async def test_the_owner_answers_through_the_first_responder_that_waits(
    served: Town, nats_server: RunningNats
) -> None:
    shard = await nats_server.connect("shard")
    answers: asyncio.Queue[InteractionAnswer] = asyncio.Queue()

    async def respond(message: Msg) -> None:
        answers.put_nowait(decode(message.data, InteractionAnswer))
        await message.respond(encode(AnswerTaken(taken=True)))

    subject = subjects.answer("shard", "shard-0", "5")  # type: ignore[arg-type]
    await shard.listen(subject, respond)
    await shard.barrier()
    await interact(served, subject)
    answer = await asyncio.wait_for(answers.get(), 5)
    assert answer.interaction == INTERACTION["id"]
    assert answer.epoch == 1
    assert [result.outcome for result in await settled(served, 1)] == ["done"]
    assert await served.rest("POST", "/callback") == []


async def test_effects_go_on_after_the_bus_was_away(
    served: Town, nats_server: RunningNats, control: SimulatorControl
) -> None:
    nats_server.kill()
    await nats_server.start()
    spam = await control.post(served.channel, served.info.members[0].id, SPAM)

    async def appended() -> bool:
        try:
            await served.heard(spam, SPAM, served.info.members[0].id)
        except Exception:
            return False
        return True

    await until(appended)
    assert {result.outcome for result in await settled(served, 2)} == {"done"}
    assert len(await served.rest("DELETE", f"/messages/{spam}")) == 1


INTERACTION: dict[str, Any] = {
    "id": str((1_900_000_000_000 - 1_420_070_400_000) << 22),
    "application_id": "1",
    "type": 2,
    "token": "secret-token",
    "data": {"name": "case", "options": []},
}


async def interact(town: Town, answer_to: str) -> None:
    """Append an interaction."""
    body = {**INTERACTION, "guild_id": town.guild}
    received = InteractionReceived(
        via="gateway", answer_to=answer_to, data=msgspec.Raw(msgspec.json.encode(body))
    )
    await town.shard.append(
        subjects.inputs(town.guild),
        encode(received),
        {headers.MSG_ID: interaction_id(INTERACTION["id"])},
    )
