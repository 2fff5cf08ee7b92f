"""A follower gets a guild's rows from their owner while the owner goes on."""

import asyncio
import sqlite3
import time
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
from nats.aio.msg import Msg

from components.bus import stream
from components.bus.buckets import Bucket
from components.bus.connection import Bus
from components.bus.stream import StreamBounds
from components.gateway.engine.dump import canonical_dump
from components.gateway.engine.errors import RowsRefused
from components.gateway.engine.schema import GUILD_TABLES, open_database
from components.gateway.engine.transfer import Batch, GuildRows, RowSource, unfinished_imports
from components.gateway.shell import building
from components.gateway.shell.applier import Applier
from components.gateway.shell.building import Found, Rows
from components.gateway.shell.departures import Departures
from components.gateway.shell.errors import HoleFound, SnapshotFailed
from components.gateway.shell.holes import LogState
from components.gateway.shell.logbook import Logbook
from components.gateway.shell.snapshots import FETCHED_AT_ONCE, TAKEN_WITHIN_S, Snapshots
from components.ownership.evidence import Evidence
from contracts import headers, storage, subjects
from contracts.errors import ErrorCode, ServiceError
from contracts.ids import Epoch, Generation, GuildId, Incarnation, PodId, Sequence
from contracts.message import decode, encode
from contracts.records import Assignment, EarlierOwner, Holder, Joining, PodLease, ProcessEnd
from contracts.requests import TakeSnapshot
from tests.support.nats import RunningNats
from tests.unit.gateway.engine.support import GUILD, Log

OWNER = Holder(pod=PodId("gateway-0"), incarnation=Incarnation("20251124T150000Z-7"))
NEXT = Incarnation("20251124T150000Z-9")
FOLLOWER = Holder(pod=PodId("gateway-1"), incarnation=Incarnation("i-2"))
STREAM = f"OBJ_{storage.SNAPSHOTS}"


def history(path: Path, posts: int = 200, guild: GuildId = GUILD) -> Log:
    """A guild with some rows in a pod's database."""
    log = Log(guild=guild, database=open_database(path))
    log.database.execute("BEGIN")
    for number in range(posts):
        log.post(f"free nitro gift {number}")
    log.database.execute("COMMIT")
    return log


def lease(incarnation: Incarnation, state: str = "serving") -> PodLease:
    return PodLease(
        pod=OWNER.pod,
        incarnation=incarnation,
        process="p-1" if incarnation == OWNER.incarnation else "p-2",
        data="d",
        state=state,  # type: ignore[arg-type]
        capacity=10,
        version="1",
        engine_version=1,
        started_ms=0,
    )


class Owner:
    """Answers ``snapshot.take`` as the owner's request server does."""

    def __init__(self, bus: Bus, snapshots: Snapshots) -> None:
        self._bus = bus
        self._snapshots = snapshots

    async def answer(self, message: Msg) -> None:
        guild, _ = subjects.guild_and_verb(message.subject)
        try:
            taken = await self._snapshots.take(guild, decode(message.data, TakeSnapshot))
        except ServiceError as error:
            fields = {headers.SERVICE_ERROR: "no", headers.SERVICE_ERROR_CODE: str(error.code)}
            await self._bus.say(message.reply, b"", fields)
        else:
            await self._bus.say(message.reply, encode(taken))


