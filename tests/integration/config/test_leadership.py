"""Two replicas, one leader; the other goes on where the first ended (0006, step 24)."""

import asyncio
import signal
import time

from components.bus.buckets import Bucket
from components.config.leadership import Leadership
from contracts import storage
from tests.integration.config.cluster import Cluster
from tests.support.nats import RunningNats


async def test_one_of_two_replicas_leads_and_both_answer(cluster: Cluster) -> None:
    cluster.config("config-0")
    cluster.config("config-1")
    await cluster.pod("gateway-0")
    leader = await cluster.until_led()
    await cluster.register("1")
    await cluster.until(lambda owned: "1" in owned)
    answers: set[str] = set()
    async with asyncio.timeout(10):
        while len(answers) < 2:
            status = await cluster.status()
            assert status.leader in (leader, "")
            answers.add(status.replica)
    assert answers == {"config-0", "config-1"}


async def test_the_other_leads_at_once_when_the_leader_ends_in_order(cluster: Cluster) -> None:
    cluster.set(leader_ttl_s=60)  # who waits for the end of the lease is not in time
    first = cluster.config("config-0")
    await cluster.until_led("config-0")
    cluster.config("config-1")
    await cluster.pod("gateway-0")
    started = time.monotonic()
    await first.stop()
    await cluster.until_led("config-1", within_s=10)
    print(f"led again {time.monotonic() - started:.2f} s after the end")
    await cluster.register("1")
    await cluster.until(lambda owned: "1" in owned)


async def test_the_other_goes_on_when_the_leader_is_killed_in_the_middle(cluster: Cluster) -> None:
    leader = cluster.config_process("config-0")
    await cluster.until_led("config-0")
    cluster.config("config-1")
    await cluster.pod("gateway-0")
    await cluster.pod("gateway-1")
    guilds = [str(number) for number in range(1, 1001)]
    registering = asyncio.create_task(cluster.register(*guilds[:500]))
    await cluster.until(lambda owned: len(owned) >= 100, 10)
    leader.signal(signal.SIGKILL)
    await registering
    await cluster.register(*guilds[500:])
    await cluster.until(lambda owned: len(owned) == 1000, 15)
    owned = await cluster.assignments()
    assert {assignment.epoch for assignment in owned.values()} == {1}
    assert await cluster.leader() == "config-1"
    # The last writes of the killed leader are found when the tables are compared once more.
    async with asyncio.timeout(20):
        while await cluster.history_rows() < 1000:
            await asyncio.sleep(0.1)


async def test_step_24_a_leader_that_hangs_and_wakes_changes_nothing(cluster: Cluster) -> None:
    hung = cluster.config_process("config-0")
    await cluster.until_led("config-0")
    pod = await cluster.pod("gateway-0")
    await cluster.register("1")
    await cluster.until(lambda owned: "1" in owned)
    hung.signal(signal.SIGSTOP)
    await pod.vanish()
    await pod.restart()
    cluster.config("config-1")
    await cluster.until_led("config-1")
    await cluster.until(lambda owned: owned["1"].epoch == 2)
    hung.signal(signal.SIGCONT)
    await pod.vanish()
    await pod.restart()
    await cluster.until(lambda owned: owned["1"].epoch >= 3)
    await cluster.register("2")
    await cluster.until(lambda owned: "2" in owned)
    owned = await cluster.assignments()
    assert (owned["1"].epoch, owned["2"].epoch) == (3, 1)
    assert await cluster.leader() == "config-1"


class Term:
    """What a leader does while it leads."""

    def __init__(self) -> None:
        self.begun = asyncio.Event()
        self.over = asyncio.Event()

    async def lead(self) -> None:
        """Until cancelled."""
        self.begun.set()
        try:
            await asyncio.Event().wait()
        finally:
            self.over.set()


async def test_step_24_a_leader_that_lives_is_deposed_on_a_false_advisory_and_stops_at_its_renewal(
    nats_server: RunningNats,
) -> None:
    buses = [await nats_server.connect("config") for _ in range(2)]
    old, new = (Leadership(bus, f"config-{number}", ttl_s=10) for number, bus in enumerate(buses))
    first, second = Term(), Term()
    async with asyncio.timeout(20):
        tasks = [asyncio.create_task(old.run(first.lead))]
        await first.begun.wait()
        tasks.append(asyncio.create_task(new.run(second.lead)))
        while new.holder != "config-0":
            await asyncio.sleep(0.01)
        new.disconnected(buses[0].server_id, buses[1].client_id)  # another connection
        assert not second.begun.is_set()
        heard = time.monotonic()
        new.disconnected(buses[0].server_id, buses[0].client_id)
        await second.begun.wait()
        deposed_s = time.monotonic() - heard
        await first.over.wait()
        stopped_s = time.monotonic() - heard
    # By its next renewal, a second later, and not by the end of its lease.
    assert deposed_s < 1.0
    assert stopped_s < 5.0
    assert (old.leading, new.leading) == (False, True)
    # Ended in the very moment of the loss: that must not be forgotten over it.
    for task in tasks:
        task.cancel()
    async with asyncio.timeout(10):
        await asyncio.gather(*tasks, return_exceptions=True)
    assert all(task.cancelled() for task in tasks)
    entry = await Bucket(buses[1], storage.LEADERS).get("config")
    assert entry is not None
    assert entry.value is None  # given back by the one that led


async def test_who_could_not_keep_the_lease_leads_again_when_the_next_one_ends(
    nats_server: RunningNats,
) -> None:
    buses = [await nats_server.connect("config") for _ in range(2)]
    old, new = (Leadership(bus, f"config-{number}", ttl_s=10) for number, bus in enumerate(buses))
    first, second = Term(), Term()
    async with asyncio.timeout(30):
        standing = asyncio.create_task(old.run(first.lead))
        await first.begun.wait()
        other = asyncio.create_task(new.run(second.lead))
        while new.holder != "config-0":
            await asyncio.sleep(0.01)
        new.disconnected(buses[0].server_id, buses[0].client_id)  # it lives, and is deposed
        await second.begun.wait()
        await first.over.wait()
        first.begun.clear()
        other.cancel()
        await asyncio.wait([other])
        await first.begun.wait()
        assert old.leading
        standing.cancel()
        await asyncio.wait([standing])
    assert standing.cancelled()


async def test_a_single_replica_leads_again_after_nats_was_away_for_longer_than_its_lease(
    cluster: Cluster,
) -> None:
    cluster.config("config-0")
    await cluster.until_led("config-0")
    cluster.nats.kill()
    await asyncio.sleep(cluster.settings.leader_ttl_s + 1)  # the fault: it cannot renew so long
    await cluster.nats.start()
    await cluster.until_connected()
    await cluster.pod("gateway-0")
    await cluster.register("1")
    await cluster.until(lambda owned: "1" in owned, 30)
