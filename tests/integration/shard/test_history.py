"""What is read of a gap, from a real server: pages, bounds, order, members, refusals, the lease."""

import asyncio
import logging
from collections.abc import AsyncIterator
from typing import Any

import aiohttp
import msgspec
import pytest

from components.bus.buckets import Bucket
from components.bus.leases import Lease
from components.discord_api import DiscordSettings, point_at
from components.process.clock import steady_s, wall_ms
from components.shard import catch_up, history
from components.shard.catch_up import CatchUp
from components.shard.discord_rest import DiscordRest, logged_in
from components.shard.gate import LeaseGate
from components.shard.history import ActiveChannel, Found, Gap, History, Turns
from components.shard.registry import Registry
from components.sharing.slots import RateShare
from components.simulator.bootstrap import Simulator
from components.simulator.client import GuildInfo, SimulatorControl
from contracts import storage
from contracts.ids import ChannelId, GuildId, SessionId
from contracts.records import SessionResume
from tests.integration.shard.replicas import dispatches_of, message_ids, until
from tests.support.nats import RunningNats

FAST = 10_000.0


@pytest.fixture
async def rest(discord: Simulator) -> AsyncIterator[DiscordRest]:
    point_at(
        DiscordSettings(
            token=discord.world.settings.token,
            api_url=discord.api_url,
            gateway_url=discord.gateway_url,
        )
    )
    async with logged_in(discord.world.settings.token, aiohttp.TraceConfig()) as client:
        yield client


@pytest.fixture
async def guild(control: SimulatorControl) -> GuildInfo:
    [made] = await control.create_guilds(count=1, member_count=4)
    return made


async def at_once() -> None:
    """The shard may act."""


def turns(per_s: float = FAST) -> Turns:
    return Turns(RateShare(1000), lambda: True, per_s)


def reader(rest: DiscordRest) -> History:
    return History(rest, turns(), at_once)


def gap(guild: GuildInfo, last: dict[int, int], since_ms: int | None = None) -> Gap:
    return Gap(
        guild=GuildId(str(guild.id)),
        session=SessionId("s"),
        sequence=2,
        since_ms=wall_ms() - 60_000 if since_ms is None else since_ms,
        channels=[
            ActiveChannel(id=ChannelId(str(channel)), last_message=message)
            for channel, message in last.items()
        ],
    )


def ids(found: list[Found], kind: str = "msg") -> list[int]:
    return [item.id for item in found if item.kind == kind]


async def post_many(control: SimulatorControl, channel: int, author: int, count: int) -> list[int]:
    return await control.post_many(
        [{"channel_id": channel, "author_id": author, "content": f"{n}"} for n in range(count)]
    )


async def test_more_than_a_page_is_read_up_to_the_snapshots_last_message(
    rest: DiscordRest, control: SimulatorControl, guild: GuildInfo
) -> None:
    channel = next(iter(guild.channels.values()))
    posted = await post_many(control, channel, guild.owner_id, 250)
    found = await reader(rest).read(gap(guild, {channel: posted[229]}))
    assert ids(found) == posted[:230]


async def test_what_is_older_than_the_gap_is_not_read(
    rest: DiscordRest, control: SimulatorControl, guild: GuildInfo
) -> None:
    channel = next(iter(guild.channels.values()))
    await post_many(control, channel, guild.owner_id, 3)
    await asyncio.sleep(0.05)
    since_ms = wall_ms()
    await asyncio.sleep(0.05)
    posted = await post_many(control, channel, guild.owner_id, 2)
    assert ids(await reader(rest).read(gap(guild, {channel: posted[-1]}, since_ms))) == posted


async def test_channels_and_the_audit_log_are_merged_oldest_first(
    rest: DiscordRest, control: SimulatorControl, guild: GuildInfo
) -> None:
    one = next(iter(guild.channels.values()))
    two = await control.create_channel(guild.id, "two")
    member = guild.members[0]
    posted = []
    for number in range(6):
        posted.append(await control.post((one, two)[number % 2], member.id, f"{number}"))
        if number == 2:
            await control.member(guild.id, "ban", guild.members[1].id, reason="enough")
    found = await reader(rest).read(gap(guild, {two: posted[5], one: posted[4]}))
    assert ids(found) == posted
    assert [item.id for item in found] == sorted(item.id for item in found)
    banned = [i.data for i in found if i.kind == "audit" and i.data["action_type"] == 22]
    assert [entry["target_id"] for entry in banned] == [str(guild.members[1].id)]
    assert {item.data["guild_id"] for item in found} == {str(guild.id)}