class Pair:
    """An owner of a guild with rows, and a pod that is to follow it."""

    def __init__(
        self,
        log: Log,
        owner: Snapshots,
        follower: Snapshots,
        applier: Applier,
        config: Bus,
        evidence: Evidence,
        departures: Departures,
    ) -> None:
        self.log = log
        self.owner = owner
        self.follower = follower
        self.applier = applier
        self.config = config
        self.evidence = evidence
        """What the pod that asks has seen of the owner."""
        self.departures = departures

    async def assign(self, **fields: object) -> None:
        """Write the assignment; by default nobody but the owner is in it."""
        assignment = Assignment(
            guild=GUILD,
            pod=OWNER.pod,
            incarnation=OWNER.incarnation,
            epoch=Epoch(1),
            first_sequence=Sequence(1),
            generation=Generation("g1"),
            cause="placed",
            since_ms=0,
            **fields,  # type: ignore[arg-type]
        )
        await Bucket(self.config, storage.GUILDS).put(GUILD, encode(assignment))

    async def dump(self) -> bytes:
        return await self.applier.on_database(lambda database: canonical_dump(database, GUILD))

    async def rows(self) -> int:
        def count(database: sqlite3.Connection) -> int:
            query = "SELECT count(*) FROM {} WHERE guild_id = ?"
            return sum(
                database.execute(query.format(table), (GUILD,)).fetchone()[0]
                for table in GUILD_TABLES
            )

        return await self.applier.on_database(count)


async def wanted(rows: GuildRows) -> None:
    """Any rows are."""


@pytest.fixture
async def pair(nats_server: RunningNats, tmp_path: Path) -> AsyncIterator[Pair]:
    log = history(tmp_path / "owner.db")
    here, there, config = [
        await nats_server.connect(user) for user in ("gateway", "gateway", "config")
    ]
    mine = Applier(tmp_path / "owner.db")
    await mine.start()
    theirs = Applier(tmp_path / "follower.db")
    await theirs.start()
    evidence = Evidence()
    departures = Departures(evidence)
    owner = Snapshots(here, mine, tmp_path / "owner.db", tmp_path / "owner-scratch", departures)
    follower = Snapshots(there, theirs, tmp_path / "follower.db", tmp_path / "scratch", departures)
    await here.listen(subjects.requests(GUILD), Owner(here, owner).answer)
    await stream.bounds(here, STREAM)  # goes out behind the subscription; a flush overtakes it
    yield Pair(log, owner, follower, theirs, config, evidence, departures)
    await mine.stop()
    await theirs.stop()
    log.database.close()


async def test_a_follower_gets_the_rows_and_leaves_nothing_on_the_way(
    pair: Pair, nats_server: RunningNats, tmp_path: Path
) -> None:
    await pair.assign(follower=FOLLOWER)
    rows = await pair.follower.fetch(GUILD, FOLLOWER, wanted, OWNER)
    assert rows.sequence == pair.log.sequence
    assert await pair.dump() == pair.log.dump()
    watching = await nats_server.connect("gateway")
    assert (await stream.bounds(watching, STREAM)).messages == 0
    assert list((tmp_path / "scratch").iterdir()) == []
    assert list((tmp_path / "owner-scratch").iterdir()) == []


async def test_a_pod_that_joins_to_own_gets_the_rows_too(pair: Pair) -> None:
    joining = Joining(
        pod=FOLLOWER.pod, incarnation=FOLLOWER.incarnation, purpose="own", cause="moved"
    )
    await pair.assign(joining=joining)
    await pair.follower.fetch(GUILD, FOLLOWER, wanted, OWNER)
    assert await pair.dump() == pair.log.dump()


@pytest.mark.parametrize("incarnation", ["i-2", "i-9"])
async def test_a_pod_that_the_assignment_does_not_name_gets_nothing(
    pair: Pair, incarnation: str
) -> None:
    another = Holder(pod=FOLLOWER.pod, incarnation=Incarnation("i-3"))
    await pair.assign(follower=another)
    asking = Holder(pod=FOLLOWER.pod, incarnation=Incarnation(incarnation))
    with pytest.raises(SnapshotFailed, match=str(ErrorCode.FORBIDDEN)):
        await pair.follower.fetch(GUILD, asking, wanted, OWNER)
    assert await pair.rows() == 0


async def test_rows_that_are_replaced_leave_nothing_of_what_was_there(
    pair: Pair, tmp_path: Path
) -> None:
    await pair.assign(follower=FOLLOWER)
    old = history(tmp_path / "follower.db", posts=3)
    old.put_settings({"mod_log_channel": "4000"})
    old.database.close()
    await pair.follower.fetch(GUILD, FOLLOWER, wanted, OWNER)
    assert await pair.dump() == pair.log.dump()


