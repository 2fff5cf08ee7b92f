"""A round that did not come to its end: why, in words, and whatever evidence can still be had."""

import asyncio
import traceback
from pathlib import Path

from components.chaos.arena import Arena, NotInTime, NotThere
from components.chaos.keeping import keep_evidence, keep_stack, lines
from components.chaos.load import Load
from components.traffic.evidence import Cut, gather
from components.traffic.guilds import GuildsNotServed

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


def in_words(error: BaseException) -> str:
    """What went wrong, without the groups around it."""
    if isinstance(error, BaseExceptionGroup):
        return "; ".join(dict.fromkeys(in_words(one) for one in error.exceptions))
    if isinstance(error, NotThere):
        return f"needs {error}"
    if isinstance(error, NotInTime | GuildsNotServed):
        return str(error)
    return f"{type(error).__name__}: {error}" if str(error) else type(error).__name__


async def keep_unplayed(folder: Path, arena: Arena, unplayed: NotPlayed) -> None:
    """Write everything about the round that can be had below ``folder``, and beside it why the
    rest cannot. Raises nothing but `OSError`."""
    _keep_reason(folder, unplayed)
    await _keep_history(folder, arena, unplayed.since)
    try:
        await asyncio.to_thread(keep_stack, folder, arena.live.home, arena.watched)
    except Exception as error:  # a disk is gone, a database is broken: what else there is stays
        _lacks(folder, "logs and databases", error)


def _keep_reason(folder: Path, unplayed: NotPlayed) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    words = [str(unplayed), "", *traceback.format_exception(unplayed.__cause__ or unplayed)]
    (folder / "not-played.txt").write_text("\n".join(words), encoding="utf-8")
    if unplayed.load is not None:
        probes = unplayed.load.probes
        lines(folder / "clients.ndjson", unplayed.load.asked)
        lines(folder / "probes.ndjson", [*probes.answers, *probes.posts])


async def _keep_history(folder: Path, arena: Arena, since: int) -> None:
    """The simulator's record and both streams; the record alone when the bus is away."""
    control = arena.live.control
    moment = Cut(record=0, inputs={})
    try:
        async with asyncio.timeout(READ_S):
            evidence = await gather(control, arena.live.bus, arena.guilds, moment, since=since)
        await asyncio.to_thread(keep_evidence, folder, evidence)
        return
    except Exception as error:  # any part of the stack may be gone: that is what ended the round
        _lacks(folder, "streams", error)
    try:
        async with asyncio.timeout(READ_S):
            lines(folder / "record.ndjson", await control.record_all((), since))
    except Exception as error:  # as above
        _lacks(folder, "record", error)


def _lacks(folder: Path, what: str, error: Exception) -> None:
    with (folder / "lacks.txt").open("a", encoding="utf-8") as file:
        file.write(f"{what}: {in_words(error)}\n")
