"""PostgreSQL follows the bus: it may be away, and has everything when it is back."""

import asyncio

import asyncpg
import pytest

from components.config import schema
from tests.integration.config.cluster import Cluster


async def test_every_change_of_owner_is_a_row_with_who_and_why(cluster: Cluster) -> None:
    cluster.config()
    pod = await cluster.pod("gateway-0")
    await cluster.register("1")
    await cluster.until(lambda owned: "1" in owned, 5)
    await pod.vanish()
    await pod.restart()
    await cluster.until(lambda owned: owned["1"].epoch == 2, 5)
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
    cluster.postgres.stop()
    try:
        await cluster.register("2")
        await cluster.until(lambda owned: "2" in owned, 5)
        await pod.vanish()
        await pod.restart()
        await cluster.until(lambda owned: {a.epoch for a in owned.values()} == {2}, 5)
        assert (await cluster.status()).database == "down"
        assert [row.epoch for row in (await cluster.guild("2")).history] == [2]
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


async def test_what_a_dead_leader_did_not_write_is_added_from_the_bus(cluster: Cluster) -> None:
    cluster.set(history_wait_s=0.0)
    url, cluster.database_url = cluster.database_url, "postgresql://nobody@127.0.0.1:1/none"
    cluster.set(database_url=cluster.database_url)
    without = cluster.config("config-0")
    await cluster.pod("gateway-0")
    await cluster.register("1", "2")
    await cluster.until(lambda owned: len(owned) == 2, 5)
    await without.stop()
    cluster.set(database_url=url)
    cluster.database_url = url
    cluster.config("config-1")
    await cluster.until_history("1", 1)
    await cluster.until_history("2", 1)
    assert await cluster.fetch("SELECT DISTINCT changed_by, reason FROM ownership_history") == [
        ("config-0", "recorded later by config-1")
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
