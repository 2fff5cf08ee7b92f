"""The cluster that config's tests act on."""

from collections.abc import AsyncIterator

import pytest

from tests.integration.config.cluster import Cluster
from tests.support.nats import RunningNats
from tests.support.postgres import RunningPostgres


@pytest.fixture
async def cluster(
    nats_server: RunningNats, postgres_server: RunningPostgres
) -> AsyncIterator[Cluster]:
    """A cluster without replicas or pods yet."""
    running = Cluster(nats_server, postgres_server, await postgres_server.new_database())
    await running.connect()
    try:
        yield running
    finally:
        await running.close()
