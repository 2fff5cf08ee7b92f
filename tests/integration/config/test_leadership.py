"""Two replicas, one leader; the other goes on where the first ended."""

import asyncio
import signal
import time

from tests.integration.config.cluster import Cluster


async def test_one_of_two_replicas_leads_and_both_answer(cluster: Cluster) -> None:
    cluster.config("config-0")
    cluster.config("config-1")
    await cluster.pod("gateway-0")
    leader = await cluster.until_led()
    await cluster.register("1")
    await cluster.until(lambda owned: "1" in owned, 5)
    answers: set[str] = set()
    async with asyncio.timeout(10):
        while len(answers) < 2:
            status = await cluster.status()
            assert status.leader in (leader, "")
            answers.add(status.replica)
    assert answers == {"config-0", "config-1"}


async def test_the_other_leads_at_once_when_the_leader_ends_in_order(cluster: Cluster) -> None:
    first = cluster.config("config-0")
    await cluster.until_led("config-0")
    cluster.config("config-1")
    await cluster.pod("gateway-0")
    started = time.monotonic()
    await first.stop()
    await cluster.until_led("config-1", within_s=1)
    print(f"led again {time.monotonic() - started:.2f} s after the end")
    await cluster.register("1")
    await cluster.until(lambda owned: "1" in owned, 5)


async def test_the_other_goes_on_when_the_leader_is_killed_in_the_middle(cluster: Cluster) -> None:
    leader = cluster.config_process("config-0")
    await cluster.until_led("config-0", within_s=20)
    cluster.config("config-1")
    await cluster.pod("gateway-0")
    await cluster.pod("gateway-1")
    guilds = [str(number) for number in range(1, 1001)]
    registering = asyncio.create_task(cluster.register(*guilds))
    await cluster.until(lambda owned: len(owned) >= 100, 10)
    leader.signal(signal.SIGKILL)
    killed_with = len(await cluster.assignments())
    await registering
    await cluster.until(lambda owned: len(owned) == 1000, 15)
    owned = await cluster.assignments()
    assert {assignment.epoch for assignment in owned.values()} == {1}
    assert await cluster.leader() == "config-1"
    assert killed_with < 1000
    # The last writes of the killed leader are found when the tables are compared once more.
    async with asyncio.timeout(20):
        while await cluster.history_rows() < 1000:
            await asyncio.sleep(0.1)


async def test_a_leader_that_hangs_and_wakes_changes_nothing(cluster: Cluster) -> None:
    hung = cluster.config_process("config-0")
    await cluster.until_led("config-0", within_s=20)
    pod = await cluster.pod("gateway-0")
    await cluster.register("1")
    await cluster.until(lambda owned: "1" in owned, 5)
    hung.signal(signal.SIGSTOP)
    await pod.vanish()
    await pod.restart()
    cluster.config("config-1")
    await cluster.until_led("config-1")
    await cluster.until(lambda owned: owned["1"].epoch == 2, 5)
    hung.signal(signal.SIGCONT)
    await pod.vanish()
    await pod.restart()
    await cluster.until(lambda owned: owned["1"].epoch >= 3, 5)
    await cluster.register("2")
    await cluster.until(lambda owned: "2" in owned, 5)
    owned = await cluster.assignments()
    assert (owned["1"].epoch, owned["2"].epoch) == (3, 1)
    assert await cluster.leader() == "config-1"
