"""Fixtures for every test."""

from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

from tests.support.nats import RunningCluster, RunningNats
from tests.support.postgres import RunningPostgres

# An example that takes long says how busy the machine is, not that the property does not hold.
settings.register_profile("modbot", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("modbot")


@pytest.fixture
async def nats_server(tmp_path: Path) -> AsyncIterator[RunningNats]:
    """A real nats-server with modbot's accounts, streams and buckets."""
    running = RunningNats(tmp_path / "nats")
    await running.start()
    try:
        await running.provision()
        yield running
    finally:
        await running.close()


@pytest.fixture
async def nats_cluster(tmp_path: Path) -> AsyncIterator[RunningCluster]:
    """Three real nats-servers with modbot's streams and buckets, each kept three times."""
    running = RunningCluster(tmp_path / "nats")
    try:
        for name in running.servers:
            running.start(name)
        for name in running.servers:
            await running.healthy(name)
        await running.provision()
        yield running
    finally:
        await running.close()


@pytest.fixture(scope="session")
def postgres_process(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningPostgres]:
    """A real PostgreSQL that the session's tests share; a test that stops it starts it again."""
    running = RunningPostgres(tmp_path_factory.mktemp("postgres"))
    running.start()
    try:
        yield running
    finally:
        running.close()


@pytest.fixture
async def postgres_server(postgres_process: RunningPostgres) -> RunningPostgres:
    """The session's PostgreSQL, accepting connections."""
    await postgres_process.ready()
    return postgres_process
