"""Replicas share the shard ids; one takes over what another held."""

from components.bus.buckets import Bucket
from components.bus.connection import Bus
from components.simulator.client import SimulatorControl
from contracts import storage
from contracts.ids import GuildId
from contracts.message import decode
from contracts.records import ShardLease
from tests.integration.shard.replicas import (
    Replicas,
    chain_breaks,
    dispatches_of,
    message_ids,
    until,
)
from tests.support.nats import RunningNats


async def holders(bus: Bus) -> dict[str, str]:
    """Shard id -> replica, of shards that are connected."""
    entries = await Bucket(bus, storage.SHARDS).snapshot()
    leases = {
        key: decode(entry.value or b"", ShardLease)
        for key, entry in entries.items()
        if key.isdecimal()
    }
    return {key: lease.holder for key, lease in leases.items() if lease.state == "connected"}


async def held(bus: Bus, **counts: int) -> None:
    """Wait until each replica holds so many connected shard ids."""
    wanted = {name.replace("_", "-"): count for name, count in counts.items()}

    async def so() -> bool:
        found = list((await holders(bus)).values())
        return {name: found.count(name) for name in set(found)} == wanted

    await until(so, 40)


async def test_two_replicas_split_four_shard_ids_and_one_takes_over_when_the_other_dies(
    control: SimulatorControl, nats_server: RunningNats, replicas: Replicas
) -> None:
    bus = await nats_server.connect("operator")
    await control.set_limits(enabled=False)
    guilds = await control.create_guilds(count=12, member_count=2)
    first = await replicas.start("shard-a", count=4)
    await held(bus, shard_a=4)
    second = await replicas.start("shard-b", count=4)
    await held(bus, shard_a=2, shard_b=2)
    before = {session["id"] for session in await control.sessions()}

    await first.kill()
    ids = {
        guild.id: await control.post(next(iter(guild.channels.values())), guild.owner_id, "during")
        for guild in guilds
    }
    await held(bus, shard_b=4)

    async def all_there() -> bool:
        for guild, message in ids.items():
            if message_ids(await dispatches_of(bus, GuildId(str(guild)))) != [message]:
                return False
        return True

    await until(all_there)
    for guild in guilds:
        assert chain_breaks(await dispatches_of(bus, GuildId(str(guild.id)))) == []
    assert {session["id"] for session in await control.sessions()} == before
    assert await second.stop() == 0


async def test_a_replica_that_wakes_late_finds_its_shard_taken_and_appends_nothing(
    control: SimulatorControl, nats_server: RunningNats, replicas: Replicas
) -> None:
    bus = await nats_server.connect("operator")
    [guild] = await control.create_guilds(count=1, member_count=2)
    channel = next(iter(guild.channels.values()))
    sleeper = await replicas.start("shard-a", count=1)
    await held(bus, shard_a=1)
    other = await replicas.start("shard-b", count=1)
    sleeper.suspend()
    posted = [await control.post(channel, guild.owner_id, f"asleep {n}") for n in range(20)]
    await held(bus, shard_b=1)

    sleeper.wake()
    await sleeper.said("taken over by another replica")
    posted += [await control.post(channel, guild.owner_id, f"awake {n}") for n in range(20)]

    async def all_there() -> bool:
        return len(message_ids(await dispatches_of(bus, GuildId(str(guild.id))))) >= 40

    await until(all_there)
    dispatches = await dispatches_of(bus, GuildId(str(guild.id)))
    assert message_ids(dispatches) == posted
    assert chain_breaks(dispatches) == []
    assert other.process.returncode is None
