"""SIGTERM ends a replica inside its grace, whatever it has lost in the same moment."""

import asyncio
import signal

import pytest

from tests.integration.config.cluster import Cluster

GRACE_S = 6.0
"""Well below the 10 s after which a supervisor kills."""


@pytest.mark.parametrize("after_s", [0.0, 0.005, 0.02])
async def test_a_leader_stops_in_time_when_nats_and_postgresql_die_with_the_signal(
    cluster: Cluster, after_s: float
) -> None:
    process = cluster.config_process("config-0")
    await cluster.until_led("config-0")
    await cluster.status_when_ready()
    try:
        process.signal(signal.SIGTERM)
        await asyncio.sleep(after_s)  # where in its end the loss meets it
        cluster.nats.kill()
        await cluster.postgres.stop()
        assert await asyncio.to_thread(process.process.wait, GRACE_S) == 0
    finally:
        cluster.postgres.start()


async def test_a_leader_stops_in_time_while_nats_hangs(cluster: Cluster) -> None:
    process = cluster.config_process("config-0")
    await cluster.until_led("config-0")
    await cluster.status_when_ready()
    assert cluster.nats.process is not None
    cluster.nats.process.send_signal(signal.SIGSTOP)
    try:
        process.signal(signal.SIGTERM)
        assert await asyncio.to_thread(process.process.wait, GRACE_S) == 0
    finally:
        cluster.nats.process.send_signal(signal.SIGCONT)


async def test_a_replica_that_waits_for_nats_stops_when_told(cluster: Cluster) -> None:
    cluster.nats.kill()
    process = cluster.config_process("config-0")
    async with asyncio.timeout(10):
        while "waiting for NATS" not in process.words():
            await asyncio.sleep(0.05)
    process.signal(signal.SIGTERM)
    assert await asyncio.to_thread(process.process.wait, GRACE_S) == 0
