"""``kill -9`` of every process in turn, and of the bus with the shard, under traffic, restarted by
the supervisor: no event is lost, no action is done twice, every question is answered once, and
every guild's state is what a replay of its log gives.

Discord is in its strict mode: it drops what a heartbeat has confirmed, so a confirmation that
came too early shows as a lost event. ``MODBOT_CHAOS_ROUNDS`` and ``MODBOT_CHAOS_SEED`` repeat or
extend a run; ``make chaos`` prints both.
"""

import asyncio
import os
import random
import signal
import time
from collections import Counter
from pathlib import Path

import pytest

from components.chaos.oracle import held_by, replay
from components.chaos.questions import all_answered, ask_for_cases, outages, wrong
from components.cli.traffic import report_on
from components.stack.live import LiveStack, live_stack
from components.traffic import journal
from components.traffic.check import check
from components.traffic.corpus import OWN
from components.traffic.driver import TrafficOptions, drive
from components.traffic.evidence import Evidence, cut, gather, settled, unsettled
from contracts.ids import GuildId, InteractionId
from contracts.inputs import interaction_id
from contracts.interactions import CHANNEL_MESSAGE, DEFERRED_CHANNEL_MESSAGE

SHARD = "shard-0"
VICTIMS = (
    ("nats",),
    (SHARD,),
    ("gateway-0",),
    ("gateway-1",),
    ("config-0",),
    ("config-1",),
    ("edge-0",),
    ("nats", SHARD),
)
"""Processes that are killed at the same moment."""
ROUNDS = int(os.environ.get("MODBOT_CHAOS_ROUNDS", "1"))
SEED = int(os.environ.get("MODBOT_CHAOS_SEED", "1"))
GUILDS = 20
"""So many that no channel's own limit (5 messages in 5 s) holds its reports up for long."""
RATE = 8.0
RESTART_S = 30.0
SETTLE_S = 90.0


async def _kill_and_wait(stack: LiveStack, victims: tuple[str, ...]) -> None:
    """Kill the processes and wait until the supervisor has started others."""
    before = {victim: stack.process(victim) for victim in victims}
    for process in before.values():
        os.kill(process, signal.SIGKILL)
    async with asyncio.timeout(RESTART_S):
        for victim, process in before.items():
            while True:
                try:
                    if stack.process(victim) != process:
                        break
                except StopIteration:
                    pass  # between two processes: the record names none
                await asyncio.sleep(0.05)


@pytest.mark.timeout(420)
async def test_killing_any_process_under_traffic_loses_and_doubles_nothing(
    tmp_path: Path,
) -> None:
    print(f"MODBOT_CHAOS_SEED={SEED} MODBOT_CHAOS_ROUNDS={ROUNDS}")
    dice = random.Random(SEED)
    victims = [victim for _ in range(ROUNDS) for victim in dice.sample(VICTIMS, len(VICTIMS))]
    environment = {"MODBOT_SIM_STRICT_RESUME": "true", "MODBOT_SIM_HEARTBEAT_INTERVAL_MS": "1000"}
    async with live_stack(tmp_path / "home", "--guilds", "0", environment=environment) as stack:
        options = TrafficOptions(
            guilds=GUILDS, rate=RATE, files=(str(OWN),) * (1 + 2 * ROUNDS), seed=SEED
        )
        path = stack.home / journal.NAME
        traffic = asyncio.create_task(drive(stack.control, stack.bus, options, path))
        await _first_line(path, traffic)
        asked: list[int] = []
        guilds = await stack.control.guilds()
        asking = asyncio.create_task(ask_for_cases(stack.control, guilds, asked))
        shard_kills_ms = []
        for killed in victims:
            await asyncio.sleep(dice.uniform(0.2, 3.0))  # the random moment is the test's input
            if SHARD in killed:
                shard_kills_ms.append(time.time() * 1000)
            await _kill_and_wait(stack, killed)
        progress = await traffic
        asking.cancel()
        with pytest.raises(asyncio.CancelledError):
            await asking
        assert progress.posted > 100

        posted = journal.read(path)
        assert posted is not None
        report = await report_on(stack.control, stack.bus, posted, settle_s=SETTLE_S)
        assert report.violations == dict.fromkeys(report.violations, 0), report.examples
        assert report.sent == report.seen == progress.posted
        assert report.acted_on > 20
        assert report.checked.effects > 50
        evidence = await _state_equals_replay(stack)
        checked, violations = check(evidence)
        assert violations.total == 0, violations
        assert checked.reports == report.acted_on
        assert checked.excused == 0

        async with asyncio.timeout(SETTLE_S):
            shown = await all_answered(stack.control, asked)
        assert wrong(shown, evidence.record, outages(evidence.record, shard_kills_ms)) == []
        kinds = Counter(str(one["failure"] or one["answer"]) for one in shown)
        print(f"questions by what became of them: {dict(kinds)}")
        assert kinds[str(CHANNEL_MESSAGE)] + kinds[str(DEFERRED_CHANNEL_MESSAGE)] > len(asked) / 2
        on_log = {item.message_id for item in evidence.inputs}
        assert {interaction_id(InteractionId(str(one))) for one in asked} <= on_log


async def _first_line(path: Path, traffic: asyncio.Task[object]) -> None:
    while not path.exists():
        if traffic.done():
            traffic.result()
        await asyncio.sleep(0.05)


async def _state_equals_replay(stack: LiveStack) -> Evidence:
    guilds = [GuildId(str(guild.id)) for guild in await stack.control.guilds()]
    try:
        async with asyncio.timeout(SETTLE_S):
            await settled(stack.bus, guilds)
    except TimeoutError:
        assert await unsettled(stack.bus, guilds) == []
    moment = await cut(stack.control, stack.bus, guilds)
    evidence = await gather(stack.control, stack.bus, guilds, moment)
    for guild in guilds:
        pods = (held_by(stack.home / "pods" / pod, guild) for pod in ("gateway-0", "gateway-1"))
        held = [rows for rows in pods if rows is not None]
        expected = await replay(stack.bus, guild, at={rows.sequence for rows in held})
        published = {
            (fact.input_sequence, fact.index, fact.type)
            for fact in evidence.facts
            if fact.guild == guild
        }
        assert published == expected.facts
        assert held
        for rows in held:
            assert rows.dump == expected.dumps.get(rows.sequence), (guild, rows.pod)
    return evidence
