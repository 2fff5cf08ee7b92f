"""A guild with moderators, spammers and settings, served by the live stack."""

from datetime import UTC, datetime, timedelta

from components.simulator.client import GuildInfo
from components.stack.live import LiveStack
from components.traffic.guilds import MOD_LOG, MODERATOR, RESTRICTED, put_settings

SPAM = (
    "nitro steam gift free claim reward nudes onlyfans airdrop whitelist nft mint dex verify "
    "billing suspended expired"
)
"""Seventeen keywords: a high verdict."""


async def new_guild(stack: LiveStack, name: str) -> GuildInfo:
    """A guild of its own: member 0 is a spammer to be, member 1 a moderator, member 2 nobody."""
    old = (datetime.now(UTC) - timedelta(days=900)).isoformat()
    (guild,) = await stack.control.create_guilds(
        name=name,
        roles=[
            {"name": MODERATOR, "permissions": 1 << 13 | 1 << 40},
            {"name": RESTRICTED},
        ],
        channels=[{"name": "general"}, {"name": MOD_LOG}, {"name": "do-not-post"}],
        members=[
            {"username": "spammer", "created_at": old, "joined_at": old},
            {"username": "mod", "created_at": old, "joined_at": old, "roles": [MODERATOR]},
            {"username": "nobody", "created_at": old, "joined_at": old},
        ],
    )
    await put_settings(stack.bus, [guild])
    return guild
