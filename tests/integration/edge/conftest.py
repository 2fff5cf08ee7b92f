"""Fixtures: an edge, and the bus as an owner has it."""

from collections.abc import AsyncIterator

import pytest
from nacl.signing import SigningKey

from components.bus.connection import Bus
from components.telemetry.traces import configure_traces
from tests.integration.edge.running import Edge, running_edge
from tests.support.nats import RunningNats


@pytest.fixture(scope="session", autouse=True)
def traces() -> None:
    """Spans are made, as in every process."""
    configure_traces("edge", "tests")


@pytest.fixture
async def edge(nats_server: RunningNats) -> AsyncIterator[Edge]:
    """An edge that takes the signatures of its own key."""
    async with running_edge(nats_server, SigningKey.generate()) as running:
        yield running


@pytest.fixture
async def owner(nats_server: RunningNats) -> Bus:
    """The bus as a gateway pod has it."""
    return await nats_server.connect("gateway")