async def test_an_author_is_looked_up_once_and_one_who_left_has_no_member(
    rest: DiscordRest, control: SimulatorControl, guild: GuildInfo
) -> None:
    channel = next(iter(guild.channels.values()))
    role = await control.create_role(guild.id, "Boss", permissions=8)
    stays, leaves = guild.members[:2]
    await control.member(guild.id, "modify-member", stays.id, roles=[role])
    posted = [
        await control.post(channel, author.id, "hello") for author in (stays, leaves, stays, stays)
    ]
    await control.leave(guild.id, leaves.id)
    found = await reader(rest).read(gap(guild, {channel: posted[-1]}))
    messages = [item.data for item in found if item.kind == "msg"]
    assert [message.get("member", {}).get("roles") for message in messages] == [
        [str(role)],
        None,
        [str(role)],
        [str(role)],
    ]
    assert "user" not in messages[0]["member"]
    asked = [
        entry.data["path"]
        for entry in await control.record_all(["rest"])
        if "/members/" in entry.data["path"]
    ]
    assert len(asked) == len(set(asked)) == 2


async def test_a_flood_is_read_up_to_the_bounds(
    rest: DiscordRest,
    control: SimulatorControl,
    guild: GuildInfo,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.WARNING)  # whatever ran before
    monkeypatch.setattr(history, "MESSAGES_PER_CHANNEL", 120)
    monkeypatch.setattr(history, "MESSAGES_PER_GUILD", 150)
    one = next(iter(guild.channels.values()))
    two = await control.create_channel(guild.id, "two")
    three = await control.create_channel(guild.id, "three")
    posted = {c: await post_many(control, c, guild.owner_id, 130) for c in (one, two, three)}
    found = await reader(rest).read(gap(guild, {c: made[-1] for c, made in posted.items()}))
    assert ids(found) == posted[one][:120] + posted[two][:30]
    assert "newest are not read" in caplog.text
    assert "more than 150 messages" in caplog.text


