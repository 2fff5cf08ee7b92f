"""The score of a message: signals, their points, the tier. A pure function.

The current message is among ``recent``, so it counts in every window. Every threshold, weight and
window is a setting.
"""

import re
from collections.abc import Callable
from typing import Final, TypeAlias

import msgspec

from components.gateway.engine.rules import Rules, fold
from components.gateway.engine.spam.posted import Posted, analysed_text
from components.gateway.engine.spam.tracker import Tracked
from contracts.facts import SignalScore, SpamTier
from contracts.ids import snowflake_time_ms

Add: TypeAlias = Callable[..., None]
"""Adds a signal of this name, this many times."""
HOUR_MS: Final = 3_600_000
DAY_MS: Final = 24 * HOUR_MS

_MENTION: Final = re.compile(r"<@!?([0-9]{1,20})>")
_MASS_PINGS: Final = ("@everyone", "@here")
_COMBINING: Final = re.compile(
    "[\u0300-\u036f\u0483-\u0489\u1ab0-\u1aff\u1dc0-\u1dff\u20d0-\u20ff\ufe20-\ufe2f]"
)
"""The blocks that zalgo is made of; the marks that Thai, Hindi, Arabic or Hebrew are written with
lie elsewhere."""
_ACCOUNT_AGES: Final = (
    ("account_age_1d", DAY_MS),
    ("account_age_7d", 7 * DAY_MS),
    ("account_age_30d", 30 * DAY_MS),
)
_TENURES: Final = (
    ("tenure_1h", HOUR_MS),
    ("tenure_24h", DAY_MS),
    ("tenure_7d", 7 * DAY_MS),
)
TIERS: Final[tuple[SpamTier, ...]] = ("low", "medium", "high", "honeypot")
"""Rising."""


class Evidence(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """The facts that a verdict used, kept with its case; no text but the matched keywords."""

    keywords: list[str] = []
    safe_keywords: list[str] = []
    mass_pings: list[str] = []
    mentions: int = 0
    combining_share: float = 0.0
    account_age_ms: int | None = None
    tenure_ms: int | None = None
    copies: int = 0
    copy_channels: int = 0
    channels_fast: int = 0
    channels_slow: int = 0
    messages_rapid: int = 0
    settings_version: int = 0


class Scored(msgspec.Struct, frozen=True, kw_only=True):
    """The sum of the signals; ``tier`` None: no verdict."""

    score: int
    tier: SpamTier | None
    signals: list[SignalScore]
    evidence: Evidence


def score(posted: Posted, recent: list[Tracked], key: str, rules: Rules, *, trap: bool) -> Scored:
    """Score a message; ``trap``: it is in a honeypot channel, and nothing else matters."""
    signals: list[SignalScore] = []
    weights = rules.spam.weights

    def add(name: str, times: int = 1) -> None:
        if times and (points := getattr(weights, name) * times):
            signals.append(SignalScore(name=name, points=points))

    if trap:
        add("honeypot_channel")
        evidence = Evidence(settings_version=rules.version)
    else:
        evidence = gather(posted, recent, key, rules)
        _judge_text(evidence, rules, add)
        for name, limit in _ACCOUNT_AGES:
            if evidence.account_age_ms is not None and evidence.account_age_ms < limit:
                add(name)
                break
        for name, limit in _TENURES:
            if evidence.tenure_ms is not None and evidence.tenure_ms < limit:
                add(name)
                break
        _judge_behaviour(evidence, rules, add)
    total = sum(signal.points for signal in signals)
    return Scored(score=total, tier=tier_of(total, rules), signals=signals, evidence=evidence)


def tier_of(total: int, rules: Rules) -> SpamTier | None:
    """The tier of a sum."""
    limits = rules.spam.thresholds
    reached: SpamTier | None = None
    for tier in TIERS:
        if total >= getattr(limits, tier):
            reached = tier
    return reached


def gather(posted: Posted, recent: list[Tracked], key: str, rules: Rules) -> Evidence:
    """The facts that the signals are judged by."""
    spam = rules.spam
    text = analysed_text(posted)
    folded = fold(text)
    now = posted.at_ms

    copies = rapid = 0
    channels_fast, channels_slow, copy_channels = set(), set(), set()
    for seen in recent:
        age_s = (now - seen.at_ms) / 1000
        if age_s < 0:
            continue
        is_copy = bool(key) and seen.key == key
        if age_s <= spam.channel_hop_fast_window_s:
            channels_fast.add(seen.channel)
            if is_copy:
                copy_channels.add(seen.channel)
        if age_s <= spam.channel_hop_slow_window_s:
            channels_slow.add(seen.channel)
        if age_s <= spam.rapid_fire_window_s:
            rapid += 1
        if is_copy and age_s <= spam.duplicate_window_s:
            copies += 1
    mentioned = {*posted.mentioned, *_MENTION.findall(posted.content)}
    return Evidence(
        keywords=rules.bad_keywords.found(folded),
        safe_keywords=rules.safe_keywords.found(folded),
        mass_pings=[ping for ping in _MASS_PINGS if ping in posted.content],
        mentions=len(mentioned),
        combining_share=combining_share(text),
        account_age_ms=max(now - snowflake_time_ms(posted.author.id), 0),
        tenure_ms=None if posted.joined_ms is None else max(now - posted.joined_ms, 0),
        copies=copies,
        copy_channels=len(copy_channels),
        channels_fast=len(channels_fast),
        channels_slow=len(channels_slow),
        messages_rapid=rapid,
        settings_version=rules.version,
    )


def combining_share(text: str) -> float:
    """Combining marks as a share of the text's characters."""
    if text.isascii():
        return 0.0
    return round(len(_COMBINING.findall(text)) / len(text), 4)


def _judge_text(evidence: Evidence, rules: Rules, add: Add) -> None:
    add("spam_keyword", len(evidence.keywords))
    add("mass_ping", len(evidence.mass_pings))
    add("high_mention_density", evidence.mentions > rules.spam.mention_limit)
    add("zalgo", evidence.combining_share > rules.spam.zalgo_share)
    add("safe_keyword", bool(evidence.safe_keywords))


def _judge_behaviour(evidence: Evidence, rules: Rules, add: Add) -> None:
    spam = rules.spam
    hops_fast = evidence.channels_fast >= spam.channel_hop_fast_count
    if hops_fast and evidence.copy_channels >= spam.cross_channel_count:
        add("cross_channel_spam")  # says all that the four below would
        return
    if hops_fast:
        add("channel_hop_fast")
    elif evidence.channels_slow >= spam.channel_hop_slow_count:
        add("channel_hop_slow")
    add("duplicates", evidence.copies >= spam.duplicate_count)
    add("rapid_fire", evidence.messages_rapid >= spam.rapid_fire_count)
