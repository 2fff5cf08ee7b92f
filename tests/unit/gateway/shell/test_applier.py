"""The thread that owns the database, and reads beside it."""

import asyncio
import hashlib
import threading
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from components.gateway.engine.dump import canonical_dump
from components.gateway.engine.model import Applied, LoggedInput
from components.gateway.shell.applier import Applier
from components.gateway.shell.attempts import Attempts
from components.gateway.shell.feed import Feed
from components.gateway.shell.lanes import BEHIND, MAX_BATCH
from contracts.ids import Epoch, GuildId, PodId
from contracts.requests import GetDigest, GuildDigest
from tests.support.applier import Held
from tests.unit.gateway.engine.support import Log

GUILD, OTHER = GuildId("1000"), GuildId("1001")


class NoAttempts(Attempts):
    """Nothing was ever tried."""

    def __init__(self) -> None: ...

    async def clear(self) -> None: ...


@pytest.fixture
async def applier(tmp_path: Path) -> AsyncIterator[Applier]:
    applier = Applier(tmp_path / "pod.db")
    await applier.start()
    await applier.write(lambda engine: engine.create(GUILD, "g1"))
    await applier.write(lambda engine: engine.create(OTHER, "g1"))
    yield applier
    await applier.stop()


def posts(guild: GuildId, count: int) -> list[LoggedInput]:
    log = Log(guild=guild)
    while len(log.items) < count:
        log.post("hello")
    return log.items


async def test_what_is_caught_up_with_goes_behind_what_is_asked_and_what_comes_live(
    applier: Applier,
) -> None:
    """1,300 inputs of guilds that a pod began to follow held up the reads of its own for 2 s."""
    order: list[GuildId | str] = []

    def heard(applied: Applied) -> None:
        order.append(applied.guild)

    held = Held(applier)
    await held.begun()
    late, live = posts(OTHER, 3 * MAX_BATCH), posts(GUILD, 5)
    for item in late:
        applier.apply(item, heard, behind=True)
    for item in live:
        applier.apply(item, heard)
    applier.call(lambda _: None, lambda _: order.append("answer"))
    await held.end()
    await applier.stop()
    assert order[: len(live) + 1] == [GUILD] * len(live) + ["answer"]
    assert order[len(live) + 1 :] == [OTHER] * len(late)


async def test_what_is_behind_goes_on_beside_what_is_not(applier: Applier) -> None:
    order: list[GuildId] = []

    def heard(applied: Applied) -> None:
        order.append(applied.guild)

    held = Held(applier)
    await held.begun()
    for item in posts(OTHER, 2 * BEHIND):
        applier.apply(item, heard, behind=True)
    for item in posts(GUILD, 3 * MAX_BATCH):
        applier.apply(item, heard)
    await held.end()
    await applier.stop()
    # A share of every batch, so that a busy pod's followers end at all.
    assert order.index(OTHER) == MAX_BATCH
    assert OTHER not in order[2 * (MAX_BATCH + BEHIND) :]


async def test_what_comes_alone_and_behind_lets_one_batch_go_first_and_no_more(
    applier: Applier,
) -> None:
    """After a crash every guild catches up one by one, also on a pod that is never idle."""
    order: list[GuildId] = []

    def heard(applied: Applied) -> None:
        order.append(applied.guild)

    held = Held(applier)
    await held.begun()
    for item in posts(OTHER, 2):
        applier.apply(item, heard, alone=True, behind=True)
    for item in posts(GUILD, 3 * MAX_BATCH):
        applier.apply(item, heard)
    await held.end()
    await applier.stop()
    assert [at for at, guild in enumerate(order) if guild == OTHER] == [
        MAX_BATCH,
        2 * MAX_BATCH + 1,
    ]


async def test_inputs_that_come_alone_keep_their_order_before_and_behind(applier: Applier) -> None:
    heard: dict[GuildId, list[int]] = {GUILD: [], OTHER: []}

    def hear(applied: Applied) -> None:
        heard[applied.guild].append(applied.sequence)

    items = {guild: posts(guild, 40) for guild in heard}
    for number, (late, live) in enumerate(zip(items[OTHER], items[GUILD], strict=True)):
        applier.apply(late, hear, alone=number % 3 == 0, behind=True)
        applier.apply(live, hear, alone=number % 4 == 0)
    await applier.stop()
    for guild, sequences in heard.items():
        assert sequences == [item.sequence for item in items[guild]]


async def test_what_is_behind_is_applied_before_the_end(tmp_path: Path) -> None:
    applier = Applier(tmp_path / "pod.db")
    await applier.start()
    await applier.write(lambda engine: engine.create(GUILD, "g1"))
    heard: list[int] = []
    items = posts(GUILD, 2 * MAX_BATCH)
    for item in items:
        applier.apply(item, lambda applied: heard.append(applied.sequence), behind=True)
    await applier.stop()
    await applier.failed
    assert heard == [item.sequence for item in items]


