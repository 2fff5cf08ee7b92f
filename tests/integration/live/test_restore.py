"""`modbot restore guild` and `modbot drill restore`, typed as an operator does, on a whole stack
with Litestream and S3."""

import asyncio
import os
import subprocess
import sys
import time
from typing import Any

import msgspec
import pytest
import pytest_asyncio

from components.bus import stream
from components.bus.buckets import Bucket
from components.gateway.engine.decoding import decode_input
from components.restoring import moments
from components.restoring.owner import ask
from components.restoring.putting_back import put_back
from components.simulator.client import GuildInfo
from components.stack.cluster import Cluster
from components.stack.live import LiveStack
from components.traffic.guilds import settings_for
from contracts import storage, subjects
from contracts.facts import GuildRestored
from contracts.ids import CaseNumber, GuildId, Sequence
from contracts.inputs import Actor, CommandReceived
from contracts.message import decode, encode
from contracts.requests import (
    BeginRestore,
    CaseList,
    CaseView,
    GetCase,
    GetGuildStatus,
    GetSettings,
    GuildStatus,
    ListCases,
    PutSettings,
    RestoredRow,
    SettingsView,
)
from tests.integration.live.guild import SPAM, new_guild

pytestmark = [pytest.mark.asyncio(loop_scope="session"), pytest.mark.timeout(240)]

OPERATOR = Actor(kind="operator", id="vandal")


async def typed(stack: LiveStack, *words: str, answer: str = "") -> tuple[int, str, str]:
    """Type a command; exit code, stdout and stderr. ``answer``: what is typed at the terminal
    while it runs; without, it has none."""
    here, there = os.openpty() if answer else (-1, subprocess.DEVNULL)
    try:
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "components.cli", *words, "--home", str(stack.home)),
            stdin=there,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )
        if answer:
            os.write(here, f"{answer}\n".encode())
        out, err = await process.communicate()
    finally:
        if answer:
            os.close(here)
            os.close(there)
    return process.returncode or 0, out.decode(), err.decode()


async def cases(stack: LiveStack, guild: GuildId) -> list[CaseView]:
    return (await ask(stack.bus, guild, ListCases(), CaseList)).cases


async def case(stack: LiveStack, guild: GuildId, number: int) -> CaseView:
    return await ask(stack.bus, guild, GetCase(number=CaseNumber(number)), CaseView)


async def spam(stack: LiveStack, made: GuildInfo, member: int, count: int) -> None:
    """A member spams; wait until the case of it is done and its thread is there."""
    await stack.control.post(made.channels["general"], made.members[member].id, SPAM)
    guild = GuildId(str(made.id))
    async with asyncio.timeout(30):
        while True:
            found = await cases(stack, guild)
            if len(found) == count and all(x.status == "done" and x.thread for x in found):
                return
            await asyncio.sleep(0.05)


async def effects_since(stack: LiveStack, made: GuildInfo, entry: int) -> list[tuple[str, str]]:
    """Method and path of what was done for the guild at Discord since an entry of the record; what
    is only asked there, by the shard for example, is nobody's effect."""
    places = {str(made.id), *map(str, made.channels.values())}
    entries = await stack.control.record_all(["rest"], entry)
    return [
        (one.data["method"], one.data["path"])
        for one in entries
        if one.data["method"] != "GET" and places & set(one.data["path"].split("/"))
    ]


async def all_sent(stack: LiveStack, guild: GuildId) -> None:
    """Wait until everything that the guild's log asked for so far is done at Discord."""
    async with asyncio.timeout(60):
        while (await ask(stack.bus, guild, GetGuildStatus(), GuildStatus)).outbox_pending:
            await asyncio.sleep(0.05)


async def held_twice(stack: LiveStack, guild: GuildId) -> None:
    """Wait until the guild's owner and its follower have its rows."""
    handoffs = Bucket(stack.bus, storage.HANDOFFS)
    async with asyncio.timeout(30):
        while len(await handoffs.snapshot(f"holds.{guild}.*")) < 2:
            await asyncio.sleep(0.1)


