"""The oracle: a guild's log, replayed into an empty database by the engine alone."""

import sqlite3
from pathlib import Path

import msgspec

from components.bus import stream
from components.bus.connection import Bus
from components.gateway.engine.dump import canonical_dump
from components.gateway.engine.engine import Engine
from components.gateway.engine.model import Applied
from components.gateway.engine.schema import open_database
from components.gateway.shell.intake import logged_input
from contracts import storage, subjects
from contracts.ids import GuildId, Sequence


class Replayed(msgspec.Struct, frozen=True, kw_only=True):
    """What the log says must have happened."""

    dump: bytes
    facts: set[tuple[int, int, str]]
    """(input sequence, index, type) of every fact."""
    effects: set[tuple[int, int]]
    applied: int


async def replay(bus: Bus, guild: GuildId, folder: Path) -> Replayed:
    """Replay the guild's whole log from INPUTS, one input a transaction."""
    database = open_database(folder / f"replay-{guild}.db")
    engine = Engine(database)
    generation = (await stream.bounds(bus, storage.INPUTS)).generation
    engine.create(guild, generation)
    outcomes: list[Applied] = []
    start = Sequence(1)
    while batch := await stream.read_batch(bus, storage.INPUTS, subjects.inputs(guild), start):
        for message in batch:
            outcomes.append(engine.apply(logged_input(guild, message)))  # noqa: PERF401
        start = Sequence(batch[-1].sequence + 1)
    replayed = Replayed(
        dump=canonical_dump(database, guild),
        facts={(f.sequence, f.index, f.type) for done in outcomes for f in done.facts},
        effects={(e.sequence, e.index) for done in outcomes for e in done.effects},
        applied=len(outcomes),
    )
    database.close()
    return replayed


def dump_of_pod(data: Path, guild: GuildId) -> bytes | None:
    """The canonical dump of a guild in a pod's live database; None if the pod has no rows."""
    files = list(data.glob("*.db"))
    assert len(files) == 1, f"one database expected in {data}: {files}"
    database = sqlite3.connect(f"file:{files[0]}?mode=ro", uri=True)
    try:
        known = database.execute("SELECT 1 FROM guilds WHERE guild_id = ?", (guild,)).fetchone()
        return canonical_dump(database, guild) if known else None
    finally:
        database.close()
