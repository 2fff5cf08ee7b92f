"""A pod that hangs, loses the bus, or comes back after the stream has moved on."""

import signal
import sqlite3
from pathlib import Path

from components.bus.errors import BusError
from components.gateway.engine.pod_tables import COMPLETE
from contracts.errors import ErrorCode, ServiceError
from tests.integration.gateway.town import SPAM, Pods, Town, until
from tests.support.nats import RunningNats


async def test_a_pod_that_hung_beyond_its_lease_wakes_without_acting(
    town: Town, pods: Pods
) -> None:
    first, second = await pods.start("gateway-0"), await pods.start("gateway-1")
    await town.assign(first.name, first.incarnation)
    await town.served()
    assert first.process is not None
    first.process.send_signal(signal.SIGSTOP)
    spam = await town.say(SPAM)

    async def lapsed() -> bool:
        return await first.lease() is None

    await until(lapsed)
    await town.assign(second.name, second.incarnation)
    await until(lambda: town.rest("DELETE", f"/messages/{spam}"))
    await until(lambda: town.rest("PATCH", "/members/"))
    first.process.send_signal(signal.SIGCONT)
    assert await first.process.wait() == 1
    assert len(await town.rest("DELETE", f"/messages/{spam}")) == 1
    assert len(await town.rest("PATCH", "/members/")) == 1


async def test_a_pod_without_a_bus_for_longer_than_its_lease_ends(
    town: Town, pods: Pods, nats_server: RunningNats
) -> None:
    pod = await pods.start()
    await town.assign(pod.name, pod.incarnation)
    await town.served()
    nats_server.kill()
    assert pod.process is not None
    assert await pod.process.wait() == 1
    await nats_server.start()
    await until(lambda: _connected(town))
    await pod.start()
    await town.assign(pod.name, pod.incarnation)
    assert (await town.served()).epoch == 2


async def _connected(town: Town) -> bool:
    return town.operator.connected and town.config.connected


async def test_a_quiet_guild_is_served_after_the_stream_has_moved_on(
    town: Town, pods: Pods, nats_server: RunningNats
) -> None:
    pod = await pods.start()
    await town.assign(pod.name, pod.incarnation)
    await town.served()
    # Other guilds' inputs move the stream; the pod notes that it is complete up to them.
    for _ in range(20):
        await town.shard.append("modbot.in.77", b"{}")
    last = (await town.shard.append("modbot.in.77", b"{}")).sequence

    async def marked() -> bool:
        return await mark(pod.data) >= last

    await until(marked)
    await pod.kill()
    await purge(nats_server, last)
    await pod.start()
    await town.assign(pod.name, pod.incarnation)
    assert (await town.served()).parked_at is None


async def test_a_guild_is_refused_when_the_stream_moved_past_what_the_pod_had(
    town: Town, pods: Pods, nats_server: RunningNats
) -> None:
    pod = await pods.start()
    await town.assign(pod.name, pod.incarnation)
    await town.served()
    await pod.kill()
    await town.say("unheard")
    last = (await town.shard.append("modbot.in.77", b"{}")).sequence
    await purge(nats_server, last)
    await pod.start()
    await town.assign(pod.name, pod.incarnation)
    assert "starts at" in await until(lambda: refusal(town))


async def refusal(town: Town) -> str | None:
    """Why the guild is not served, once its owner says so."""
    try:
        await town.status()
    except ServiceError as error:
        return error.description if error.code == ErrorCode.UNAVAILABLE else None
    except BusError:
        return None
    return None


async def purge(nats: RunningNats, up_to: int) -> None:
    provisioner = await nats.connect("provisioner")
    await provisioner.ask("$JS.API.STREAM.PURGE.INPUTS", f'{{"seq": {up_to}}}'.encode())


async def mark(data: Path) -> int:
    return noted(data, COMPLETE)


def noted(data: Path, key: str) -> int:
    """A number that the pod keeps for itself, as its database has it now; 0 while there is none."""
    database = sqlite3.connect(f"file:{data}/gateway.db?mode=ro", uri=True)
    try:
        row = database.execute("SELECT value FROM pod_meta WHERE key = ?", (key,)).fetchone()
        return int(row[0]) if row else 0
    finally:
        database.close()
