"""Settings of a gateway pod: ``MODBOT_GATEWAY_*`` and, for its backup, ``MODBOT_BACKUP_*``.

`check` and `check_backup` raise `InvalidSettings` for what would hang, spin or act too long.
"""

import math
from typing import Final

import msgspec

from components.process.settings import InvalidSettings, variable_of

PREFIX: Final = "GATEWAY"
BACKUP_PREFIX: Final = "BACKUP"
BAN_AT: Final = 10_000
"""Invalid requests in 10 minutes (docs: topics/rate-limits#invalid-request-limit)."""


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
    """REST requests a second of all pods together (docs: topics/rate-limits#global-rate-limit),
    until config has divided them."""
    rest_in_flight: int = 256
    """Most requests outside of the global rate that wait for Discord at once."""
    invalid_limit: int = 5000
    """Responses of 401, 403 and 429 within 10 minutes, of all pods together, after which posts
    wait: at 10,000 Discord bans the address."""
    sweep_every_s: float = 3.0
    """How often the ends of all logs are compared with what was seen."""
    zone: str = ""
    """Where the pod runs, e.g. a rack or a data centre; owner and follower of a guild live in
    different ones. Empty: not stated."""
    process: str = ""
    """Name that the parent has given to this process (`parent`); empty: nobody attests its end."""
    leader_ttl_s: float = 5.0
    """TTL of config's leader: a pod that has heard of none for so long takes its guilds back."""
    grace_s: float = 25.0
    """After SIGTERM the pod serves on for so long, until config has moved its guilds."""
    opening_at_once: int = 32
    """Guilds that are caught up at the same time."""


class BackupSettings(msgspec.Struct, frozen=True, kw_only=True):
    """Where Litestream keeps the replica; off while ``bucket`` is unset."""

    bucket: str = ""
    endpoint: str = ""
    region: str = "us-east-1"
    access_key: str = ""
    secret_key: str = ""
    log: str = ""
    """File for Litestream's output, kept bounded; unset: the pod's own stderr."""
    look_every_s: float = 1.0
    """How often the bucket is listed for what has arrived. Each look costs one or two requests;
    the lag that is told includes the time since the look before."""
    retention_h: float = 72.0
    """How long snapshots, and replicas of former incarnations, stay in the bucket."""
    prune_every_s: float = 3600.0
    """How often it is looked which replicas nobody needs any more (`shell.pruning`)."""


def check(settings: GatewaySettings) -> GatewaySettings:
    """The settings, or `InvalidSettings` naming the variable that cannot work."""
    for name in ("capacity", "rest_in_flight", "opening_at_once"):
        if getattr(settings, name) < 1:
            raise _invalid(name, "must be at least 1")
    if settings.lease_ttl_s < 2:
        raise _invalid("lease_ttl_s", "must be at least 2 seconds: it is renewed every second")
    longest_s = settings.lease_ttl_s - 1
    if not 0 < settings.lease_margin_s <= longest_s:
        raise _invalid(
            "lease_margin_s",
            f"must be above 0 and at most {longest_s} seconds: it is taken off the lease's TTL "
            f"({variable_of(PREFIX, 'lease_ttl_s')}), of which a second must be left to renew it",
        )
    if not 1 <= settings.rest_per_s < math.inf:
        raise _invalid("rest_per_s", "must be at least 1; Discord allows 50 unless it said more")
    if not 1 <= settings.invalid_limit < BAN_AT:
        raise _invalid(
            "invalid_limit", f"must be from 1 to {BAN_AT - 1}: at {BAN_AT} Discord bans the address"
        )
    if not 0 <= settings.grace_s <= 3600:
        raise _invalid("grace_s", "must be from 0 to 3600 seconds")
    if settings.leader_ttl_s < 1:
        raise _invalid("leader_ttl_s", "must be at least 1 second, and at least config's own")
    if not 0.1 <= settings.sweep_every_s <= 60:
        raise _invalid(
            "sweep_every_s", "must be from 0.1 to 60 seconds: a lost message waits for it"
        )
    return settings


def check_backup(settings: BackupSettings) -> BackupSettings:
    """The settings, or `InvalidSettings` naming the variable that cannot work."""
    if bool(settings.access_key) != bool(settings.secret_key):
        missing = "secret_key" if settings.access_key else "access_key"
        raise InvalidSettings(
            variable_of(BACKUP_PREFIX, missing), "is not set, but the other half of the key is"
        )
    if settings.endpoint and not settings.endpoint.startswith(("http://", "https://")):
        raise InvalidSettings(
            variable_of(BACKUP_PREFIX, "endpoint"), "must begin with http:// or https://"
        )
    if not 0.05 <= settings.look_every_s <= 60:
        raise InvalidSettings(
            variable_of(BACKUP_PREFIX, "look_every_s"), "must be from 0.05 to 60 seconds"
        )
    if not 1 <= settings.retention_h <= 24 * 366:
        raise InvalidSettings(
            variable_of(BACKUP_PREFIX, "retention_h"), "must be from 1 hour to a year"
        )
    if not 1 <= settings.prune_every_s <= 24 * 3600:
        raise InvalidSettings(
            variable_of(BACKUP_PREFIX, "prune_every_s"), "must be from 1 second to a day"
        )
    return settings


def _invalid(field: str, reason: str) -> InvalidSettings:
    return InvalidSettings(variable_of(PREFIX, field), reason)