async def backed_up(stack: LiveStack) -> None:
    """Wait until what is committed now is in the bucket."""
    cluster = Cluster(stack.bus)
    beats = {pod: lease.beat for pod, lease in (await cluster.pods()).items()}
    async with asyncio.timeout(30):
        while any(
            lease.backed_up_beat <= beats[pod] for pod, lease in (await cluster.pods()).items()
        ):
            await asyncio.sleep(0.1)


async def change_settings(stack: LiveStack, made: GuildInfo, timeout_s: int) -> None:
    document = msgspec.to_builtins(settings_for(made))
    document["spam"]["timeout_s"] = timeout_s
    put = PutSettings(actor=OPERATOR, settings=msgspec.Raw(msgspec.json.encode(document)))
    await ask(stack.bus, GuildId(str(made.id)), put, SettingsView)


async def timeout_of(stack: LiveStack, guild: GuildId) -> int:
    return (await ask(stack.bus, guild, GetSettings(), SettingsView)).settings.spam.timeout_s


@pytest_asyncio.fixture(loop_scope="session")
async def spoilt(stack: LiveStack) -> tuple[GuildInfo, int]:
    """A guild whose settings and first case somebody spoilt, and which went on since; and a moment
    before that."""
    made = await new_guild(stack, "restores")
    guild = GuildId(str(made.id))
    await spam(stack, made, 0, 1)
    await backed_up(stack)
    before_ms = time.time_ns() // 1_000_000
    await asyncio.sleep(0.01)  # the log counts milliseconds
    await change_settings(stack, made, 77)
    view = await case(stack, guild, 1)
    # a restore of rows that are not the guild's own: the one way to spoil a case by the log
    await put_back(
        stack.bus,
        guild,
        [RestoredRow(table="cases", values=spoilt_case(view))],
        restore="vandalism",
        at_ms=0,
        parts=["cases"],
        actor=OPERATOR,
    )
    assert (await case(stack, guild, 1)).reason == "spoilt"
    await spam(stack, made, 2, 2)
    return made, before_ms


def spoilt_case(view: CaseView) -> dict[str, Any]:
    return {
        "number": view.number,
        "user_id": view.user,
        "username": "?",
        "action": view.action,
        "status": view.status,
        "moderator_kind": view.moderator_kind,
        "reason": "spoilt",
        "error": "",
        "opened_ms": view.opened_ms,
        "signals": "[]",
        "evidence": "{}",
        "sequence": 1,
    }


async def test_parts_come_back_as_they_were_and_the_guild_keeps_what_came_since(
    stack: LiveStack, spoilt: tuple[GuildInfo, int]
) -> None:
    made, before_ms = spoilt
    guild = GuildId(str(made.id))
    usual_s = settings_for(made).spam.timeout_s
    words = ("restore", "guild", guild, "--at", moments.shown(before_ms))

    code, text, err = await typed(stack, *words)
    assert code == 0, err
    assert "equal to what its owner has" in text
    assert "settings: 1 changed since" in text
    assert "cases: 1 changed since, 1 came since (they stay)" in text
    assert "spam.timeout_s" in text
    assert await timeout_of(stack, guild) == 77, "looking changes nothing"

    code, text, err = await typed(stack, *words, "--apply", "cases,settings")
    assert (code, "--yes" in err) == (1, True), "nobody at a terminal, nothing is put back"

    code, text, err = await typed(stack, *words, "--apply", "cases,settings", answer="no")
    assert (code, "put back settings and cases of guild" in err) == (1, True), err
    assert await timeout_of(stack, guild) == 77

    await all_sent(stack, guild)
    assert await effects_since(stack, made, 0), "what is sent is seen"
    sent = (await stack.control.record(limit=1)).last
    code, text, err = await typed(
        stack, *words, "--apply", "cases,settings", "--yes", "--json", "--by", "alice"
    )
    assert code == 0, err
    report = msgspec.json.decode(text)
    assert report["ok"] is True
    assert report["today"]["equal"] is True
    assert report["earliest_ms"] <= before_ms
    assert report["base"]["kind"] == "replica"
    assert report["base"]["sequence"] <= report["rebuilt_to"] < report["today"]["sequence"]
    assert report["applied"]["state"] == "in_force"
    assert await timeout_of(stack, guild) == usual_s
    assert (await case(stack, guild, 1)).reason != "spoilt"
    assert [found.number for found in await cases(stack, guild)] == [2, 1]
    _, fact = await restored(stack, guild, report["applied"]["restore"])
    assert (fact.by, fact.undone, sorted(fact.parts)) == ("alice", False, ["cases", "settings"])
    await all_sent(stack, guild)
    assert await effects_since(stack, made, sent) == [], "no old effect is sent again"

    code, text, err = await typed(
        stack, "restore", "guild", guild, "--undo", report["applied"]["restore"]
    )
    assert code == 0, err
    assert "is undone" in text
    assert await timeout_of(stack, guild) == 77
    assert (await case(stack, guild, 1)).reason == "spoilt"
    code, _, err = await typed(
        stack, "restore", "guild", guild, "--undo", report["applied"]["restore"]
    )
    assert (code, "nothing to undo" in err) == (1, True)

    code, text, err = await typed(stack, *words, "--apply", "settings", answer="y")
    assert code == 0, err
    assert await timeout_of(stack, guild) == usual_s
    assert (await case(stack, guild, 1)).reason == "spoilt", "only what was chosen"


