"""A guild's settings: one typed, versioned document with the predecessor's values as defaults.

`parse_settings` reads a document from outside: unknown fields are refused, every value is
checked, and the error names each field that is wrong.
"""

from collections.abc import Iterator
from typing import Any

import msgspec

from contracts.errors import ErrorCode, FieldError, ServiceError
from contracts.ids import ChannelId, RoleId, is_snowflake

HOUR_S = 3600
DAY_S = 24 * HOUR_S
MAX_TIMEOUT_S = 28 * DAY_S
"""Discord refuses longer timeouts (docs: resources/guild#modify-guild-member)."""


class _Section(msgspec.Struct, frozen=True, kw_only=True):
    """Part of the document. In a reply a field that a newer owner added is ignored; in a document
    from outside `parse_settings` refuses it: it would be a silent nothing."""


class SpamThresholds(_Section, frozen=True, kw_only=True):
    """Lowest score of each tier."""

    low: int = 6
    medium: int = 10
    high: int = 15
    honeypot: int = 100


class SpamWeights(_Section, frozen=True, kw_only=True):
    """Points that each signal adds."""

    honeypot_channel: int = 100
    spam_keyword: int = 1
    mass_ping: int = 5
    high_mention_density: int = 2
    zalgo: int = 3
    safe_keyword: int = -10
    account_age_1d: int = 2
    account_age_7d: int = 2
    account_age_30d: int = 1
    tenure_1h: int = 2
    tenure_24h: int = 2
    tenure_7d: int = 1
    cross_channel_spam: int = 15
    channel_hop_fast: int = 4
    channel_hop_slow: int = 3
    duplicates: int = 5
    rapid_fire: int = 3


class SpamKeywords(_Section, frozen=True, kw_only=True):
    """Whole words or phrases, matched without regard to case."""

    scam: tuple[str, ...] = ("nitro", "steam", "gift", "free", "claim", "reward")
    nsfw: tuple[str, ...] = ("18+", "nudes", "onlyfans", "deepfake", "poki")
    crypto: tuple[str, ...] = ("airdrop", "whitelist", "nft", "mint", "dex")
    phishing: tuple[str, ...] = ("verify", "billing", "suspended", "expired")
    safe: tuple[str, ...] = ("forhire", "hiring", "remote", "onsite")


class SpamSettings(_Section, frozen=True, kw_only=True):
    """The spam pipeline."""

    enabled: bool = True
    thresholds: SpamThresholds = SpamThresholds()
    weights: SpamWeights = SpamWeights()
    keywords: SpamKeywords = SpamKeywords()
    exempt_role_names: tuple[str, ...] = ("mvp", "moderator", "admin", "admins")
    honeypot_channels: tuple[ChannelId, ...] = ()
    timeout_s: int = 20 * HOUR_S
    kick_after_reports: int = 3
    """After a high verdict, a member with this many spam reports in the guild is kicked."""
    mention_limit: int = 3
    """More distinct mentioned users than this is a signal."""
    zalgo_share: float = 0.2
    """A larger share of combining marks than this is a signal."""
    duplicate_window_s: int = 300
    duplicate_count: int = 2
    rapid_fire_window_s: int = 30
    rapid_fire_count: int = 5
    channel_hop_fast_window_s: int = 60
    channel_hop_fast_count: int = 3
    channel_hop_slow_window_s: int = 300
    channel_hop_slow_count: int = 5
    cross_channel_count: int = 3
    tracker_retention_s: int = 1800
    """How long what a member posted is remembered (no text, only keys)."""


class SignalSettings(_Section, frozen=True, kw_only=True):
    """Signals between guilds: given and taken only by guilds that share."""

    share: bool = False
    guild_count: int = 3
    """Distinct sharing guilds with a spam report after which members are timed out in all."""


class GuildSettings(_Section, frozen=True, kw_only=True):
    """Everything a guild can set."""

    moderator_role: RoleId | None = None
    restricted_role: RoleId | None = None
    mod_log_channel: ChannelId | None = None
    spam: SpamSettings = SpamSettings()
    signals: SignalSettings = SignalSettings()


