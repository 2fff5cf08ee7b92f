"""A cluster of three servers: what is acknowledged survives any one of them, in order."""

import asyncio
import contextlib
import signal
from collections.abc import AsyncIterator
from itertools import count
from urllib.parse import urlsplit

from components.bus import stream
from components.bus.buckets import Bucket
from components.bus.connection import Bus
from components.bus.errors import BusError, Unanswered, WrongLastSequence
from components.process.clock import steady_s
from components.shard.appender import Appender, Dispatch
from components.shard.dispatches import Append
from contracts import headers, storage, subjects
from contracts.ids import GuildId, SessionId
from tests.support.nats import RunningCluster

GUILDS = [GuildId(str(1000 + number)) for number in range(20)]
ELECTED_WITHIN_S = 15.0
"""nats-server waits 4 to 9 s before it holds an election; this cannot be set."""


class Writer:
    """The shard's appender over a connection, with numbered dispatches for the guilds in turn."""

    def __init__(self, bus: Bus) -> None:
        self.appender = Appender(
            bus,
            window=32,
            max_dispatches=100_000,
            max_bytes=2**30,
            may_send=lambda: bus.connected,
            on_confirmed=lambda dispatch: self.confirmed.append(dispatch.sequence),
        )
        self.confirmed: list[int] = []
        self.sent: dict[GuildId, list[str]] = {guild: [] for guild in GUILDS}
        self._numbers = count(1)

        async def again() -> None:
            self.appender.wake()

        bus.on_connected(again)

    def put(self, dispatches: int) -> None:
        for number in (next(self._numbers) for _ in range(dispatches)):
            guild = GUILDS[number % len(GUILDS)]
            self.sent[guild].append(f"id-{number}")
            append = Append(guild=guild, message_id=f"id-{number}", data=b"{}", smaller=b"{}")
            self.appender.put(Dispatch(session=SessionId("one"), sequence=number, appends=[append]))

    @contextlib.asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        task = asyncio.create_task(self.appender.run())
        try:
            yield
        finally:
            task.cancel()
            await asyncio.wait({task})


async def stored(bus: Bus, guild: GuildId) -> list[str]:
    """Ids of the guild's messages, as the stream's leader holds them."""
    found: list[str] = []
    start = 1
    while message := await stream.first_of_subject(
        bus, storage.INPUTS, subjects.inputs(guild), start
    ):
        found.append(message.headers[headers.MSG_ID])
        start = message.sequence + 1
    return found


async def leader_of(cluster: RunningCluster, name: str) -> str:
    """The node that leads the stream."""
    bus = await cluster.connect("provisioner")
    info = (await bus.client.jetstream(timeout=10).stream_info(name)).cluster
    assert info is not None
    assert info.leader is not None
    return info.leader


def node_of(cluster: RunningCluster, bus: Bus) -> str:
    """The node that a connection ends at."""
    assert bus.client.connected_url is not None
    port = urlsplit(bus.client.connected_url.geturl()).port
    return next(server.name for server in cluster.servers.values() if server.port == port)


async def test_a_killed_leader_costs_no_acknowledged_append_and_no_order(
    nats_cluster: RunningCluster,
) -> None:
    bus = await nats_cluster.connect("shard")
    writer = Writer(bus)
    leader = await leader_of(nats_cluster, storage.INPUTS)
    async with writer.running(), asyncio.timeout(2 * ELECTED_WITHIN_S):
        writer.put(500)
        while writer.appender.stored < 100:
            await asyncio.sleep(0.001)
        nats_cluster.kill(leader)
        assert writer.appender.stored < 500
        await writer.appender.empty()
    assert writer.confirmed[-1] == 500
    reader = await nats_cluster.connect("gateway")
    assert {guild: await stored(reader, guild) for guild in GUILDS} == writer.sent


async def test_a_read_of_a_bucket_without_a_leader_is_soon_to_be_asked_again(
    nats_cluster: RunningCluster,
) -> None:
    """What was asked while there was no leader is answered by no later one: who waits long for it
    waits although there is one. A pod that had lost its connection did, before it served."""
    leader = await leader_of(nats_cluster, "KV_guilds")
    bus = await nats_cluster.connect("gateway", first=leader)
    bucket = Bucket(bus, storage.GUILDS)
    assert await bucket.snapshot() == {}
    others = [name for name in nats_cluster.servers if name != leader]
    for name in others:
        nats_cluster.kill(name)
    while True:  # until the one that is left has found out that it is alone
        asked_s = steady_s()
        try:
            await bucket.snapshot(timeout_s=30)
        except Unanswered:
            break
    assert steady_s() - asked_s < 4.0
    for name in others:
        nats_cluster.start(name)
    async with asyncio.timeout(3 * ELECTED_WITHIN_S):
        while True:
            with contextlib.suppress(BusError):
                assert await bucket.snapshot() == {}
                break


