"""PostgreSQL follows the bus: it may be away, and has everything when it is back."""

import asyncio

import asyncpg
import msgspec
import pytest

from components.bus.buckets import Bucket
from components.config import schema
from components.config.database import Database
from components.ownership.changes import carried, owner_of
from contracts import storage
from contracts.ids import Epoch
from contracts.message import encode
from tests.integration.config.cluster import Cluster


async def test_every_change_of_owner_is_a_row_with_who_and_why(cluster: Cluster) -> None:
    cluster.config()
    pod = await cluster.pod("gateway-0")
    await cluster.register("1")
    await cluster.until(lambda owned: "1" in owned)
    await pod.vanish()
    await pod.restart()
    await cluster.until(lambda owned: owned["1"].epoch == 2)
    await cluster.until_history("1", 2)
    placement = await cluster.guild("1")
    assert [(row.epoch, row.cause, row.by) for row in placement.history] == [
        (2, "restarted", "config-0"),
        (1, "placed", "config-0"),
    ]
    assert placement.name == "guild 1"
    assert await cluster.fetch("SELECT name, present FROM guilds") == [("guild 1", True)]
    assert await cluster.fetch("SELECT pod, incarnation FROM pods") == [
        ("gateway-0", pod.incarnation)
    ]


async def test_placement_goes_on_while_postgresql_is_stopped_and_history_catches_up(
    cluster: Cluster,
) -> None:
    cluster.config()
    pod = await cluster.pod("gateway-0")
    await cluster.register("1")
    await cluster.until_history("1", 1)
    await cluster.postgres.stop()
    try:
        await cluster.register("2")
        await cluster.until(lambda owned: "2" in owned, 5)
        await pod.vanish()
        await pod.restart()
        await cluster.until(lambda owned: {a.epoch for a in owned.values()} == {2}, 5)
        assert (await cluster.status()).database == "down"
        assert [row.epoch for row in (await cluster.guild("2")).history] == [2, 1]
    finally:
        cluster.postgres.start()
        await cluster.postgres.ready()
    await cluster.until_history("1", 2)
    await cluster.until_history("2", 2)
    assert (await cluster.status()).database == "up"
    assert await cluster.fetch("SELECT DISTINCT changed_by FROM ownership_history") == [
        ("config-0",)
    ]


async def test_placement_goes_on_while_postgresql_hangs(cluster: Cluster) -> None:
    cluster.config()
    await cluster.pod("gateway-0")
    await cluster.register("1")
    await cluster.until_history("1", 1)
    cluster.postgres.hang()
    try:
        await cluster.register("2")
        await cluster.until(lambda owned: "2" in owned, 5)
        async with asyncio.timeout(15):
            while (await cluster.status()).database == "up":
                await asyncio.sleep(0.1)
    finally:
        cluster.postgres.wake()
    await cluster.until_history("2", 1)


ROWS = """
SELECT epoch, cause, changed_by, pod, from_pod, from_incarnation, reason, took_ms, replayed
FROM ownership_history WHERE guild = 1 ORDER BY epoch
"""


async def test_every_change_that_a_killed_leader_had_not_written_is_written_by_the_next_one(
    cluster: Cluster,
) -> None:
    """Two in a row, and none of them in PostgreSQL: the leader dies before it is back."""
    leader = cluster.config_process("config-0")
    await cluster.until_led("config-0")
    pod = await cluster.pod("gateway-0")
    starts = [pod.incarnation]
    await cluster.register("1")
    await cluster.until_history("1", 1)
    await cluster.until_opened("1")
    await cluster.postgres.stop()
    try:
        for epoch in (2, 3):
            await pod.vanish()
            await pod.restart()
            starts.append(pod.incarnation)
            await cluster.until_epoch("1", epoch)
            await cluster.until_opened("1")
        leader.close()
    finally:
        cluster.postgres.start()
        await cluster.postgres.ready()
    assert await cluster.fetch("SELECT epoch FROM ownership_history") == [(1,)]
    cluster.config("config-1")
    await cluster.until_history("1", 3)
    reason = "gateway-0 has started anew and goes on"
    await cluster.until_opened_rows(3)
    rows = await cluster.fetch(ROWS)
    assert [row[:6] for row in rows] == [
        (1, "placed", "config-0", "gateway-0", None, None),
        (2, "restarted", "config-0", "gateway-0", "gateway-0", starts[0]),
        (3, "restarted", "config-0", "gateway-0", "gateway-0", starts[1]),
    ]
    assert [row[6] for row in rows[1:]] == [reason, reason]
    assert [row[7:] for row in rows] == [(7, 3)] * 3


async def test_a_change_that_a_pod_made_without_a_leader_is_written_with_those_before_it(
    cluster: Cluster,
) -> None:
    cluster.set(history_wait_s=0.0)
    cluster.set(database_url="postgresql://nobody@127.0.0.1:1/none")
    without = cluster.config("config-0")
    await cluster.pod("gateway-0")
    await cluster.register("1")
    await cluster.until_opened("1")
    await without.stop()
    owned = (await cluster.assignments())["1"]
    taken = msgspec.structs.replace(
        owned,
        epoch=Epoch(2),
        cause="restarted",
        by="gateway-0",
        reason="taken back",
        former=owner_of(owned),
        unrecorded=carried(owned, None, lambda _: False),
    )
    bus = await cluster.nats.connect("gateway")
    await Bucket(bus, storage.GUILDS).put("1", encode(taken))
    cluster.set(database_url=cluster.database_url)
    cluster.config("config-1")
    await cluster.until_history("1", 2)
    rows = await cluster.fetch(ROWS)
    assert [(row[0], row[1], row[2]) for row in rows] == [
        (1, "placed", "config-0"),
        (2, "restarted", "gateway-0"),
    ]


