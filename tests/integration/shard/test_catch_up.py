"""After a refused RESUME: what the gap held is on the guilds' logs once, and is judged."""

import asyncio
from typing import Any

import msgspec
import pytest

from components.bus.buckets import Bucket
from components.bus.connection import Bus
from components.gateway.engine.case_store import list_cases
from components.gateway.engine.engine import Engine
from components.gateway.engine.model import LoggedInput
from components.gateway.engine.schema import open_database
from components.simulator.bootstrap import Simulator
from components.simulator.client import GuildInfo, SimulatorControl
from contracts import headers, storage
from contracts.ids import GuildId
from contracts.inputs import DiscordDispatch
from contracts.message import decode
from contracts.records import SessionResume
from contracts.requests import CaseView
from tests.integration.shard.replicas import (
    Replicas,
    chain_breaks,
    dispatches_of,
    log_of,
    message_ids,
    until,
)
from tests.integration.shard.traffic import guilds_known, landed, post, sessions_of
from tests.support.nats import RunningNats

SPAM = "free nitro claim gift reward airdrop @everyone"


@pytest.fixture
async def bus(nats_server: RunningNats) -> Bus:
    return await nats_server.connect("operator")


@pytest.fixture
async def guilds(control: SimulatorControl) -> list[GuildInfo]:
    return await control.create_guilds(count=3, member_count=4)


async def all_there(bus: Bus, posted: dict[int, list[int]], timeout_s: float = 40.0) -> None:
    """Every message is on its guild's log."""

    async def complete() -> bool:
        for guild, ids in posted.items():
            found = message_ids(await dispatches_of(bus, GuildId(str(guild))))
            if not set(ids) <= set(found):
                return False
        return True

    await until(complete, timeout_s)


async def caught_up(bus: Bus, guild: GuildInfo) -> list[DiscordDispatch]:
    return [d for d in await dispatches_of(bus, GuildId(str(guild.id))) if d.catch_up]


async def judged(bus: Bus, guild: GuildInfo) -> tuple[list[CaseView], list[str]]:
    """The guild's cases after an engine applied its log, and the alarms on the way."""
    database = open_database(":memory:")
    engine = Engine(database)
    guild_id = GuildId(str(guild.id))
    engine.create(guild_id, "g1")
    alarms = []
    for stored in await log_of(bus, guild_id):
        applied = engine.apply(
            LoggedInput(
                guild=guild_id,
                sequence=stored.sequence,
                stored_ms=stored.stored_ms,
                message_id=stored.headers.get(headers.MSG_ID, ""),
                traceparent="",
                data=stored.data,
            )
        )
        alarms += [applied.alarm] if applied.alarm else []
        assert applied.status != "quarantined", applied.reason
    cases = list_cases(database, guild_id, user=None, before=None, limit=100).cases
    database.close()
    return cases, alarms


async def lose_the_session(control: SimulatorControl) -> None:
    """What is posted until the next IDENTIFY is dispatched to nobody."""
    await control.gateway_fault("invalid_session", resumable=False)


async def test_every_message_around_a_refused_resume_is_on_the_log_exactly_once(
    bus: Bus, guilds: list[GuildInfo], control: SimulatorControl, replicas: Replicas
) -> None:
    replica = await replicas.start()
    await guilds_known(bus, guilds)
    posting = asyncio.create_task(post(control, guilds, 300, 0.03))
    await asyncio.sleep(1)
    await lose_the_session(control)
    posted = await posting

    await all_there(bus, posted)
    assert len(await control.sessions()) == 1
    read = 0
    for guild in guilds:
        dispatches = await dispatches_of(bus, GuildId(str(guild.id)))
        found = message_ids(dispatches)
        assert sorted(found) == posted[guild.id]
        assert chain_breaks(dispatches) == []
        read += len(await caught_up(bus, guild))
    assert read
    assert replica.process.returncode is None


