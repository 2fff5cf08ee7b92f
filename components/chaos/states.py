"""Every pod's rows of a guild against what a replay of its log gives.

`held_when_whole` reads them once every guild is open and followed, so that an owner's and a
follower's rows are among them. `compare` is pure.
"""

import asyncio
from collections.abc import Mapping, Sequence

import msgspec

from components.chaos.arena import Arena
from components.chaos.oracle import Held, Replayed, held_by
from components.process.clock import steady_s
from contracts.ids import GuildId

POLL_S = 0.05


class Compared(msgspec.Struct, kw_only=True):
    """How many databases' rows of a guild were compared, by what the database is."""

    owner: int = 0
    follower: int = 0
    replica: int = 0
    left: int = 0
    """Of a pod that is neither: rows that it must keep, or has not dropped yet."""
    wrong: list[str] = []


async def held_when_whole(
    arena: Arena, ends: Mapping[GuildId, int], until_s: float
) -> tuple[dict[GuildId, list[Held]], list[str]]:
    """The rows of the guilds in every pod, once each guild is open and followed and both have
    applied its log up to ``ends``; and in words what was not so by then. Rows that were read while
    a guild changed hands are read again."""
    guilds = list(ends)
    while True:
        names = {guild: _names(arena, guild) for guild in guilds}
        missing = _missing(arena, guilds)
        if not missing or steady_s() > until_s:
            held = {guild: _held(arena, guild, *names[guild]) for guild in guilds}
            stayed = names == {guild: _names(arena, guild) for guild in guilds}
            late = lagging(held, ends)
            if (stayed and not late) or steady_s() > until_s:
                return held, missing + late
        await asyncio.sleep(POLL_S)  # gives the watches their turn, too


def lagging(held: Mapping[GuildId, Sequence[Held]], ends: Mapping[GuildId, int]) -> list[str]:
    """In words, which owners and followers have not applied what was on their guild's log."""
    return [
        f"guild {guild}: its {rows.role} {rows.pod} stands at {rows.sequence}, not at {end}"
        for guild, end in ends.items()
        for rows in held.get(guild, ())
        if rows.role in ("owner", "follower") and rows.sequence < end
    ]


def _names(arena: Arena, guild: GuildId) -> tuple[str, str]:
    known = arena.watched.assignments[guild]
    return known.pod, "" if known.follower is None else known.follower.pod


def _missing(arena: Arena, guilds: Sequence[GuildId]) -> list[str]:
    watched = arena.watched
    missing = [f"guild {guild} is not open" for guild in guilds if not watched.is_open(guild)]
    return missing + [
        f"guild {guild} has no follower that holds its rows"
        for guild in guilds
        if not watched.is_followed(guild)
    ]


def _held(arena: Arena, guild: GuildId, owner: str, follower: str) -> list[Held]:
    found = []
    for pod in arena.replicas("gateway"):
        rows = held_by(arena.data(pod), guild)
        if rows is not None:
            role = "owner" if pod == owner else "follower" if pod == follower else "left"
            found.append(msgspec.structs.replace(rows, role=role))
    return found


def compare(
    replays: Mapping[GuildId, Replayed],
    held: Mapping[GuildId, Sequence[Held]],
    in_replicas: Mapping[GuildId, Sequence[Held]],
) -> Compared:
    """Every database's rows of a guild are what a replay up to their checkpoint gives."""
    compared = Compared()
    for guild, replayed in replays.items():
        roles = {rows.role for rows in held.get(guild, ())}
        compared.wrong += [
            f"guild {guild}: its {role} has no rows"
            for role in ("owner", "follower")
            if role not in roles
        ]
        for rows in (*held.get(guild, ()), *in_replicas.get(guild, ())):
            if rows.role in ("left", "replica") and not rows.sequence:
                continue  # its pod has begun to build the guild, and takes that for no rows
            setattr(compared, rows.role, getattr(compared, rows.role) + 1)
            expected = replayed.dumps.get(rows.sequence)
            if expected is None:
                compared.wrong.append(
                    f"guild {guild}: {rows.pod} is at {rows.sequence}, where no input is"
                )
            elif expected != rows.dump:
                difference = _difference(expected, rows.dump)
                compared.wrong.append(f"guild {guild}: {rows.pod} ({rows.role}): {difference}")
    return compared


def _difference(expected: bytes, held: bytes) -> str:
    """The first row that differs, in words."""
    wanted, there = expected.splitlines(), held.splitlines()
    missing = [row for row in wanted if row not in set(there)]
    extra = [row for row in there if row not in set(wanted)]
    shown = " and has ".join(
        (rows[0][:200].decode(errors="replace") if rows else "nothing") for rows in (missing, extra)
    )
    return f"{len(missing)} rows missing, {len(extra)} too many; lacks {shown}"
