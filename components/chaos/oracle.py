"""The oracle: a guild's log, replayed into an empty database by the engine alone.

Raises what the bus raises, and what the engine raises on a log that nobody could apply.
"""

import sqlite3
from collections.abc import Collection, Mapping
from contextlib import closing
from pathlib import Path
from typing import Literal

import msgspec

from components.bus import stream
from components.bus.connection import Bus
from components.gateway.engine.dump import canonical_dump
from components.gateway.engine.effects import AnyPayload, payload_of
from components.gateway.engine.engine import Engine
from components.gateway.engine.model import Applied
from components.gateway.engine.schema import open_database
from components.restoring.replay import Replay
from contracts import storage
from contracts.ids import GuildId


class Replayed(msgspec.Struct, frozen=True, kw_only=True):
    """What the log says must have happened."""

    dump: bytes
    dumps: dict[int, bytes]
    """The dump after each of the sequences that were asked for, if the log has it."""
    facts: set[tuple[int, int, str]]
    """(input sequence, index, type) of every fact."""
    effects: Mapping[tuple[int, int], AnyPayload]
    """(input sequence, index) of every effect."""
    applied: int
    last: int
    timers: set[tuple[int, str]] = set()
    """(sequence of the input that armed it, timer)."""


class Held(msgspec.Struct, frozen=True, kw_only=True):
    """A guild's rows in one pod's database."""

    pod: str
    sequence: int
    dump: bytes
    role: Literal["owner", "follower", "left", "replica"] = "left"
    """What the pod is to the guild; left: neither. Or the database is a restored replica."""


async def replay(bus: Bus, guild: GuildId, *, at: Collection[int] = ()) -> Replayed:
    """Replay the guild's whole log from INPUTS."""
    database = open_database(":memory:")
    Engine(database).create(guild, (await stream.bounds(bus, storage.INPUTS)).generation)
    outcomes: list[Applied] = []
    dumps: dict[int, bytes] = {}

    def note(applied: Applied) -> None:
        outcomes.append(applied)
        if applied.sequence in at:
            dumps[applied.sequence] = canonical_dump(database, guild)

    await Replay(bus, database, guild).forward(each=note)
    replayed = Replayed(
        dump=canonical_dump(database, guild),
        dumps=dumps,
        facts={(f.sequence, f.index, f.type) for done in outcomes for f in done.facts},
        effects={
            (e.sequence, e.index): payload_of(e.kind, e.payload)
            for done in outcomes
            for e in done.effects
        },
        applied=len(outcomes),
        last=outcomes[-1].sequence if outcomes else 0,
        timers={(t.armed_by, t.timer) for done in outcomes for t in done.timers},
    )
    database.close()
    return replayed


def held_by(data: Path, guild: GuildId) -> Held | None:
    """The guild's rows in a pod's live database, in one snapshot of it; None if it has none."""
    return held_in(data / "gateway.db", data.name, guild)


def held_in(file: Path, holder: str, guild: GuildId) -> Held | None:
    """The guild's rows in a database; None if it has none."""
    if not file.exists():
        return None
    database = sqlite3.connect(f"file:{file}?mode=ro", uri=True, isolation_level=None)
    try:
        database.execute("BEGIN")
        known = database.execute(
            "SELECT sequence FROM guilds WHERE guild_id = ?", (guild,)
        ).fetchone()
        if known is None:
            return None
        return Held(pod=holder, sequence=known[0], dump=canonical_dump(database, guild))
    finally:
        database.close()


def checkpoints(file: Path) -> dict[GuildId, int]:
    """Every guild that a database holds, and up to which sequence of its log; empty without the
    file."""
    if not file.exists():
        return {}
    with closing(sqlite3.connect(f"file:{file}?mode=ro", uri=True)) as database:
        return dict(database.execute("SELECT guild_id, sequence FROM guilds").fetchall())


def dump_of_pod(data: Path, guild: GuildId) -> bytes | None:
    """The canonical dump of a guild in a pod's live database; None if the pod has no rows."""
    held = held_by(data, guild)
    return None if held is None else held.dump
