"""Fixtures for every test."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.support.nats import RunningNats


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
