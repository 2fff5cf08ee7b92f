"""A simulated Discord that holds every body and dispatch of a test against the specification."""

import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import msgspec

from components.simulator.bootstrap import Simulator, running_simulator
from components.simulator.settings import Settings


@asynccontextmanager
async def checked_simulator(settings: Settings) -> AsyncIterator[Simulator]:
    """Serve until the block ends; then nothing that went in or out may have violated Discord's
    specification, when ``MODBOT_DISCORD_SPEC`` names its folder."""
    folder = os.environ.get("MODBOT_DISCORD_SPEC")
    if folder:
        settings = msgspec.structs.replace(settings, spec_folder=Path(folder))
    async with running_simulator(settings) as running:
        yield running
        record = running.world.record
        assert record.first == 1, "entries of the record were dropped: violations may be among them"
        violations, _ = record.since(0, frozenset({"violation"}))
        assert not violations, [entry.data for entry in violations]
