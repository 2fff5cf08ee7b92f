"""The row that says where a guild stands: checkpoint, mark of facts, and who the guild is."""

import sqlite3

import msgspec

from contracts.ids import Epoch, GuildId, Sequence


class GuildRow(msgspec.Struct, frozen=True, gc=False):
    """A row of ``guilds`` with the pod's word on parking; columns as in `schema`."""

    guild: GuildId
    generation: str
    sequence: Sequence
    time_ms: int
    epoch: Epoch
    engine_version: int
    chain_breaks: int
    cases: int
    quarantined: int
    facts_sequence: Sequence
    facts_index: int
    name: str
    owner_id: str
    bot_user_id: str
    parked_at: Sequence | None
    parked_reason: str


def find_guild(database: sqlite3.Connection, guild: GuildId) -> GuildRow | None:
    """The guild's row; None when the database holds nothing of it."""
    row = database.execute(
        "SELECT g.guild_id, g.generation, g.sequence, g.time_ms, g.epoch, g.engine_version,"
        " g.chain_breaks, g.cases, g.quarantined, g.facts_sequence, g.facts_index, g.name,"
        " g.owner_id, g.bot_user_id, p.sequence, coalesce(p.reason, '')"
        " FROM guilds g LEFT JOIN parked p ON p.guild_id = g.guild_id WHERE g.guild_id = ?",
        (guild,),
    ).fetchone()
    return None if row is None else GuildRow(*row)


class Standing(msgspec.Struct, frozen=True, gc=False):
    """What every input needs to know of its guild: part of its row, and the settings in force."""

    sequence: Sequence
    time_ms: int
    name: str
    owner_id: str
    bot_user_id: str
    parked_at: Sequence | None
    settings_version: int | None
    """None: nobody has made any."""
    settings: bytes | None


def find_standing(database: sqlite3.Connection, guild: GuildId) -> Standing | None:
    """In one statement, for it is asked for with every input."""
    row = database.execute(
        "SELECT g.sequence, g.time_ms, g.name, g.owner_id, g.bot_user_id, p.sequence,"
        " s.version, s.document FROM guilds g"
        " LEFT JOIN parked p ON p.guild_id = g.guild_id"
        " LEFT JOIN settings s ON s.guild_id = g.guild_id AND s.version ="
        " (SELECT max(version) FROM settings WHERE guild_id = g.guild_id)"
        " WHERE g.guild_id = ?",
        (guild,),
    ).fetchone()
    return None if row is None else Standing(*row)