async def test_rows_that_are_not_wanted_replace_nothing(pair: Pair, tmp_path: Path) -> None:
    await pair.assign(follower=FOLLOWER)
    old = history(tmp_path / "follower.db", posts=3)
    kept = old.dump()
    old.database.close()

    async def judge(rows: GuildRows) -> None:
        assert rows.sequence == pair.log.sequence
        raise HoleFound(GUILD, "these are not wanted")

    with pytest.raises(HoleFound, match="not wanted"):
        await pair.follower.fetch(GUILD, FOLLOWER, judge, OWNER)
    assert await pair.dump() == kept


async def test_the_owner_goes_on_while_the_snapshot_is_fetched(pair: Pair) -> None:
    await pair.assign(follower=FOLLOWER)
    fetching = asyncio.create_task(pair.follower.fetch(GUILD, FOLLOWER, wanted, OWNER))
    dumps = {pair.log.sequence: pair.log.dump()}
    while not fetching.done():
        pair.log.post("and another")
        dumps[pair.log.sequence] = pair.log.dump()
        await asyncio.sleep(0)
    rows = await fetching
    assert await pair.dump() == dumps[rows.sequence]


async def test_without_an_owner_there_is_no_snapshot(pair: Pair) -> None:
    with pytest.raises(SnapshotFailed, match="nobody answers"):
        await pair.follower.fetch(GuildId("77"), FOLLOWER, wanted, OWNER)


@pytest.mark.parametrize("owner", [True, False])
@pytest.mark.parametrize("proof", ["its process has ended", "the pod has started again", "fenced"])
async def test_who_dies_with_the_request_is_not_waited_for(
    pair: Pair, nats_server: RunningNats, owner: bool, proof: str
) -> None:
    """Eight such requests held up everything a pod had to fetch, for as long as one is waited
    for: a guild whose new owner was to get its rows elsewhere had nobody answering for 10 s."""
    gateway = await nats_server.connect("gateway")
    asked = asyncio.Event()

    async def die(message: Msg) -> None:
        asked.set()

    guild = GuildId("99")
    await gateway.listen(subjects.requests(guild), die)
    await gateway.listen(subjects.pod_snapshots(OWNER.pod), die)
    await stream.bounds(gateway, STREAM)
    pair.evidence.pod_seen(lease(OWNER.incarnation), 1, 0.0)
    fetching = [
        asyncio.create_task(pair.follower.fetch(guild, FOLLOWER, wanted, OWNER, owner=owner))
        for _ in range(FETCHED_AT_ONCE)
    ]
    await asked.wait()
    if proof == "fenced":
        pair.evidence.pod_seen(lease(OWNER.incarnation, "fenced"), 2, 1.0)
    elif proof == "its process has ended":
        pair.evidence.end_seen(ProcessEnd(pod=OWNER.pod, process="p-1", exit_code=-9, ended_ms=0))
    else:
        pair.evidence.pod_seen(lease(NEXT), 2, 1.0)
    pair.departures.look()
    async with asyncio.timeout(TAKEN_WITHIN_S / 2):
        failed = await asyncio.gather(*fetching, return_exceptions=True)
    assert {str(error) for error in failed} == {
        f"no snapshot of guild 99: gateway-0 is gone: {proof}"
    }
    # Its place is free, and what is asked of the start that is gone reaches the next one.
    pair.evidence.pod_seen(lease(NEXT), 3, 2.0)
    await pair.assign(follower=FOLLOWER)
    await pair.follower.fetch(GUILD, FOLLOWER, wanted, OWNER)


