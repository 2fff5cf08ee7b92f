"""Replies to requests that write: a request that is sent again gets the reply it got.

The newest 1,000 of a guild are kept; a caller has given up long before."""

import sqlite3
from typing import Final

from components.gateway.engine.model import CommandReply
from contracts.errors import ErrorBody, ServiceError
from contracts.ids import GuildId, RequestId
from contracts.message import decode, encode

KEPT_REPLIES: Final = 1_000


def find_reply(
    database: sqlite3.Connection, guild: GuildId, request_id: RequestId
) -> CommandReply | None:
    """What the request was answered."""
    row = database.execute(
        "SELECT body, error FROM command_replies WHERE guild_id = ? AND request_id = ?",
        (guild, request_id),
    ).fetchone()
    if row is None:
        return None
    body, error = row
    if not error:
        return CommandReply(request_id=request_id, body=body)
    said = decode(error, ErrorBody)
    return CommandReply(
        request_id=request_id, error=ServiceError(said.code, said.error, said.fields)
    )


def keep_reply(database: sqlite3.Connection, guild: GuildId, reply: CommandReply) -> None:
    """Remember the reply and forget the oldest one beyond the limit."""
    (position,) = database.execute(
        "UPDATE guilds SET replies_kept = replies_kept + 1 WHERE guild_id = ?"
        " RETURNING replies_kept",
        (guild,),
    ).fetchone()
    error = b"" if reply.error is None else encode(reply.error.body())
    database.execute(
        "INSERT INTO command_replies VALUES (?, ?, ?, ?, ?)",
        (guild, reply.request_id, position, reply.body, error),
    )
    database.execute(
        "DELETE FROM command_replies WHERE guild_id = ? AND position <= ?",
        (guild, position - KEPT_REPLIES),
    )
