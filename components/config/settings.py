"""Settings of config: ``MODBOT_CONFIG_*``."""

from urllib.parse import urlsplit

import msgspec

from components.process.settings import InvalidSettings


class ConfigSettings(msgspec.Struct, frozen=True, kw_only=True):
    """How config judges pods and where it keeps registry and history."""

    database_url: str
    """PostgreSQL, e.g. ``postgresql://modbot:…@db/modbot`` (or ``…_DATABASE_URL_FILE``)."""
    replace_after_s: float = 60.0
    """A pod that is away keeps its guilds for so long before another may rebuild them."""
    pod_ttl_s: float = 5.0
    """TTL of the pods' leases, or more: nobody is judged for so long after NATS or the leader came
    back, and a lease that is not renewed for longer has ended."""
    leader_ttl_s: int = 5
    """TTL of the leader's lease: a leader that was killed is replaced after it."""
    history_wait_s: float = 5.0
    """How long a new leader waits for PostgreSQL to say which guilds are not new."""


def check(settings: ConfigSettings) -> ConfigSettings:
    """The settings, or `InvalidSettings` naming the variable that cannot work."""
    # The address holds a password: the error must not repeat it.
    if urlsplit(settings.database_url).scheme not in ("postgresql", "postgres"):
        raise InvalidSettings(
            "MODBOT_CONFIG_DATABASE_URL", "must begin with postgresql:// (its value is not shown)"
        )
    if settings.leader_ttl_s < 2:
        raise InvalidSettings("MODBOT_CONFIG_LEADER_TTL_S", "must be at least 2 seconds")
    if settings.pod_ttl_s <= 0:
        raise InvalidSettings("MODBOT_CONFIG_POD_TTL_S", "must be above 0 seconds")
    if settings.replace_after_s < settings.pod_ttl_s:
        raise InvalidSettings(
            "MODBOT_CONFIG_REPLACE_AFTER_S",
            f"must be at least the pods' TTL, {settings.pod_ttl_s:g} seconds",
        )
    return settings