def parse_settings(data: bytes) -> GuildSettings:
    """The document, or `ServiceError` 422 naming the fields that are wrong."""
    try:
        document = msgspec.json.decode(data)
        settings = msgspec.convert(document, GuildSettings)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        path, reason = _where(str(error))
        raise _invalid([FieldError(path=path, reason=reason)]) from error
    if errors := list(_unknown(document, settings, "")):
        raise _invalid(errors)
    if errors := list(_problems(settings)):
        raise _invalid(errors)
    return settings


def _invalid(errors: list[FieldError]) -> ServiceError:
    words = "; ".join(f"{error.path}: {error.reason}" for error in errors)
    return ServiceError(ErrorCode.INVALID, f"invalid settings: {words}", errors)


def _where(message: str) -> tuple[str, str]:
    reason, _, path = message.partition(" - at `$")
    return path.rstrip("`").lstrip(".") or "settings", reason


def _unknown(document: dict[str, Any], section: _Section, path: str) -> Iterator[FieldError]:
    """Every field of the document that the section does not have."""
    for name, value in document.items():
        here = f"{path}{name}"
        if name not in section.__struct_fields__:
            yield FieldError(path=here, reason="there is no such setting")
        elif isinstance(inner := getattr(section, name), _Section):
            yield from _unknown(value, inner, f"{here}.")


def _problems(settings: GuildSettings) -> list[FieldError]:
    found: list[FieldError] = []

    def check(ok: bool, path: str, reason: str) -> None:
        if not ok:
            found.append(FieldError(path=path, reason=reason))

    for name in ("moderator_role", "restricted_role", "mod_log_channel"):
        value = getattr(settings, name)
        check(value is None or is_snowflake(value), name, "must be a Discord id (digits)")
    spam = settings.spam
    for i, channel in enumerate(spam.honeypot_channels):
        check(
            is_snowflake(channel), f"spam.honeypot_channels[{i}]", "must be a Discord id (digits)"
        )
    tiers = spam.thresholds
    check(
        0 < tiers.low < tiers.medium < tiers.high < tiers.honeypot,
        "spam.thresholds",
        "must grow: 0 < low < medium < high < honeypot",
    )
    check(
        60 <= spam.timeout_s <= MAX_TIMEOUT_S,
        "spam.timeout_s",
        f"must be from 60 to {MAX_TIMEOUT_S} seconds (28 days, Discord's limit)",
    )
    check(0 < spam.zalgo_share <= 1, "spam.zalgo_share", "must be above 0 and at most 1")
    check(
        300 <= spam.tracker_retention_s <= DAY_S,
        "spam.tracker_retention_s",
        "must be from 300 to 86400 seconds",
    )
    for name in (
        "kick_after_reports",
        "mention_limit",
        "duplicate_count",
        "rapid_fire_count",
        "channel_hop_fast_count",
        "channel_hop_slow_count",
        "cross_channel_count",
    ):
        check(1 <= getattr(spam, name) <= 1000, f"spam.{name}", "must be from 1 to 1000")
    for name in (
        "duplicate_window_s",
        "rapid_fire_window_s",
        "channel_hop_fast_window_s",
        "channel_hop_slow_window_s",
    ):
        window = getattr(spam, name)
        check(
            1 <= window <= spam.tracker_retention_s,
            f"spam.{name}",
            "must be from 1 second to spam.tracker_retention_s",
        )
    for group in spam.keywords.__struct_fields__:
        words: tuple[str, ...] = getattr(spam.keywords, group)
        check(len(words) <= 500, f"spam.keywords.{group}", "at most 500 keywords")
        for i, word in enumerate(words):
            check(
                0 < len(word.strip()) <= 100,
                f"spam.keywords.{group}[{i}]",
                "must have 1 to 100 characters",
            )
    check(2 <= settings.signals.guild_count <= 100, "signals.guild_count", "must be from 2 to 100")
    return found
