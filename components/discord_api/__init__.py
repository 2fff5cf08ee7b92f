"""What the components that speak with Discord share: its address, the bot's token, and which
answers count against all of them."""

from components.discord_api.address import point_at
from components.discord_api.invalid import counting
from components.discord_api.settings import DiscordSettings

__all__ = ["DiscordSettings", "counting", "point_at"]
