"""What an edge is told: ``MODBOT_EDGE_*``.

`check` raises `InvalidSettings` for a token that is too short to be one and a key that is none.
"""

from typing import Final

import msgspec

from components.process.settings import InvalidSettings, variable_of

PREFIX: Final = "EDGE"
MIN_TOKEN: Final = 20
"""Characters; a token of this length from a generator cannot be guessed over HTTP."""
KEY_HEX_DIGITS: Final = 64


class EdgeSettings(msgspec.Struct, frozen=True, kw_only=True):
    """Settings of one edge."""

    host: str = "127.0.0.1"
    port: int = 8080
    """0 takes a free one."""
    operator_token: str = ""
    """Bearer token of ``/api``. Unset: everything under ``/api`` is refused."""
    discord_public_key: str = ""
    """The application's public key, in hex. Unset: every interaction is refused."""


def check(settings: EdgeSettings) -> EdgeSettings:
    """The settings, if they make sense together; else `InvalidSettings`."""
    if settings.operator_token and len(settings.operator_token) < MIN_TOKEN:
        raise InvalidSettings(
            variable_of(PREFIX, "operator_token"), f"must have at least {MIN_TOKEN} characters"
        )
    if not settings.operator_token.isascii():
        raise InvalidSettings(variable_of(PREFIX, "operator_token"), "must be ASCII")
    key = settings.discord_public_key
    if key and (len(key) != KEY_HEX_DIGITS or not _is_hex(key)):
        raise InvalidSettings(
            variable_of(PREFIX, "discord_public_key"),
            f"must be {KEY_HEX_DIGITS} hex digits, as the developer portal shows it",
        )
    if not 0 <= settings.port < 65536:
        raise InvalidSettings(variable_of(PREFIX, "port"), "must be from 0 to 65535")
    return settings


def _is_hex(text: str) -> bool:
    return text.isascii() and all(digit in "0123456789abcdefABCDEF" for digit in text)