@pytest.mark.parametrize("owner", [True, False])
async def test_who_is_known_to_be_gone_is_not_asked(
    pair: Pair, nats_server: RunningNats, owner: bool
) -> None:
    """The server routes to a process that was killed until it has read the end of its connection;
    guilds had nobody answering for 14 s."""
    gateway = await nats_server.connect("gateway")
    asked: list[str] = []

    async def die(message: Msg) -> None:
        asked.append(message.subject)

    guild = GuildId("99")
    await gateway.listen(subjects.requests(guild), die)
    await gateway.listen(subjects.pod_snapshots(OWNER.pod), die)
    await stream.bounds(gateway, STREAM)
    pair.evidence.pod_seen(lease(OWNER.incarnation), 1, 0.0)
    pair.evidence.end_seen(ProcessEnd(pod=OWNER.pod, process="p-1", exit_code=-9, ended_ms=0))
    async with asyncio.timeout(TAKEN_WITHIN_S / 2):
        with pytest.raises(SnapshotFailed, match="gateway-0 is gone: its process has ended"):
            await pair.follower.fetch(guild, FOLLOWER, wanted, OWNER, owner=owner)
    assert asked == []


async def test_the_next_start_that_dies_with_the_request_is_not_waited_for_either(
    pair: Pair, nats_server: RunningNats
) -> None:
    gateway = await nats_server.connect("gateway")
    asked = asyncio.Event()

    async def die(message: Msg) -> None:
        asked.set()

    await gateway.listen(subjects.pod_snapshots(OWNER.pod), die)
    await stream.bounds(gateway, STREAM)
    pair.evidence.pod_seen(lease(OWNER.incarnation), 1, 0.0)
    pair.evidence.pod_seen(lease(NEXT), 2, 1.0)
    fetching = asyncio.create_task(
        pair.follower.fetch(GuildId("99"), FOLLOWER, wanted, OWNER, owner=False)
    )
    await asked.wait()
    pair.evidence.pod_seen(lease(NEXT, "fenced"), 3, 2.0)
    pair.departures.look()
    async with asyncio.timeout(TAKEN_WITHIN_S / 2):
        with pytest.raises(SnapshotFailed, match="gateway-0 is gone: fenced"):
            await fetching


async def test_an_owner_without_the_rows_says_so(
    pair: Pair, nats_server: RunningNats, tmp_path: Path
) -> None:
    await pair.assign(follower=FOLLOWER)
    pair.log.engine.drop(GUILD)
    with pytest.raises(SnapshotFailed, match=str(ErrorCode.UNAVAILABLE)):
        await pair.follower.fetch(GUILD, FOLLOWER, wanted, OWNER)


async def test_rows_that_need_a_newer_engine_are_refused(pair: Pair) -> None:
    await pair.assign(follower=FOLLOWER)
    pair.log.database.execute("UPDATE guilds SET engine_version = 99")
    with pytest.raises(RowsRefused, match="update this pod"):
        await pair.follower.fetch(GUILD, FOLLOWER, wanted, OWNER)
    assert await pair.rows() == 0


async def test_a_snapshot_that_was_damaged_on_the_way_is_refused(
    pair: Pair, nats_server: RunningNats
) -> None:
    await pair.assign(follower=FOLLOWER)
    gateway = await nats_server.connect("gateway")
    taken = await pair.owner.take(
        GUILD, TakeSnapshot(pod=FOLLOWER.pod, incarnation=FOLLOWER.incarnation)
    )
    wrong = encode(decode(encode(taken).replace(taken.sha256.encode(), b"0" * 64), type(taken)))
    other = GuildId("88")

    async def answer(message: Msg) -> None:
        await gateway.say(message.reply, wrong)

    await gateway.listen(subjects.requests(other), answer)
    await stream.bounds(gateway, STREAM)
    with pytest.raises(SnapshotFailed, match="not those that were put"):
        await pair.follower.fetch(other, FOLLOWER, wanted, OWNER)


