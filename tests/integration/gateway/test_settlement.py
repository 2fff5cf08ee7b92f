"""An effect in doubt is settled, for every kind: the pod is killed after it asked Discord and
before it heard the answer, once with the effect having happened and once without.

Each kind has its own guild, so that all are in doubt at the same moment. The first request of
each is cut (after or before it took effect) and every further one until the pod is dead.
"""

import asyncio
from collections.abc import Callable
from typing import Any, Literal

import aiohttp
import msgspec
import pytest
from nats.aio.msg import Msg

from components.bus import stream
from components.bus.buckets import Bucket
from components.gateway.engine.effects import PAYLOADS
from components.gateway.shell.effects.settlement import TABLE
from components.simulator.bootstrap import Simulator
from components.simulator.client import SimulatorControl
from contracts import headers, storage, subjects
from contracts.ids import GuildId, Sequence
from contracts.inputs import EffectResult, InteractionReceived, interaction_id
from contracts.interactions import COMMANDS
from contracts.message import encode
from tests.integration.gateway.conftest import make_towns
from tests.integration.gateway.town import SPAM, Pods, Town, until
from tests.integration.simulator.raw import Caller
from tests.support.nats import RunningNats

Moment = Literal["before", "after"]

MEDIUM = "nitro steam gift free claim reward nudes onlyfans airdrop whitelist"
"""Ten keywords: a medium verdict."""

BAN, UNBAN, KICK, TIMEOUT, ROLE = 22, 23, 20, 24, 25
"""Audit-log actions (docs: resources/audit-log)."""


class Case:
    """One kind: how it comes about, which requests it makes, what it looks like when done."""

    def __init__(
        self,
        kind: str,
        fault: tuple[str, Callable[[Town], str]],
        seen: Callable[[Town, dict[str, Any]], int],
        settings: Callable[[Town], dict[str, Any]] = lambda town: {},
        text: str = SPAM,
    ) -> None:
        self.kind = kind
        self.fault = fault
        self.seen = seen
        self.settings = settings
        self.text = text


def audit(action: int) -> Callable[[Town, dict[str, Any]], int]:
    return lambda town, guild: sum(
        1 for entry in guild["audit_log"] if entry["action_type"] == action
    )


def posts_in(name: str) -> Callable[[Town, dict[str, Any]], int]:
    return lambda town, guild: len(messages_of(guild, town.info.channels[name]))


def messages_of(guild: dict[str, Any], channel: int) -> list[Any]:
    return [
        message
        for found in guild["channel_list"]
        if int(found["id"]) == channel
        for message in found["messages"]
    ]


def mod_log(town: Town) -> dict[str, Any]:
    return {"mod_log_channel": str(town.info.channels["mod-log"])}


def member(town: Town) -> int:
    return town.info.members[0].id


CASES = [
    Case(
        "message.delete",
        ("DELETE", lambda town: f"*/channels/{town.channel}/messages/*"),
        lambda town, guild: 1 - len(messages_of(guild, town.channel)),
    ),
    Case(
        "message.create",
        ("POST", lambda town: f"*/channels/{town.info.channels['mod-log']}/messages"),
        posts_in("mod-log"),
        mod_log,
    ),
    Case(
        "thread.create",
        ("POST", lambda town: f"*/channels/{town.info.channels['mod-log']}/messages/*/threads"),
        lambda town, guild: len(guild["threads"]),
        mod_log,
    ),
    Case(
        "member.timeout",
        ("PATCH", lambda town: f"*/guilds/{town.guild}/members/*"),
        audit(TIMEOUT),
    ),
    Case(
        "member.kick",
        ("DELETE", lambda town: f"*/guilds/{town.guild}/members/*"),
        audit(KICK),
        lambda town: {"spam": {"kick_after_reports": 1}},
    ),
    Case(
        "member.ban",
        ("PUT", lambda town: f"*/guilds/{town.guild}/bans/*"),
        audit(BAN),
        lambda town: {"spam": {"honeypot_channels": [str(town.channel)]}},
    ),
    Case(
        "member.unban",
        ("DELETE", lambda town: f"*/guilds/{town.guild}/bans/*"),
        audit(UNBAN),
        lambda town: {"spam": {"honeypot_channels": [str(town.channel)]}},
    ),
    Case(
        "member.role_add",
        ("PUT", lambda town: f"*/guilds/{town.guild}/members/*/roles/*"),
        audit(ROLE),
        lambda town: {"restricted_role": str(town.info.roles["quiet"])},
        MEDIUM,
    ),
    Case(  # last: its pattern fits every channel
        "member.dm",
        ("POST", lambda town: "*/channels/*/messages"),
        lambda town, guild: 0,
        lambda town: {"signals": {"share": True, "guild_count": 2}},
    ),
]


def test_every_kind_of_effect_has_a_row_and_a_crash_test() -> None:
    elsewhere = {"interaction.answer", "signal.raise"}
    assert set(TABLE) == set(PAYLOADS)
    assert {case.kind for case in CASES} | elsewhere == set(PAYLOADS)