@pytest.mark.parametrize("status", [403, 404, 429, 503])
async def test_a_channel_that_is_refused_is_left_out(
    status: int,
    rest: DiscordRest,
    control: SimulatorControl,
    guild: GuildInfo,
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level("INFO", logger="components.shard")
    one = next(iter(guild.channels.values()))
    two = await control.create_channel(guild.id, "two")
    first = await post_many(control, one, guild.owner_id, 2)
    second = await post_many(control, two, guild.owner_id, 2)
    await control.add_fault(
        path=f"/channels/{one}/messages", status=status, count=None, retry_after_s=60.0
    )
    found = await reader(rest).read(gap(guild, {one: first[-1], two: second[-1]}))
    assert ids(found) == second
    assert f"channel {one}: not read after the gap" in caplog.text


async def test_after_too_many_refusals_nothing_more_is_asked_until_the_next_gap(
    rest: DiscordRest,
    control: SimulatorControl,
    guild: GuildInfo,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(history, "REFUSALS", 1)
    channel = next(iter(guild.channels.values()))
    posted = await post_many(control, channel, guild.owner_id, 2)
    await control.add_fault(path=f"/guilds/{guild.id}/audit-logs", status=403)
    reading = reader(rest)
    assert await reading.read(gap(guild, {channel: posted[-1]})) == []
    reading.begin()
    assert ids(await reading.read(gap(guild, {channel: posted[-1]}))) == posted


async def take(turns: Turns) -> None:
    async with turns.turn():
        pass


async def test_requests_keep_their_pace() -> None:
    paced = turns(per_s=100)
    started_s = steady_s()
    await asyncio.gather(*(take(paced) for _ in range(11)))
    assert steady_s() - started_s >= 0.099


async def test_a_read_waits_until_the_replica_has_a_slot_that_is_its_own() -> None:
    share, own = RateShare(0), asyncio.Event()
    paced = Turns(share, own.is_set, FAST)
    reading = asyncio.create_task(take(paced))
    share.divide(1, 1)
    done, _ = await asyncio.wait({reading}, timeout=0.3)
    assert not done
    assert share.in_use == 0, "what it may not use is not kept from others"
    own.set()
    await reading
    assert share.in_use == 1, "until a second after the answer"


class Waiting:
    """A `CatchUp` with a session after a gap."""

    def __init__(self, bus: Any, rest: DiscordRest, gate: LeaseGate, guild: GuildInfo) -> None:
        self.guild = GuildId(str(guild.id))
        self.catch_up = CatchUp(
            shard=0,
            shard_count=1,
            bus=bus,
            gate=gate,
            history=History(rest, turns(), gate.opened),
            registry=Registry(bus),
        )
        self.sequence = 1

    def start(self, session: str, *, gap: bool = True) -> None:
        before = SessionResume(
            session=SessionId("old"),
            sequence=9,
            resume_url="",
            shard=0,
            shard_count=1,
            saved_ms=wall_ms(),
        )
        ready = msgspec.json.encode({"guilds": [{"id": self.guild, "unavailable": True}]})
        self.catch_up.session_started(SessionId(session), ready, before if gap else None)

    def snapshot(self, session: str, channel: int, last: int) -> None:
        data = {
            "id": self.guild,
            "channels": [
                {"id": str(channel), "type": 0, "last_message_id": str(last)},
                {"id": "77", "type": 15, "last_message_id": str(last)},
                {"id": "78", "type": 4},
            ],
        }
        encoded = msgspec.json.encode(data)
        self.catch_up.received(SessionId(session), 2, self.guild, "GUILD_CREATE", encoded)

    def heard(self, message: int) -> None:
        data = msgspec.json.encode({"id": str(message), "guild_id": self.guild})
        self.catch_up.received(SessionId("old"), 8, self.guild, "MESSAGE_CREATE", data)


async def test_nothing_is_read_or_appended_without_the_lease(
    rest: DiscordRest, control: SimulatorControl, guild: GuildInfo, nats_server: RunningNats
) -> None:
    bus = await nats_server.connect("shard")
    operator = await nats_server.connect("operator")
    lease = Lease(Bucket(bus, storage.SHARDS), "0")
    gate = LeaseGate(lease)
    waiting = Waiting(bus, rest, gate, guild)
    channel = next(iter(guild.channels.values()))
    posted = await post_many(control, channel, guild.owner_id, 3)
    running = asyncio.create_task(waiting.catch_up.run())
    asked = len(await control.record_all(["rest"]))

    waiting.start("new")
    waiting.snapshot("new", channel, posted[-1])
    waiting.heard(posted[1])
    waiting.catch_up.stored(SessionId("new"), 1)  # not yet the snapshot
    await asyncio.sleep(0.2)
    waiting.catch_up.stored(SessionId("new"), 2)
    await asyncio.sleep(0.2)
    assert len(await control.record_all(["rest"])) == asked

    assert await lease.acquire(b"me")
    gate.regained()

    async def appended() -> bool:
        return len(await dispatches_of(operator, waiting.guild)) >= 2

    await until(appended)
    dispatches = await dispatches_of(operator, waiting.guild)
    messages = [d for d in dispatches if d.event == "MESSAGE_CREATE"]
    assert message_ids(dispatches) == [posted[0], posted[2]]  # the second one was dispatched
    assert {(d.session, d.sequence, d.previous, d.catch_up) for d in messages} == {
        ("new", 2, None, True)
    }
    running.cancel()


async def test_a_shard_id_without_an_earlier_session_reads_nothing(
    rest: DiscordRest, control: SimulatorControl, guild: GuildInfo, nats_server: RunningNats
) -> None:
    bus = await nats_server.connect("shard")
    lease = Lease(Bucket(bus, storage.SHARDS), "0")
    assert await lease.acquire(b"me")
    waiting = Waiting(bus, rest, LeaseGate(lease), guild)
    channel = next(iter(guild.channels.values()))
    posted = await post_many(control, channel, guild.owner_id, 1)
    asked = len(await control.record_all(["rest"]))
    running = asyncio.create_task(waiting.catch_up.run())
    waiting.start("first", gap=False)
    waiting.snapshot("first", channel, posted[-1])
    waiting.catch_up.stored(SessionId("first"), 2)
    await asyncio.sleep(0.2)
    assert len(await control.record_all(["rest"])) == asked
    running.cancel()


async def test_a_gap_ends_with_the_bots_removal_or_when_it_is_too_old(
    rest: DiscordRest, guild: GuildInfo, nats_server: RunningNats
) -> None:
    bus = await nats_server.connect("shard")
    waiting = Waiting(bus, rest, LeaseGate(Lease(Bucket(bus, storage.SHARDS), "0")), guild)

    def gone(**fields: bool) -> None:
        data = msgspec.json.encode({"id": waiting.guild, **fields})
        waiting.catch_up.received(SessionId("new"), 2, waiting.guild, "GUILD_DELETE", data)

    waiting.start("new")
    gone(unavailable=True)
    assert waiting.catch_up.unread_since_ms
    gone()
    assert waiting.catch_up.unread_since_ms == 0

    for age_ms, unread in ((catch_up.LONGEST_GAP_MS - 60_000, True), (2**40, False)):
        saved = SessionResume(
            session=SessionId("new"),
            sequence=9,
            resume_url="",
            shard=0,
            shard_count=1,
            saved_ms=wall_ms(),
            gap_since_ms=wall_ms() - age_ms,
        )
        waiting.catch_up.adopt(saved)
        assert bool(waiting.catch_up.unread_since_ms) == unread


async def test_a_gap_that_was_not_read_is_part_of_the_next_one(
    rest: DiscordRest,
    control: SimulatorControl,
    guild: GuildInfo,
    nats_server: RunningNats,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    bus = await nats_server.connect("shard")
    operator = await nats_server.connect("operator")
    lease = Lease(Bucket(bus, storage.SHARDS), "0")
    assert await lease.acquire(b"me")
    waiting = Waiting(bus, rest, LeaseGate(lease), guild)
    channel = next(iter(guild.channels.values()))
    posted = await post_many(control, channel, guild.owner_id, 2)
    waiting.start("second")
    monkeypatch.setattr(catch_up, "MARGIN_MS", -60_000)  # the next gap alone begins later
    waiting.start("third")
    waiting.snapshot("third", channel, posted[-1])
    waiting.catch_up.stored(SessionId("third"), 2)
    running = asyncio.create_task(waiting.catch_up.run())

    async def appended() -> bool:
        return message_ids(await dispatches_of(operator, waiting.guild)) == posted

    await until(appended)
    running.cancel()
