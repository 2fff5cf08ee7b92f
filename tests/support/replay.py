"""The oracle of the tests: `components.chaos.oracle`."""

from pathlib import Path

from components.bus.connection import Bus
from components.chaos import oracle
from components.chaos.oracle import Replayed, dump_of_pod
from contracts.ids import GuildId

__all__ = ["Replayed", "dump_of_pod", "replay"]


async def replay(bus: Bus, guild: GuildId, _folder: Path | None = None) -> Replayed:
    """Replay the guild's whole log from INPUTS."""
    return await oracle.replay(bus, guild)
