"""Puts parts of an earlier state back through the guild's owner, as requests that write.

Pieces are small enough for the log; the owner puts them in force at the last request, all at once.
Interrupted before it, nothing is changed. Raises `OwnerRefused` and `BusError`.
"""

from collections.abc import Iterator
from typing import Final

from components.bus.connection import Bus
from components.restoring.owner import ask
from contracts.ids import GuildId
from contracts.inputs import Actor
from contracts.message import encode
from contracts.requests import (
    BeginRestore,
    CloseRestore,
    PutRestorePiece,
    RestoredRow,
    RestorePart,
    RestoreView,
    UndoRestore,
)

PIECE_BYTES: Final = 256 * 1024
"""A message of the log has at most a megabyte, and the owner goes on between two pieces."""


async def put_back(
    bus: Bus,
    guild: GuildId,
    rows: list[RestoredRow],
    *,
    restore: str,
    at_ms: int,
    parts: list[RestorePart],
    actor: Actor,
) -> RestoreView:
    """Put the rows in force; what the owner says of it."""
    pieces = list(pieces_of(rows))
    begin = BeginRestore(actor=actor, restore=restore, at_ms=at_ms, parts=parts, pieces=len(pieces))
    await ask(bus, guild, begin, RestoreView)
    for number, piece in enumerate(pieces, 1):
        put = PutRestorePiece(actor=actor, restore=restore, number=number, rows=piece)
        await ask(bus, guild, put, RestoreView)
    return await ask(bus, guild, CloseRestore(actor=actor, restore=restore), RestoreView)


async def undo(bus: Bus, guild: GuildId, restore: str, actor: Actor) -> RestoreView:
    """Put back what the guild's last restore replaced."""
    return await ask(bus, guild, UndoRestore(actor=actor, restore=restore), RestoreView)


def pieces_of(rows: list[RestoredRow]) -> Iterator[list[RestoredRow]]:
    """The rows in their order, in pieces of at most `PIECE_BYTES` each where a row allows it."""
    piece: list[RestoredRow] = []
    size = 0
    for row in rows:
        more = len(encode(row))
        if piece and size + more > PIECE_BYTES:
            yield piece
            piece, size = [], 0
        piece.append(row)
        size += more
    if piece:
        yield piece