@pytest.mark.parametrize("moment", ["after", "before"])
async def test_an_effect_whose_answer_was_lost_with_the_pod_happens_once(
    moment: Moment,
    discord: Simulator,
    control: SimulatorControl,
    nats_server: RunningNats,
    pods: Pods,
) -> None:
    towns = await make_towns(len(CASES), discord, control, nats_server)
    pod = await pods.start()
    for town, case in zip(towns, CASES, strict=True):
        await town.assign(pod.name, pod.incarnation)
        await town.served()
        if settings := case.settings(town):
            await town.put_settings("settings", **settings)
    other = await second_report(towns[-1], nats_server)
    for town, case in zip(towns, CASES, strict=True):
        method, path = case.fault[0], case.fault[1](town)
        await control.add_fault(method=method, path=path, drop=True, moment=moment)
        await control.add_fault(method=method, path=path, drop=True, moment="before", count=None)
    for town, case in zip(towns, CASES, strict=True):
        await town.say(case.text)
    paths = {case.fault[1](town) for town, case in zip(towns, CASES, strict=True)}

    async def all_cut() -> bool:
        hit = await control.record_all(kinds=["fault"])
        return len({entry.data["id"] for entry in hit}) >= len(paths)

    await until(all_cut)
    await pod.kill()
    await control.clear_faults()
    await pod.start()
    for town in towns:
        await town.assign(pod.name, pod.incarnation)
    for town, case in zip(towns, CASES, strict=True):

        async def settled(town: Town = town) -> bool:
            status = await town.served()
            return status.outbox_pending == 0

        await until(settled)
        status = await town.served()
        assert status.outbox_parked == 0, case.kind
        results = [item for item in await town.inputs() if isinstance(item, EffectResult)]
        assert [item for item in results if item.outcome != "done"] == [], case.kind
        guild = await control.guild(town.info.id)
        if case.kind == "message.create":
            # the starter, the report forwarded, and the summary line
            texts = [m["content"] for m in messages_of(guild, town.info.channels["mod-log"])]
            assert len(texts) == len(set(texts)) == 3, texts
        elif case.kind == "member.dm":
            sent = await direct_messages(control, member(town))
            assert len(sent) == 1
        else:
            assert case.seen(town, guild) == 1, case.kind
    assert other


async def second_report(town: Town, nats: RunningNats) -> bool:
    """Another guild that shares has reported the member already."""
    bus = await nats.connect("gateway")
    signals = Bucket(bus, storage.SIGNALS)
    await signals.put("sharing.77", b'{"guild":"77","sequence":1}')
    await signals.put(f"{member(town)}.77", b'{"guild":"77","sequence":1}')
    return True


async def test_a_signal_that_was_raised_when_the_pod_died_reaches_each_guild_once(
    town: Town, pods: Pods, nats_server: RunningNats
) -> None:
    pod = await pods.start()
    await town.assign(pod.name, pod.incarnation)
    await town.served()
    await town.put_settings("settings", signals={"share": True, "guild_count": 2})
    await second_report(town, nats_server)
    bus = await nats_server.connect("gateway")
    raised: asyncio.Queue[Msg] = asyncio.Queue()
    await bus.listen(subjects.live(GuildId("77")), raised.put)
    await bus.barrier()

    spam = asyncio.create_task(town.say(SPAM))
    await asyncio.wait_for(raised.get(), 10)
    await pod.kill()  # the other guild has the signal; ours mostly not yet the result
    await spam
    await pod.start()
    await town.assign(pod.name, pod.incarnation)

    async def settled() -> bool:
        status = await town.served()
        return status.cases > 0 and status.outbox_pending == 0

    await until(settled)
    assert (await town.served()).outbox_parked == 0
    there = await stream.read_batch(
        bus, storage.INPUTS, subjects.inputs(GuildId("77")), Sequence(1)
    )
    assert len(there) == 1
    results = [item for item in await town.inputs() if isinstance(item, EffectResult)]
    assert {item.outcome for item in results} == {"done"}


async def direct_messages(control: SimulatorControl, user: int) -> list[Any]:
    entries = await control.record_all(kinds=["message_create"])
    return [entry for entry in entries if entry.data.get("guild_id") is None]


async def test_an_answer_that_was_lost_with_the_pod_is_given_once(
    town: Town, pods: Pods, control: SimulatorControl, discord: Simulator, nats_server: RunningNats
) -> None:
    async with aiohttp.ClientSession() as http:
        caller = Caller(http, discord.api_url, discord.gateway_url)
        application = discord.world.settings.application_id
        commands = [command.as_discord() for command in COMMANDS]
        await caller.call("PUT", f"/applications/{application}/commands", commands)
        session = await caller.identified()
        pod = await pods.start()
        await town.assign(pod.name, pod.incarnation)
        await town.served()
        await control.add_fault(path="*/callback", drop=True, moment="after")
        await control.add_fault(path="*/@original", drop=True, count=None)
        number = await control.command(town.channel, town.info.owner_id, "case view", {"number": 1})
        body = await session.until("INTERACTION_CREATE")
        received = InteractionReceived(
            via="gateway",
            answer_to="modbot.answers.shard.none.1",
            data=msgspec.Raw(msgspec.json.encode(body)),
        )
        await town.shard.append(
            subjects.inputs(town.guild),
            encode(received),
            {headers.MSG_ID: interaction_id(str(number))},
        )

        async def cut() -> bool:
            return len(await control.record_all(kinds=["fault"])) >= 1

        await until(cut)
        await pod.kill()
        await control.clear_faults()
        await pod.start()
        await town.assign(pod.name, pod.incarnation)

        async def settled() -> bool:
            return (await town.served()).outbox_pending == 0

        await until(settled)
        results = [item for item in await town.inputs() if isinstance(item, EffectResult)]
        assert [result.outcome for result in results] == ["done"]
        assert len(await town.rest("POST", "/callback")) == 1
        assert len(await town.rest("PATCH", "/@original")) >= 1
        log = pod.words()
        assert body["token"] not in log
