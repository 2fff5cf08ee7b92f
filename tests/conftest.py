"""Fixtures for every test."""

import asyncio
import shutil
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

from tests.support.nats import RunningCluster, RunningNats
from tests.support.postgres import RunningPostgres

# An example that takes long says how busy the machine is, not that the property does not hold.
settings.register_profile("modbot", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("modbot")


FIRST = (
    "tests/unit/simulate/test_seeds.py",
    "tests/chaos/test_breakages.py",
    "tests/chaos/",
    "tests/integration/shard/",
    "tests/integration/",
)
"""Where tests take longest. A file belongs to one process (``--dist loadfile``), and one of three
minutes that began last would keep one processor of two busy to the end."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Those of `FIRST` go first, in its order."""
    items.sort(
        key=lambda item: next(
            (place for place, name in enumerate(FIRST) if item.nodeid.startswith(name)), len(FIRST)
        )
    )


@pytest.fixture(scope="session")
def provisioned_store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What a real nats-server keeps on disk once it has modbot's streams and buckets. A test's
    server begins with a copy: making them anew takes five times as long, for hundreds of tests."""
    running = RunningNats(tmp_path_factory.mktemp("provisioned"))

    async def provisioned() -> None:
        await running.start()
        try:
            await running.provision()
        finally:
            await running.close()

    asyncio.run(provisioned())
    return running.store


@pytest.fixture
async def nats_server(tmp_path: Path, provisioned_store: Path) -> AsyncIterator[RunningNats]:
    """A real nats-server with modbot's accounts, streams and buckets."""
    running = RunningNats(tmp_path / "nats")
    shutil.copytree(provisioned_store, running.store)
    await running.start()
    try:
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
