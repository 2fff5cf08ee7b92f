"""One whole stack, `modbot up`, for every test of this folder."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio

from components.stack.live import LiveStack, live_stack


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def stack(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[LiveStack]:
    """The stack, with its spans written and no traffic of its own. Nothing that went over its
    Discord may have violated the specification, when ``MODBOT_DISCORD_SPEC`` names it."""
    home: Path = tmp_path_factory.mktemp("live") / "home"
    async with live_stack(home, "--guilds", "0", "--traces") as running:
        yield running
        violations = await running.control.record_all(["violation"])
        assert [entry.data for entry in violations] == []
