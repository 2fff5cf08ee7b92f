"""``kill -9`` of a pod at random moments under messages: every action exactly once.

``MODBOT_CHAOS_SEED`` repeats a run.
"""

import asyncio
import os
import random
from collections import Counter

from components.simulator.bootstrap import Simulator
from components.simulator.client import SimulatorControl
from contracts import headers
from tests.integration.gateway.conftest import make_towns
from tests.integration.gateway.town import SPAM, PodProcess, Pods, Town, until
from tests.support.nats import RunningNats

SEED = int(os.environ.get("MODBOT_CHAOS_SEED", "1"))
MEMBERS = 40
KILLS = 4
TIMEOUT = 24
"""Audit-log action (docs: resources/audit-log)."""


async def test_a_pod_killed_at_random_moments_does_everything_once(
    discord: Simulator,
    control: SimulatorControl,
    nats_server: RunningNats,
    pods: Pods,
) -> None:
    print(f"MODBOT_CHAOS_SEED={SEED}")
    dice = random.Random(SEED)
    town = (await make_towns(1, discord, control, nats_server, members=MEMBERS))[0]
    pod = await pods.start()
    await town.assign(pod.name, pod.incarnation)
    await town.served()
    log = town.info.channels["mod-log"]
    await town.put_settings("settings", mod_log_channel=str(log))
    posting = asyncio.create_task(post(town, dice))
    for _ in range(KILLS):
        await asyncio.sleep(dice.uniform(0.1, 0.6))
        await pod.kill()
        await pod.start()
        await town.assign(pod.name, pod.incarnation)
    spam = await posting
    await until(lambda: finished(town), timeout_s=60)
    await check_discord(town, control, spam)
    await check_facts(town, spam)
    await check_state(town, pod)


async def post(town: Town, dice: random.Random) -> list[int]:
    """One spam message of every member."""
    posted = []
    for member in town.info.members:
        posted.append(await town.say(SPAM, member.id))
        await asyncio.sleep(dice.uniform(0.0, 0.15))
    return posted


async def finished(town: Town) -> bool:
    status = await town.served()
    return status.cases == MEMBERS and status.outbox_pending + status.facts_unpublished == 0


async def check_discord(town: Town, control: SimulatorControl, spam: list[int]) -> None:
    """Each message deleted, each member timed out, each report posted: once."""
    assert (await town.status()).outbox_parked == 0
    guild = await control.guild(town.info.id)
    deleted = Counter(
        int(entry.data["id"]) for entry in await control.record_all(kinds=["message_delete"])
    )
    assert deleted == Counter(spam)
    timed_out = Counter(
        int(entry["target_id"]) for entry in guild["audit_log"] if entry["action_type"] == TIMEOUT
    )
    assert timed_out == Counter(member.id for member in town.info.members)
    assert len(guild["threads"]) == MEMBERS
    for thread in guild["threads"]:
        texts = [message["content"] for message in thread["messages"]]
        assert len(texts) == len(set(texts)), texts
    mod_log = next(
        channel
        for channel in guild["channel_list"]
        if int(channel["id"]) == town.info.channels["mod-log"]
    )
    starters = Counter(
        message["content"] for message in mod_log["messages"] if message.get("thread")
    )
    assert len(mod_log["messages"]) == 3 * MEMBERS, starters


async def check_facts(town: Town, spam: list[int]) -> None:
    places = [
        (int(m.headers[headers.INPUT_SEQUENCE]), int(m.headers[headers.INPUT_INDEX]))
        for m in await town.facts()
    ]
    assert places == sorted(set(places))
    flagged = [
        m for m in await town.facts() if m.headers[headers.CE_TYPE] == "modbot.message.flagged.v1"
    ]
    assert len(flagged) == len(spam)


async def check_state(town: Town, pod: PodProcess) -> None:
    """What the pod holds is what a replay of the log gives."""
    assert await pod.stop() == 0
    await town.check_rows(pod.data)