async def test_a_change_whose_writer_never_heard_that_it_was_written_is_in_the_history(
    cluster: Cluster,
) -> None:
    cluster.config()
    pod = await cluster.pod("gateway-0")
    await cluster.register("1")
    await cluster.until_opened("1")
    await cluster.until_history("1", 1)
    owned = (await cluster.assignments())["1"]
    unheard = msgspec.structs.replace(
        owned, epoch=Epoch(2), cause="restarted", by="config-9", former=owner_of(owned)
    )
    bus = await cluster.nats.connect("config")
    await Bucket(bus, storage.GUILDS).put("1", encode(unheard))
    await cluster.until_opened("1")
    await pod.vanish()
    await pod.restart()
    await cluster.until_history("1", 3)
    assert [(row[0], row[2]) for row in await cluster.fetch(ROWS)] == [
        (1, "config-0"),
        (2, "config-9"),
        (3, "config-0"),
    ]


async def test_what_is_in_the_history_is_carried_no_longer(cluster: Cluster) -> None:
    cluster.config()
    pod = await cluster.pod("gateway-0")
    await cluster.register("1")
    await cluster.until_opened("1")
    await cluster.postgres.stop()
    try:
        await pod.vanish()
        await pod.restart()
        await cluster.until(lambda owned: owned["1"].epoch == 2, 10)
        await cluster.until_opened("1")
        await pod.vanish()
        await pod.restart()
        await cluster.until(lambda owned: owned["1"].epoch == 3, 10)
        await cluster.until_opened("1")
        carries = (await cluster.assignments())["1"].unrecorded
        assert [change.epoch for change in carries][-1] == 2
    finally:
        cluster.postgres.start()
        await cluster.postgres.ready()
    await cluster.until_history("1", 3)
    await cluster.until_opened_rows(3)
    await pod.vanish()
    await pod.restart()
    await cluster.until(lambda owned: owned["1"].epoch == 4, 10)
    assert (await cluster.assignments())["1"].unrecorded == []


async def test_how_an_opening_went_is_written_also_if_the_leader_that_wrote_the_row_is_dead(
    cluster: Cluster,
) -> None:
    leader = cluster.config_process("config-0")
    await cluster.until_led("config-0")
    pod = await cluster.pod("gateway-0")
    pod.works = False
    await cluster.register("1")
    await cluster.until_history("1", 1)
    leader.close()
    await pod.open(cluster.assignments)
    cluster.config("config-1")
    await cluster.until_opened_rows(1)
    assert await cluster.fetch("SELECT took_ms, replayed, source FROM ownership_history") == [
        (7, 3, "log")
    ]


async def test_a_value_that_postgresql_cannot_hold_does_not_hold_up_the_rest(
    cluster: Cluster,
) -> None:
    cluster.config()
    await cluster.pod("gateway-0")
    await cluster.register_as("1", name="nul \0 name", seen_ms=10**18)
    await cluster.register_as("2", name="shard out of range", shard=2**63)
    await cluster.register("3")
    await cluster.until_history("3", 1)
    async with asyncio.timeout(5):
        while len(rows := await cluster.fetch("SELECT guild, name FROM guilds ORDER BY 1")) < 2:
            await asyncio.sleep(0.05)
    assert rows == [(1, "nul  name"), (3, "guild 3")]


async def test_a_statement_under_way_is_answered_before_the_connection_is_ended(
    cluster: Cluster,
) -> None:
    read = asyncio.Event()
    database = Database(cluster.settings.database_url)
    database.on_read = read.set
    running = asyncio.create_task(database.run())
    async with asyncio.timeout(10):
        await read.wait()
    other = await asyncpg.connect(cluster.settings.database_url)
    try:
        async with other.transaction():
            await other.execute("LOCK TABLE intents")
            asked = asyncio.create_task(database.intents())
            async with asyncio.timeout(10):
                while not await other.fetchval("SELECT count(*) FROM pg_locks WHERE NOT granted"):
                    await asyncio.sleep(0.01)
            running.cancel()
            await asyncio.wait([asked], timeout=0.1)
        assert await asked == {}
    finally:
        await other.close()
    await asyncio.wait([running])
    assert running.cancelled()
    assert not database.up


async def test_two_replicas_that_start_together_migrate_once(cluster: Cluster) -> None:
    connections = [await asyncpg.connect(cluster.database_url) for _ in range(5)]
    try:
        applied = await asyncio.gather(*(schema.migrate(each) for each in connections))
    finally:
        for each in connections:
            await each.close()
    assert sorted(map(len, applied)) == [0, 0, 0, 0, 2]


async def test_a_migration_that_fails_leaves_nothing_behind(cluster: Cluster) -> None:
    folder = cluster.nats.folder / "migrations"
    folder.mkdir()
    (folder / "0001_good.sql").write_text("CREATE TABLE good (n int);")
    (folder / "0002_bad.sql").write_text("CREATE TABLE half (n int); SELECT nonsense;")
    connection = await asyncpg.connect(cluster.database_url)
    try:
        with pytest.raises(asyncpg.UndefinedColumnError, match="nonsense"):
            await schema.migrate(connection, folder)
        tables = await connection.fetch(
            "SELECT tablename FROM pg_tables WHERE schemaname = 'public'"
        )
        assert tables == []
    finally:
        await connection.close()
