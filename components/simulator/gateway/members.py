"""Answers to REQUEST_GUILD_MEMBERS: chunks of up to 1,000 members.

docs: events/gateway-events#request-guild-members
"""

from typing import Any

from components.simulator.clock import Snowflake
from components.simulator.gateway.connection import Closed
from components.simulator.gateway.protocol import Close, Intent
from components.simulator.gateway.session import Session
from components.simulator.world import render
from components.simulator.world.store import World

CHUNK = 1000


def member_chunks(world: World, session: Session, asked: Any) -> list[dict[str, Any]]:
    """The chunks of one request. All members (no query, no ids) needs the members intent."""
    if not isinstance(asked, dict) or "guild_id" not in asked:
        raise Closed(Close.DECODE_ERROR, "Error while decoding payload.")
    guild = world.guilds.get(Snowflake(int(asked["guild_id"])))
    if guild is None or session.application.id not in guild.applications:
        return []
    ids = asked.get("user_ids")
    query = (asked.get("query") or "").lower()
    limit = int(asked.get("limit") or 0)
    not_found: list[str] = []
    if ids is not None:
        wanted = [str(i) for i in (ids if isinstance(ids, list) else [ids])]
        found = [m for i in wanted if (m := guild.members.get(Snowflake(int(i)))) is not None]
        not_found = [i for i in wanted if Snowflake(int(i)) not in guild.members]
    else:
        if not query and not limit and not session.intents & Intent.GUILD_MEMBERS:
            raise Closed(Close.DISALLOWED_INTENTS, "Disallowed intents.")
        found = [m for m in guild.members.values() if m.user.username.lower().startswith(query)]
        if limit:
            found = found[: min(limit, 100)]
    parts = [found[i : i + CHUNK] for i in range(0, len(found), CHUNK)] or [[]]
    chunks: list[dict[str, Any]] = []
    for i, part in enumerate(parts):
        chunk = {
            "guild_id": str(guild.id),
            "members": [render.member(m) for m in part],
            "chunk_index": i,
            "chunk_count": len(parts),
        }
        if not_found:
            chunk["not_found"] = not_found
        if asked.get("nonce") is not None:
            chunk["nonce"] = asked["nonce"]
        chunks.append(chunk)
    return chunks
