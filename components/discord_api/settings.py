"""How a component reaches Discord: ``MODBOT_DISCORD_*``."""

import msgspec


class DiscordSettings(msgspec.Struct, frozen=True, kw_only=True):
    """The bot's token, and where Discord is when it is not the real one."""

    token: str
    """The bot's token (or ``MODBOT_DISCORD_TOKEN_FILE``)."""
    api_url: str = ""
    """Base of the REST API with its version, e.g. ``http://127.0.0.1:8080/api/v10``."""
    gateway_url: str = ""
    """The gateway's WebSocket, e.g. ``ws://127.0.0.1:8080/gateway``."""