async def test_spam_and_a_ban_in_the_gap_become_cases_and_moderators_stay_exempt(
    bus: Bus, guilds: list[GuildInfo], control: SimulatorControl, replicas: Replicas
) -> None:
    guild = guilds[0]
    spammer, banned, boss, calm = guild.members
    admin = await control.create_role(guild.id, "Boss", permissions=8)
    await control.member(guild.id, "modify-member", boss.id, roles=[admin])
    await replicas.start()
    await guilds_known(bus, guilds)
    channel = next(iter(guild.channels.values()))
    other = await control.create_channel(guild.id, "elsewhere")
    await landed(bus, await post(control, guilds[1:], 8, 0))

    await lose_the_session(control)
    await control.post(other, spammer.id, SPAM)
    await control.post(channel, boss.id, SPAM)
    await control.post(channel, calm.id, "what a day")
    await control.member(guild.id, "ban", banned.id, actor_id=guild.owner_id, reason="enough")

    async def read() -> bool:
        return len(await caught_up(bus, guild)) >= 4

    await until(read, 40)
    found = await caught_up(bus, guild)
    assert [d.event for d in found].count("GUILD_AUDIT_LOG_ENTRY_CREATE") >= 1
    moments = [int(msgspec.json.decode(d.data)["id"]) for d in found]
    assert moments == sorted(moments)
    cases, alarms = await judged(bus, guild)
    assert alarms == []
    by_user = {(case.user, case.action) for case in cases}
    assert (str(banned.id), "ban") in by_user
    assert str(spammer.id) in {case.user for case in cases if case.tier}
    assert {case.user for case in cases} == {str(banned.id), str(spammer.id)}


async def test_a_replacement_whose_resume_is_refused_reads_the_gap_too(
    bus: Bus, guilds: list[GuildInfo], control: SimulatorControl, replicas: Replicas
) -> None:
    replica = await replicas.start()
    await guilds_known(bus, guilds)
    before = await post(control, guilds, 9, 0)
    await landed(bus, before)
    sessions = await sessions_of(control)
    await lose_the_session(control)
    await replica.kill()
    gap = await post(control, guilds, 30, 0)
    await replicas.start()

    await all_there(bus, gap)
    assert await sessions_of(control) != sessions
    for guild in guilds:
        cases, alarms = await judged(bus, guild)
        assert (cases, alarms) == ([], [])


async def all_saved(bus: Bus, control: SimulatorControl) -> bool:
    """Whether the bucket has the session as far as Discord has sent it."""
    saved = await Bucket(bus, storage.SESSIONS).snapshot()
    resumes = [decode(entry.value, SessionResume) for entry in saved.values() if entry.value]
    reached = {resume.session: resume.sequence for resume in resumes}
    (session,) = [session for session in await control.sessions() if session["connected"]]
    return bool(reached.get(session["id"], 0) >= session["seq"])


async def test_a_gap_that_a_killed_shard_left_unread_is_read_by_who_resumes_its_session(
    bus: Bus, guilds: list[GuildInfo], control: SimulatorControl, replicas: Replicas
) -> None:
    replica = await replicas.start()
    await guilds_known(bus, guilds)
    await landed(bus, await post(control, guilds, 9, 0))
    slow = await control.add_fault(path="/guilds/*/audit-logs", latency_ms=60_000, count=None)
    assert slow
    await lose_the_session(control)
    gap = await post(control, guilds, 12, 0)

    await replica.said("reading the last")
    live = await post(control, guilds, 6, 0)
    await all_there(bus, live)
    await until(lambda: all_saved(bus, control))
    await replica.kill()
    await control.clear_faults()
    session = await sessions_of(control)
    await replicas.start()

    await all_there(bus, gap)
    assert await sessions_of(control) == session
    for guild in guilds:
        assert set(gap[guild.id]) <= set(message_ids(await caught_up(bus, guild)))
        cases, alarms = await judged(bus, guild)
        assert (cases, alarms) == ([], [])


async def test_what_discord_refuses_to_show_is_left_out_and_the_rest_is_read(
    bus: Bus,
    guilds: list[GuildInfo],
    discord: Simulator,
    control: SimulatorControl,
    replicas: Replicas,
) -> None:
    replica = await replicas.start()
    await guilds_known(bus, guilds)
    secret, *_ = [await control.create_channel(guild.id, "secret") for guild in guilds[:1]]
    for fault in refusals(guilds[0].id, secret):
        await control.add_fault(**fault)

    await lose_the_session(control)
    hidden = await control.post(secret, guilds[0].owner_id, "hidden")
    gap = await post(control, guilds, 9, 0)

    await all_there(bus, gap)
    await replica.said("not read after the gap")
    found = message_ids(await dispatches_of(bus, GuildId(str(guilds[0].id))))
    assert hidden not in found
    await landed_later(bus, control, guilds)
    assert replica.process.returncode is None


def refusals(guild: int, channel: int) -> list[dict[str, Any]]:
    return [
        {"path": f"/guilds/{guild}/audit-logs", "status": 403},
        {"path": f"/channels/{channel}/messages", "status": 403},
    ]


async def landed_later(bus: Bus, control: SimulatorControl, guilds: list[GuildInfo]) -> None:
    """The live log goes on."""
    await all_there(bus, await post(control, guilds, 6, 0))
