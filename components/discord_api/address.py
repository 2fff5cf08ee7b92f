"""Points discord.py at a Discord: the real one, or a server that speaks its protocol.

discord.py keeps both addresses on classes, so they hold for the whole process.
"""

import discord.gateway
import discord.http
import yarl

from components.discord_api.settings import DiscordSettings


def point_at(settings: DiscordSettings) -> None:
    """Set the addresses that discord.py uses from now on; unset ones stay the real Discord's."""
    if settings.api_url:
        discord.http.Route.BASE = settings.api_url.rstrip("/")
    if settings.gateway_url:
        discord.gateway.DiscordWebSocket.DEFAULT_GATEWAY = yarl.URL(settings.gateway_url)
