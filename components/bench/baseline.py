"""The baseline: a bare discord.py bot that deletes what holds the mark, with nothing in between.

Run as a process of its own: ``python -m components.bench.baseline API_URL GATEWAY_URL``, the
token in ``BASELINE_TOKEN``.
"""

import os
import sys

import discord

from components.bench.event import MARK
from components.discord_api.address import point_at
from components.discord_api.settings import DiscordSettings


class BareBot(discord.Client):
    """Deletes a message as soon as it hears of it."""

    async def on_message(self, message: discord.Message) -> None:
        """Delete what holds the mark."""
        if MARK in message.content:
            await message.delete()


def main() -> None:
    """Connect and stay until the process is ended."""
    api_url, gateway_url = sys.argv[1:]
    token = os.environ["BASELINE_TOKEN"]
    point_at(DiscordSettings(token=token, api_url=api_url, gateway_url=gateway_url))
    intents = discord.Intents(guilds=True, guild_messages=True, message_content=True)
    BareBot(intents=intents, chunk_guilds_at_startup=False).run(token, log_handler=None)


if __name__ == "__main__":
    main()