async def test_a_rolling_restart_is_a_pause_for_who_writes_and_who_listens(
    nats_cluster: RunningCluster,
) -> None:
    bus = await nats_cluster.connect("shard")
    listener = await nats_cluster.connect("gateway")
    heard: set[int] = set()

    async def note(message: object) -> None:
        heard.add(stream.stored_message(message).sequence)  # type: ignore[arg-type]

    await listener.listen(subjects.LIVE_WILDCARD, note)
    writer = Writer(bus)
    key = Bucket(bus, storage.SESSIONS)
    revision = await key.put("counter", b"0")
    written = 0

    async def write() -> None:
        while True:
            writer.put(5)
            await asyncio.sleep(0.02)

    async def compare_and_set() -> None:
        nonlocal revision, written
        while True:
            wanted = str(written + 1).encode()
            try:
                try:
                    revision = await key.replace("counter", wanted, revision)
                except WrongLastSequence:
                    # Ours, whose answer was lost: nobody else writes.
                    entry = await key.get("counter")
                    assert entry is not None
                    assert entry.value == wanted
                    revision = entry.revision
                written += 1
            except BusError:
                await asyncio.sleep(0.05)
            await asyncio.sleep(0.01)

    async with writer.running(), asyncio.timeout(60):
        tasks = [asyncio.create_task(write()), asyncio.create_task(compare_and_set())]
        for name in nats_cluster.servers:
            before = written
            await nats_cluster.restart(name)
            while written < before + 3:
                await asyncio.sleep(0.01)
        for task in tasks:
            task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await task
        await writer.appender.empty()
    reader = await nats_cluster.connect("gateway")
    assert {guild: await stored(reader, guild) for guild in GUILDS} == writer.sent
    assert await key.get("counter") is not None
    last = (await stream.bounds(reader, storage.INPUTS)).last
    assert heard  # what was missed is a gap that the owner sees and fills
    assert max(heard) <= last


async def test_a_client_of_a_killed_server_goes_to_another(
    nats_cluster: RunningCluster,
) -> None:
    bus = await nats_cluster.connect("shard")
    connected = asyncio.Event()

    async def note() -> None:
        connected.set()

    bus.on_connected(note)
    before, node = bus.server_id, node_of(nats_cluster, bus)
    assert before
    nats_cluster.kill(node)
    await asyncio.wait_for(connected.wait(), 20)
    assert node_of(nats_cluster, bus) != node
    assert bus.server_id not in ("", before)
    assert bus.client_id


async def test_a_client_of_a_hung_server_goes_to_another(nats_cluster: RunningCluster) -> None:
    bus = await nats_cluster.connect("shard")
    connected = asyncio.Event()

    async def note() -> None:
        connected.set()

    bus.on_connected(note)
    node = node_of(nats_cluster, bus)
    nats_cluster.stop(node, signal.SIGSTOP)
    with contextlib.suppress(BusError):
        await bus.append(subjects.inputs(GUILDS[0]), b"{}", timeout_s=0.5)
    await asyncio.wait_for(connected.wait(), 30)
    assert node_of(nats_cluster, bus) != node


async def test_streams_get_their_copies_while_they_are_in_use(
    nats_cluster: RunningCluster,
) -> None:
    await nats_cluster.provision(1)
    bus = await nats_cluster.connect("shard")
    await bus.append(subjects.inputs(GUILDS[0]), b"before", {headers.MSG_ID: "one"})
    await nats_cluster.provision(3)
    nats_cluster.kill(await leader_of(nats_cluster, storage.INPUTS))
    reader = await nats_cluster.connect("gateway")
    async with asyncio.timeout(2 * ELECTED_WITHIN_S):
        while True:
            with contextlib.suppress(BusError):
                assert await stored(reader, GUILDS[0]) == ["one"]
                return
            await asyncio.sleep(0.1)