async def test_what_comes_live_waits_for_what_its_guild_catches_up_with(applier: Applier) -> None:
    heard: list[int] = []
    feed = Feed(
        applier, NoAttempts(), GUILD, lambda it: heard.append(it.sequence), lambda sequence: None
    )
    held = Held(applier)
    await held.begun()
    items = posts(GUILD, MAX_BATCH)
    for item in items[:-10]:
        await feed.hand(item)
    await feed.caught_up()
    for item in items[-10:-5]:
        await feed.hand(item)
    await held.end()
    await feed.applied()
    for item in items[-5:]:
        await feed.hand(item)
    await feed.applied()
    assert heard == [item.sequence for item in items]


async def test_a_large_read_holds_up_nobody_and_sees_what_is_committed(tmp_path: Path) -> None:
    applier = Applier(tmp_path / "pod.db")
    await applier.start()
    try:
        await applier.write(lambda engine: engine.create(GUILD, "g1"))
        dump = await applier.on_database(lambda database: canonical_dump(database, GUILD))
        busy, go_on = threading.Event(), threading.Event()

        def hold(_: object) -> None:
            busy.set()
            go_on.wait(10)

        held = asyncio.create_task(applier.write(hold))
        await asyncio.to_thread(busy.wait, 10)
        try:
            digest = await asyncio.wait_for(
                applier.read_aside(
                    lambda engine: engine.read(GUILD, GetDigest(), pod=PodId("p"), epoch=Epoch(1))
                ),
                5,
            )
        finally:
            go_on.set()
        await held
        assert isinstance(digest, GuildDigest)
        assert digest.sha256 == hashlib.sha256(dump).hexdigest()
        assert digest.rows == {"guilds": 1}
    finally:
        await applier.stop()


async def test_nobody_hears_of_a_result_after_the_pod_has_lost_its_lease(tmp_path: Path) -> None:
    applier = Applier(tmp_path / "pod.db")
    await applier.start()
    heard: list[list[GuildId]] = []

    def hear(guilds: list[GuildId]) -> None:
        heard.append(guilds)
        raise RuntimeError("the tasks that it would ask for are being cancelled")

    applier.deliver_no_more()
    applier.call(lambda engine: engine.guilds(), hear)
    await applier.stop()
    await applier.failed
    assert heard == []


class Harmless(NoAttempts):
    """Whatever is tried may be applied."""

    @asynccontextmanager
    async def trying(self, item: LoggedInput) -> AsyncIterator[bool]:
        yield True


async def test_an_input_is_applied_once_if_whoever_handed_it_gave_up_waiting(
    applier: Applier,
) -> None:
    heard: list[int] = []
    feed = Feed(
        applier, Harmless(), GUILD, lambda it: heard.append(it.sequence), lambda sequence: None
    )
    feed.careful = True
    first, second = posts(GUILD, 2)
    held = Held(applier)
    await held.begun()
    handing = asyncio.create_task(feed.hand(first))
    await asyncio.sleep(0)  # it waits for its input now
    handing.cancel()
    await asyncio.wait([handing])
    assert handing.cancelled()
    await held.end()
    await feed.hand(first)
    await feed.hand(second)
    await feed.applied()
    assert heard == [first.sequence, second.sequence]


class Deadly(NoAttempts):
    """Whatever is tried has killed the pod twice."""

    @asynccontextmanager
    async def trying(self, item: LoggedInput) -> AsyncIterator[bool]:
        yield False


async def test_a_guild_is_parked_behind_what_it_caught_up_with(applier: Applier) -> None:
    heard: list[int] = []
    feed = Feed(
        applier, Deadly(), GUILD, lambda it: heard.append(it.sequence), lambda sequence: None
    )
    parked_after: list[int] = []
    items = posts(GUILD, 11)
    held = Held(applier)
    await held.begun()
    for item in items[:-1]:
        await feed.hand(item)
    feed.careful = True  # its owner died meanwhile
    handing = asyncio.create_task(feed.hand(items[-1]))
    handing.add_done_callback(lambda _: parked_after.extend(heard))
    await held.end()
    await handing
    assert feed.poison == items[-1]
    assert parked_after == [item.sequence for item in items[:-1]]
    checkpoint = await applier.read(lambda engine: engine.checkpoint(GUILD))
    assert checkpoint is not None
    assert (checkpoint.sequence, checkpoint.parked_at) == (
        items[-2].sequence,
        items[-1].sequence,
    )
