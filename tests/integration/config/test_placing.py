"""Guilds are placed, stay with their pod, and move only when nothing is lost by it."""

import time

from tests.integration.config.cluster import Cluster


async def test_a_thousand_new_guilds_are_placed_evenly_within_five_seconds(
    cluster: Cluster,
) -> None:
    cluster.config()
    for name in ("gateway-0", "gateway-1"):
        await cluster.pod(name)
    await cluster.until(lambda owned: not owned, 5)
    guilds = [str(number) for number in range(1, 1001)]
    started = time.monotonic()
    await cluster.register(*guilds)
    await cluster.until(lambda owned: len(owned) == 1000, 10)
    took_s = time.monotonic() - started
    owned = (await cluster.assignments()).values()
    assert {assignment.epoch for assignment in owned} == {1}
    assert [sum(a.pod == pod for a in owned) for pod in ("gateway-0", "gateway-1")] == [500, 500]
    print(f"1,000 guilds registered and placed in {took_s:.2f} s")
    assert took_s < 5