async def test_a_fetch_that_is_cancelled_in_the_import_leaves_nothing(
    pair: Pair, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    await pair.assign(follower=FOLLOWER)
    in_large = RowSource.batches
    monkeypatch.setattr(RowSource, "batches", lambda source, guild: in_large(source, guild, 10))
    fetching = asyncio.create_task(pair.follower.fetch(GUILD, FOLLOWER, wanted, OWNER))
    while not await pair.rows():
        await asyncio.sleep(0)
    assert not fetching.done()
    fetching.cancel()
    with pytest.raises(asyncio.CancelledError):
        await fetching
    assert await pair.rows() == 0
    assert list((tmp_path / "scratch").iterdir()) == []


class StartsLater(Logbook):
    """The log begins after the guild's first input: rows have to come from elsewhere."""

    def __init__(self, log: Log) -> None:
        self._log = log

    async def state(self, guild: GuildId, *, with_first: bool) -> LogState:
        bounds = StreamBounds(
            generation="g1", first=Sequence(2), last=Sequence(self._log.sequence), messages=1
        )
        return LogState(bounds=bounds, first=None)

    async def complete_up_to(self, guild: GuildId) -> Sequence:
        return Sequence(0)


async def bring_from_holder(pair: Pair) -> Found:
    """What a pod does that is to own the guild after `OWNER`, without a backup."""
    await pair.assign(follower=FOLLOWER)
    rows = Rows(pair.applier, StartsLater(pair.log), pair.follower, None, FOLLOWER)
    before = EarlierOwner(pod=OWNER.pod, incarnation=OWNER.incarnation, epoch=Epoch(1))
    return await rows.bring(
        Assignment(
            guild=GUILD,
            pod=FOLLOWER.pod,
            incarnation=FOLLOWER.incarnation,
            epoch=Epoch(2),
            before=[before],
            first_sequence=Sequence(1),
            generation=Generation("g1"),
            cause="promoted",
            since_ms=0,
        )
    )


async def test_rows_that_take_long_to_be_taken_in_come_from_a_holder_all_the_same(
    pair: Pair, monkeypatch: pytest.MonkeyPatch
) -> None:
    holder = pair.owner._bus
    await holder.listen(subjects.pod_snapshots(OWNER.pod), pair.owner.answer)
    await holder.barrier()
    at_once = RowSource.batches

    def slowly(source: RowSource, guild: GuildId) -> Iterator[Batch]:
        time.sleep(2.5)
        yield from at_once(source, guild)

    monkeypatch.setattr(RowSource, "batches", slowly)
    monkeypatch.setattr(building, "HOLDER_WITHIN_S", 2.0)
    assert (await bring_from_holder(pair)).source == "snapshot"
    assert await pair.dump() == pair.log.dump()


async def test_a_holder_that_does_not_answer_is_not_waited_for(
    pair: Pair, nats_server: RunningNats, monkeypatch: pytest.MonkeyPatch
) -> None:
    holder = await nats_server.connect("gateway")

    async def hang(message: Msg) -> None: ...

    await holder.listen(subjects.pod_snapshots(OWNER.pod), hang)
    await holder.barrier()
    monkeypatch.setattr(building, "HOLDER_WITHIN_S", 0.1)
    async with asyncio.timeout(TAKEN_WITHIN_S / 2):
        with pytest.raises(HoleFound, match="the log holds nothing"):
            await bring_from_holder(pair)


async def test_an_import_that_was_killed_is_gone_at_the_next_start(tmp_path: Path) -> None:
    history(tmp_path / "owner.db").database.close()
    database = open_database(tmp_path / "killed.db")
    with RowSource(tmp_path / "owner.db") as source:
        next(source.batches(GUILD, 10)).write(database)
    assert unfinished_imports(database) == [GUILD]
    database.close()
    applier = Applier(tmp_path / "killed.db")
    await applier.start()
    found = await applier.on_database(
        lambda database: (
            unfinished_imports(database),
            database.execute("SELECT count(*) FROM sessions").fetchone(),
        )
    )
    assert found == ([], (0,))
    await applier.stop()
