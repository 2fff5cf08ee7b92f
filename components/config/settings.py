"""Settings of config: ``MODBOT_CONFIG_*``."""

from typing import Literal
from urllib.parse import urlsplit

import msgspec

from components.process.settings import InvalidSettings


class ConfigSettings(msgspec.Struct, frozen=True, kw_only=True):
    """How config judges pods and where it keeps registry and history."""

    database_url: str
    """PostgreSQL, e.g. ``postgresql://modbot:…@db/modbot`` (or ``…_DATABASE_URL_FILE``)."""
    followers: Literal[0, 1] = 1
    """Whether a second pod follows every guild and takes it over when its owner dies."""
    grace_s: float = 8.0
    """How long a follower's pod that is gone is waited for before another pod builds its guilds."""
    joining_at_once: int = 48
    """Guilds that one pod builds at a time, to follow or own them."""
    joining_within_s: float = 300.0
    """A pod that has not built a guild after so long is given up, and another is asked if there is
    one; it is not asked again for as long."""
    opening_at_once: int = 32
    """Guilds that one pod takes over at a time in planned moves."""
    balance_every_s: float = 10.0
    """How often config looks whether guilds are spread evenly."""
    pod_ttl_s: float = 5.0
    """TTL of the pods' leases, or more: nobody is judged for so long after NATS or the leader came
    back, and a lease that is not renewed for longer has ended."""
    shard_ttl_s: float = 5.0
    """TTL of the leases of shard ids (MODBOT_SHARD_LEASE_TTL_S), or more: one that is not renewed
    for longer counts as ended while the number of shards changes."""
    leader_ttl_s: int = 5
    """TTL of the leader's lease: a leader that was killed is replaced after it."""
    rest_per_s: float = 50.0
    """REST requests a second of all pods together (docs: topics/rate-limits#global-rate-limit)."""
    history_wait_s: float = 5.0
    """How long a new leader waits for PostgreSQL to say which guilds are not new."""
    alarm_every_s: float = 5.0
    """How often config looks whether something goes wrong unnoticed (`watchfulness`)."""
    alarm_after_s: float = 15.0
    """What is seen for so long is an alarm. Longer than a stream of a cluster is without a leader
    (4 to 9 s), and than a pod that has got its first guild needs for a mark of it."""
    alarm_full: float = 0.75
    """Share of a stream's bytes. A log that fills within its 72 h leaves 18 h to act then."""
    alarm_full_critical: float = 0.9
    alarm_lag_s: float = 60.0
    """Age of a commit that is not in the backup. Usual is below 1 s; after an outage of S3 of 30 s
    the first upload came 20 s late (facts.md)."""
    alarm_age_s: float = 600.0
    """Age of an input that a pod's mark "complete up to" does not cover. Usual are seconds; a
    backup that waits for S3 tries again at least every 5 minutes (facts.md)."""
    alarm_retention: float = 0.5
    """Share of the log's retention at which that age is critical: 36 of 72 h are left to act."""


def check(settings: ConfigSettings) -> ConfigSettings:
    """The settings, or `InvalidSettings` naming the variable that cannot work."""
    # The address holds a password: the error must not repeat it.
    if urlsplit(settings.database_url).scheme not in ("postgresql", "postgres"):
        raise InvalidSettings(
            "MODBOT_CONFIG_DATABASE_URL", "must begin with postgresql:// (its value is not shown)"
        )
    if settings.leader_ttl_s < 2:
        raise InvalidSettings("MODBOT_CONFIG_LEADER_TTL_S", "must be at least 2 seconds")
    for name in ("pod_ttl_s", "shard_ttl_s"):
        if getattr(settings, name) <= 0:
            raise InvalidSettings(f"MODBOT_CONFIG_{name.upper()}", "must be above 0 seconds")
    if settings.rest_per_s < 1:
        raise InvalidSettings(
            "MODBOT_CONFIG_REST_PER_S", "must be at least 1; Discord allows 50 unless it said more"
        )
    positive = ("joining_at_once", "opening_at_once", "joining_within_s")
    pauses = ("balance_every_s", "alarm_every_s")
    for name in (*positive, *pauses, "alarm_full", "alarm_lag_s", "alarm_age_s", "alarm_retention"):
        if getattr(settings, name) <= 0:
            raise InvalidSettings(f"MODBOT_CONFIG_{name.upper()}", "must be above 0")
    for name in ("grace_s", "alarm_after_s"):
        if getattr(settings, name) < 0:
            raise InvalidSettings(f"MODBOT_CONFIG_{name.upper()}", "must not be negative")
    if settings.alarm_full_critical < settings.alarm_full:
        raise InvalidSettings(
            "MODBOT_CONFIG_ALARM_FULL_CRITICAL", "must not be below MODBOT_CONFIG_ALARM_FULL"
        )
    return settings