async def test_other_guilds_are_answered_all_the_while_a_large_guild_is_restored(
    stack: LiveStack,
) -> None:
    """Reads and writes of another guild of the same pod, one after the other, through looking and
    putting back. While rows are put back they may be slower, and must not pause: there is an answer
    for every second piece, and at least one for a hundred that came before in as much time."""
    large, other = await new_guild(stack, "large"), await new_guild(stack, "other")
    guild, asked = GuildId(str(large.id)), GuildId(str(other.id))
    for _ in range(10):
        if await owner_of(stack, asked) == await owner_of(stack, guild):
            break
        asked = GuildId(str((other := await new_guild(stack, "other")).id))
    assert await owner_of(stack, asked) == await owner_of(stack, guild)
    await reports(stack, guild, "then", tier="high")
    await backed_up(stack)
    before_ms = time.time_ns() // 1_000_000
    await asyncio.sleep(0.01)  # the log counts milliseconds
    await reports(stack, guild, "since", tier="low")
    over, answered_ms, took = asyncio.Event(), list[int](), list[float]()

    async def ask_on() -> None:
        put = PutSettings(actor=OPERATOR, settings=msgspec.Raw(encode(settings_for(other))))
        while not over.is_set():
            for request in (GetSettings(), put):
                began_s = time.monotonic()
                await ask(stack.bus, asked, request, SettingsView)  # raises what is no answer
                took.append(time.monotonic() - began_s)
                answered_ms.append(time.time_ns() // 1_000_000)

    def rate(from_ms: int, to_ms: int) -> float:
        return sum(from_ms <= at_ms < to_ms for at_ms in answered_ms) / (to_ms - from_ms) * 1000

    async with asyncio.TaskGroup() as group:
        group.create_task(ask_on())
        code, text, err = await typed(
            stack,
            *("restore", "guild", guild, "--at", moments.shown(before_ms)),
            *("--apply", "reports", "--yes", "--json"),
        )
        over.set()
    assert code == 0, err
    applied = msgspec.json.decode(text)["applied"]
    assert applied["rows"] == LARGE
    began_ms = await begun_ms(stack, guild, applied["restore"])
    ended_ms, _ = await restored(stack, guild, applied["restore"])
    usual, while_put_back = rate(answered_ms[0], began_ms), rate(began_ms, ended_ms)
    between = sum(began_ms <= at_ms < ended_ms for at_ms in answered_ms)
    print(
        f"{len(took)} answered, the slowest after {max(took):.4f} s; {usual:.0f} a second,"
        f" {while_put_back:.0f} in the {ended_ms - began_ms} ms of putting {applied['pieces']}"
        " pieces back"
    )
    assert between >= applied["pieces"] / 2
    assert while_put_back > usual / 100


async def owner_of(stack: LiveStack, guild: GuildId) -> str:
    return (await ask(stack.bus, guild, GetGuildStatus(), GuildStatus)).pod


async def begun_ms(stack: LiveStack, guild: GuildId, name: str) -> int:
    """When the log took the restore's first input."""
    subject, start = subjects.inputs(guild), Sequence(1)
    while batch := await stream.read_batch(stack.bus, storage.INPUTS, subject, start, timeout_s=10):
        for stored in batch:
            entry = decode_input(stored.data)
            if not isinstance(entry, CommandReceived) or entry.verb != BeginRestore.verb:
                continue
            if decode(bytes(entry.arguments), BeginRestore).restore == name:
                return stored.stored_ms
        start = Sequence(batch[-1].sequence + 1)
    raise AssertionError(f"there is no begin of {name}")


LARGE = 5_000
"""Reports of the large guild: two megabytes of rows, in several pieces."""


async def reports(stack: LiveStack, guild: GuildId, name: str, *, tier: str) -> None:
    """Give the guild so many reports, or other values to those that it has."""
    row: dict[str, str | int | None] = {
        "user_id": "1",
        "reason": "spam",
        "channel_id": "2",
        "sequence": 1,
        "at_ms": 1,
        "tier": tier,
        "score": 1,
        "text_hash": "0" * 64,
        "log_channel_id": "",
        "log_message_id": "",
    }
    rows = [
        RestoredRow(table="reports", values={"message_id": str(10**17 + n), **row})
        for n in range(LARGE)
    ]
    await put_back(stack.bus, guild, rows, restore=name, at_ms=0, parts=["reports"], actor=OPERATOR)


async def restored(stack: LiveStack, guild: GuildId, name: str) -> tuple[int, GuildRestored]:
    """The fact of the restore, and when it was there."""
    async with asyncio.timeout(10):
        while True:
            message = await stream.last_of_subject(
                stack.bus, storage.EVENTS, subjects.event(guild, GuildRestored.type)
            )
            if message is not None:
                fact = decode(message.data, GuildRestored)
                if fact.restore == name:
                    return message.stored_ms, fact
            await asyncio.sleep(0.05)


async def test_what_cannot_be_rebuilt_is_refused_with_the_earliest_moment(
    stack: LiveStack, spoilt: tuple[GuildInfo, int]
) -> None:
    guild = str(spoilt[0].id)
    for words, why in (
        ((guild, "--at", "2020-01-01"), "can be rebuilt as it was at 20"),
        ((guild, "--at", "2120-01-01"), "is not past yet"),
        ((guild, "--at", "yesterday"), "is no time"),
        (("700000000000000099", "--at", "1s"), "cannot be rebuilt"),
        ((guild, "--undo", "nothing"), "no restore of this name"),
    ):
        code, _, err = await typed(stack, "restore", "guild", *words)
        assert (code, why in err) == (1, True), err
    earliest = (await typed(stack, "restore", "guild", guild, "--at", "2020-01-01"))[2].split()[-3]
    code, text, err = await typed(stack, "restore", "guild", guild, "--at", earliest)
    assert code == 0, err
    assert "its log from the first input" in text


async def test_a_drill_finds_every_guild_equal_to_its_owners(
    stack: LiveStack, spoilt: tuple[GuildInfo, int]
) -> None:
    await held_twice(stack, GuildId(str(spoilt[0].id)))
    await backed_up(stack)
    code, text, err = await typed(stack, "drill", "restore", "--json")
    assert code == 0, f"{text}\n{err}"
    drilled = msgspec.json.decode(text)
    assert drilled["ok"] is True
    assert {pod["pod"] for pod in drilled["pods"]} == {"gateway-0", "gateway-1"}
    assert all(pod["newest"] and pod["size"] > 0 for pod in drilled["pods"])
    assert 0 < sum(pod["owned"] for pod in drilled["pods"]) <= drilled["checked"]
    guilds = [guild for pod in drilled["pods"] for guild in pod["guilds"]]
    assert drilled["checked"] == len(guilds)
    assert {guild["result"] for guild in guilds} == {"equal"}
    held = [guild for guild in guilds if guild["guild"] == str(spoilt[0].id)]
    assert len(held) == 2, "owner and follower hold it"
    code, text, _ = await typed(stack, "drill", "restore", "--pod", "gateway-0")
    assert (code, "all are equal" in text) == (0, True)
    code, _, err = await typed(stack, "drill", "restore", "--pod", "gateway-9")
    assert (code, "there is no pod 'gateway-9'" in err) == (1, True)
