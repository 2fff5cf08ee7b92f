"""What the components that speak with Discord share: its address and the bot's token."""

from components.discord_api.address import point_at
from components.discord_api.settings import DiscordSettings

__all__ = ["DiscordSettings", "point_at"]
