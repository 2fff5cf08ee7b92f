"""A round that did not come to its end: why, in words, and whatever evidence can still be had."""

import asyncio
import traceback
from pathlib import Path

from components.chaos.arena import Arena
from components.chaos.keeping import keep_evidence, keep_stack, lacking, lines
from components.chaos.load import Load
from components.chaos.words import in_words
from components.traffic.evidence import Cut, gather

READ_S = 60.0
"""How long the stack may take to tell what it still knows."""


class NotPlayed(Exception):
    """The round did not come to its end; the words say why."""

    def __init__(self, error: Exception, since: int, load: Load | None) -> None:
        super().__init__(in_words(error))
        self.since = since
        """The last entry of the simulator's record before the round."""
        self.load = load
        """Its traffic, once there was any."""


async def keep_unplayed(folder: Path, arena: Arena, unplayed: NotPlayed) -> None:
    """Write everything about the round that can be had below ``folder``, and beside it why the
    rest cannot. Raises nothing but `OSError`."""
    _keep_reason(folder, unplayed)
    await _keep_history(folder, arena, unplayed.since)
    await asyncio.to_thread(keep_stack, folder, arena.live.home, arena.watched)


def _keep_reason(folder: Path, unplayed: NotPlayed) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    words = [str(unplayed), "", *traceback.format_exception(unplayed.__cause__ or unplayed)]
    (folder / "not-played.txt").write_text("\n".join(words), encoding="utf-8")
    if unplayed.load is not None:
        probes = unplayed.load.probes
        lines(folder / "clients.ndjson", unplayed.load.asked)
        lines(folder / "probes.ndjson", [*probes.answers, *probes.posts])


async def _keep_history(folder: Path, arena: Arena, since: int) -> None:
    """The simulator's record, which is there without the bus, and with it both streams. Any part
    of the stack may be gone: that is what ended the round."""
    control = arena.live.control
    with lacking(folder, "record"):
        async with asyncio.timeout(READ_S):
            lines(folder / "record.ndjson", await control.record_all((), since))
    moment = Cut(record=0, inputs={})
    with lacking(folder, "streams"):
        async with asyncio.timeout(READ_S):
            evidence = await gather(control, arena.live.bus, arena.guilds, moment, since=since)
        await asyncio.to_thread(keep_evidence, folder, evidence)
