"""Settings of a gateway pod: ``MODBOT_GATEWAY_*`` and, for its backup, ``MODBOT_BACKUP_*``."""

import msgspec


class GatewaySettings(msgspec.Struct, frozen=True, kw_only=True):
    """One pod."""

    data: str
    """Folder of the pod's database; kept over restarts, used by one process at a time."""
    capacity: int = 2500
    """Most guilds that the pod takes."""
    lease_ttl_s: int = 5
    lease_margin_s: float = 0.5
    """The pod stops acting this long before its lease can expire."""
    rest_per_s: float = 50.0
    """REST requests a second of all pods together (docs: topics/rate-limits#global-rate-limit)."""
    rest_in_flight: int = 256
    """Most requests that wait for Discord at once."""
    invalid_limit: int = 5000
    """Responses of 401, 403 and 429 within 10 minutes after which posts wait: at 10,000 Discord
    bans the address (docs: topics/rate-limits#invalid-request-limit)."""
    sweep_every_s: float = 3.0
    """How often the ends of all logs are compared with what was seen."""
    opening_at_once: int = 32
    """Guilds that are caught up at the same time."""


class BackupSettings(msgspec.Struct, frozen=True, kw_only=True):
    """Where Litestream keeps the replica; off while ``bucket`` is unset."""

    bucket: str = ""
    endpoint: str = ""
    region: str = "us-east-1"
    access_key: str = ""
    secret_key: str = ""
