"""Every signal of the pipeline with its condition and its points, and the tiers."""

from typing import Any

import pytest

from components.gateway.engine.rules import Keywords, fold
from contracts.settings import SpamKeywords
from tests.unit.gateway.engine.support import (
    DAY_MS,
    GUILD,
    JOINED_LONG_AGO,
    MEMBER,
    T0,
    Log,
    message,
    signals,
    snowflake,
    tier,
)

HOUR_MS = 3_600_000
CATCH_ALL = {"spam": {"thresholds": {"low": 1, "medium": 1000, "high": 2000, "honeypot": 3000}}}
"""Every score above 0 is a verdict that only reports."""


def iso(ms: int) -> str:
    from datetime import UTC, datetime

    return datetime.fromtimestamp(ms / 1000, UTC).isoformat()


def log_of(**spam: Any) -> Log:
    return Log({"spam": {**CATCH_ALL["spam"], **spam}})


ALL_KEYWORDS = [
    word
    for group in ("scam", "nsfw", "crypto", "phishing")
    for word in getattr(SpamKeywords(), group)
]


@pytest.mark.parametrize("word", ALL_KEYWORDS)
def test_each_spam_keyword_is_a_point_in_any_case(word: str) -> None:
    assert signals(log_of().post(f"so {word.upper()}, yes")) == {"spam_keyword": 1}


@pytest.mark.parametrize(
    ("text", "points"),
    [
        ("freedom gifted steamy unclaimed", 0),
        ("free free FREE", 1),
        ("free\ngift", 2),
        ("it costs 18 dollars", 0),
        ("18+ only", 1),
        ("(18+)", 1),
        ("118+", 0),
        ("_free_ **gift**", 2),
        ("nft's", 1),
        ("nfts", 0),
        ("ünfree", 0),
    ],
)
def test_keywords_match_whole_words_and_18_plus_literally(text: str, points: int) -> None:
    assert signals(log_of().post(text)).get("spam_keyword", 0) == points


def test_phrases_match_over_any_space_and_keep_their_order() -> None:
    keywords = Keywords(("act now", "a.c", "Straße", " now "))
    assert keywords.found(fold("ACT \n now, STRASSE")) == ["act now", "strasse", "now"]
    assert keywords.found("abc") == []
    assert keywords.found("react now") == ["now"]
    assert Keywords(()).found("anything") == []


def test_keywords_are_found_in_everything_an_embed_says() -> None:
    embed = {
        "url": "https://x.example/nitro",
        "title": "Steam",
        "description": "gift",
        "footer": {"text": "free"},
        "fields": [{"name": "claim", "value": "reward"}],
    }
    assert signals(log_of().post("", embeds=[embed])) == {"spam_keyword": 6}


def test_keywords_are_found_in_what_a_message_forwards() -> None:
    applied = log_of().post(
        "",
        message_reference={"type": 1, "message_id": "5", "channel_id": "6"},
        message_snapshots=[{"message": {"content": "free", "embeds": [{"title": "nitro"}]}}],
    )
    assert signals(applied) == {"spam_keyword": 2}


@pytest.mark.parametrize(
    ("text", "points"),
    [("@everyone", 5), ("@here", 5), ("@everyone @here @here", 10), ("everyone here", 0)],
)
def test_mass_pings_count_once_for_each_kind(text: str, points: int) -> None:
    assert signals(log_of().post(text)).get("mass_ping", 0) == points


@pytest.mark.parametrize(("count", "points"), [(3, 0), (4, 2)])
def test_many_distinct_mentions_are_a_signal(count: int, points: int) -> None:
    text = " ".join(f"<@{user}> <@!{user}>" for user in range(1, count + 1))
    assert signals(log_of().post(text)).get("high_mention_density", 0) == points


def test_mentions_count_from_discords_list_but_not_whom_a_reply_answers() -> None:
    users = [{"id": str(user), "username": "u"} for user in range(1, 5)]
    assert "high_mention_density" in signals(log_of().post("hi", mentions=users))
    assert signals(log_of().post("hi <@2> <@3> <@4>", mentions=users, type=19)) == {}


@pytest.mark.parametrize(
    ("text", "points"),
    [
        ("a\u0300\u0301\u0302\u0303b", 3),
        ("e\u0301clair au the\u0301", 0),
        ("กำลังทำ ที่นี่", 0),
        ("مُحَمَّدٌ رَسُولُ", 0),
    ],
)
def test_zalgo_is_a_share_of_combining_marks_and_no_script_of_people(
    text: str, points: int
) -> None:
    assert signals(log_of().post(text)).get("zalgo", 0) == points


@pytest.mark.parametrize("word", ["forhire", "hiring", "remote", "onsite"])
def test_a_safe_keyword_takes_ten_points_off(word: str) -> None:
    assert signals(log_of().post(f"@everyone @here free {word}")) == {
        "mass_ping": 10,
        "spam_keyword": 1,
        "safe_keyword": -10,
    }
    assert "safe_keyword" not in signals(log_of().post(f"@everyone {word}ly"))


@pytest.mark.parametrize(
    ("age_ms", "expected"),
    [
        (DAY_MS - 1000, {"account_age_1d": 2}),
        (DAY_MS, {"account_age_7d": 2}),
        (7 * DAY_MS - 1000, {"account_age_7d": 2}),
        (7 * DAY_MS, {"account_age_30d": 1}),
        (30 * DAY_MS, {}),
    ],
)
def test_account_age_is_taken_at_the_message(age_ms: int, expected: dict[str, int]) -> None:
    log = log_of()
    log.now = T0 + 900 * DAY_MS  # the log was applied much later
    applied = log.post(author=snowflake(T0 - age_ms))
    assert signals(applied) == expected


@pytest.mark.parametrize(
    ("tenure_ms", "expected"),
    [
        (HOUR_MS - 1000, {"tenure_1h": 2}),
        (HOUR_MS, {"tenure_24h": 2}),
        (DAY_MS, {"tenure_7d": 1}),
        (7 * DAY_MS, {}),
    ],
)
def test_tenure_is_taken_at_the_message(tenure_ms: int, expected: dict[str, int]) -> None:
    assert signals(log_of().post(joined=iso(T0 - tenure_ms))) == expected


def test_a_member_without_a_known_join_has_no_tenure_signal() -> None:
    assert signals(log_of().post(joined=None)) == {}


def test_the_same_message_in_three_channels_suppresses_the_weaker_signals() -> None:
    log = log_of()
    for number, channel in enumerate(("1", "2", "3"), 1):
        last = log.post("look  here", channel=channel, at=T0 + number * 1000)
    assert signals(last) == {"cross_channel_spam": 15}


def test_copies_must_be_in_distinct_channels_to_be_cross_channel_spam() -> None:
    log = log_of()
    for number, (channel, text) in enumerate(
        [("1", "same"), ("1", "same"), ("2", "other"), ("3", "same")]
    ):
        last = log.post(text, channel=channel, at=T0 + number * 1000)
    assert signals(last) == {"channel_hop_fast": 4, "duplicates": 5}


@pytest.mark.parametrize(("gap_s", "expected"), [(30, {"channel_hop_fast": 4}), (31, {})])
def test_three_channels_within_a_minute_are_a_fast_hop(
    gap_s: int, expected: dict[str, int]
) -> None:
    log = log_of()
    for number, channel in enumerate(("1", "2", "3")):
        last = log.post(f"text {number}", channel=channel, at=T0 + number * gap_s * 1000)
    assert signals(last) == expected


@pytest.mark.parametrize(("gap_s", "expected"), [(75, {"channel_hop_slow": 3}), (76, {})])
def test_five_channels_within_five_minutes_are_a_slow_hop(
    gap_s: int, expected: dict[str, int]
) -> None:
    log = log_of()
    for number in range(5):
        last = log.post(f"text {number}", channel=str(number + 1), at=T0 + number * gap_s * 1000)
    assert signals(last) == expected


@pytest.mark.parametrize(("gap_s", "expected"), [(300, {"duplicates": 5}), (301, {})])
def test_two_copies_within_five_minutes_are_duplicates(
    gap_s: int, expected: dict[str, int]
) -> None:
    log = log_of()
    log.post(" Same THING ", at=T0)
    assert signals(log.post("same thing", at=T0 + gap_s * 1000)) == expected


@pytest.mark.parametrize(("gap_ms", "expected"), [(7500, {"rapid_fire": 3}), (7600, {})])
def test_five_messages_within_half_a_minute_are_rapid_fire(
    gap_ms: int, expected: dict[str, int]
) -> None:
    log = log_of()
    for number in range(5):
        last = log.post(f"text {number}", at=T0 + number * gap_ms)
    assert signals(last) == expected


def image(number: int, **more: Any) -> dict[str, Any]:
    return {
        "id": str(number),
        "filename": "scam.png",
        "size": 1000,
        "width": 10,
        "height": 20,
        **more,
    }


@pytest.mark.parametrize(
    ("first", "second", "same"),
    [
        (image(1), image(2), True),
        (image(1), image(2, size=1001), False),
        (image(1), image(2, filename="x.png"), False),
        (image(1), image(2, width=11), False),
        (
            image(1, placeholder="kQgG"),
            image(2, placeholder="kQgG", filename="renamed.png", size=9),
            True,
        ),
        (image(1, placeholder="kQgG"), image(2, placeholder="other"), False),
    ],
)
def test_repeated_images_match_by_content_or_by_name_size_and_dimensions(
    first: dict[str, Any], second: dict[str, Any], same: bool
) -> None:
    log = log_of()
    log.post("", attachments=[first], at=T0)
    applied = log.post("", attachments=[second], at=T0 + 1000)
    assert ("duplicates" in signals(applied)) is same


def test_the_order_of_attachments_does_not_matter() -> None:
    log = log_of()
    one, two = image(1), image(2, filename="b.png")
    log.post("x", attachments=[one, two], at=T0)
    assert "duplicates" in signals(log.post("x", attachments=[two, one], at=T0 + 1000))


def test_messages_without_content_are_no_copies_of_each_other() -> None:
    log = log_of()
    sticker = [{"id": "1", "name": "wave", "format_type": 1}]
    for number, channel in enumerate(("1", "2", "3")):
        last = log.post("", sticker_items=sticker, channel=channel, at=T0 + number * 1000)
    assert signals(last) == {"channel_hop_fast": 4}


def test_a_links_preview_does_not_hide_a_copy() -> None:
    log = log_of()
    url = "https://x.example/a"
    log.post(f"see {url}", at=T0)
    preview = {"type": "article", "url": url, "title": "A"}
    assert "duplicates" in signals(log.post(f"see {url}", embeds=[preview], at=T0 + 1000))


def test_a_rich_embed_is_part_of_what_makes_a_copy() -> None:
    log = log_of()
    log.post("", embeds=[{"title": "A"}], at=T0)
    assert signals(log.post("", embeds=[{"title": "B"}], at=T0 + 1000)) == {}
    assert "duplicates" in signals(log.post("", embeds=[{"title": "a"}], at=T0 + 2000))


def test_only_the_members_own_last_twenty_messages_count() -> None:
    log = log_of(rapid_fire_count=25, duplicate_count=1000)
    for number in range(30):
        applied = log.post(f"text {number}", at=T0 + number * 10)
    assert signals(applied) == {}
    assert log.rows("SELECT count(*) FROM spam_tracker") == [(20,)]
    assert signals(log.post("text 1", author=snowflake(T0 - 900 * DAY_MS), at=T0 + 500)) == {}


def test_what_was_posted_later_does_not_count() -> None:
    log = log_of()
    log.post("same", at=T0 + 5000)
    assert signals(log.post("same", at=T0)) == {}


def test_a_honeypot_is_all_that_matters() -> None:
    log = log_of(honeypot_channels=["66"])
    assert signals(log.post("free nitro @everyone", channel="66")) == {"honeypot_channel": 100}


def test_weights_and_limits_are_settings() -> None:
    log = Log(
        {
            "spam": {
                "thresholds": {"low": 2, "medium": 30, "high": 40, "honeypot": 50},
                "weights": {"mass_ping": 7, "spam_keyword": 0},
                "mention_limit": 1,
                "keywords": {"scam": ["bargain"]},
            }
        }
    )
    applied = log.post("bargain @here <@1> <@2>")
    assert signals(applied) == {"mass_ping": 7, "high_mention_density": 2}


@pytest.mark.parametrize(
    ("score", "expected"),
    [
        (5, None),
        (6, "low"),
        (9, "low"),
        (10, "medium"),
        (14, "medium"),
        (15, "high"),
        (99, "high"),
        (100, "honeypot"),
    ],
)
def test_tiers_begin_at_their_lowest_score(score: int, expected: str | None) -> None:
    log = Log({"spam": {"weights": {"mass_ping": score}}})
    assert tier(log.post("@here")) == expected


def test_the_evidence_of_a_verdict_stays_with_its_case() -> None:
    log = log_of()
    log.post("free gift @here", joined=iso(T0 - HOUR_MS))
    ((evidence,),) = log.rows("SELECT evidence FROM cases")
    assert evidence == (
        b'{"keywords":["gift","free"],"mass_pings":["@here"],'
        b'"account_age_ms":34560000000,"tenure_ms":3600000,"copies":1,"copy_channels":1,'
        b'"channels_fast":1,"channels_slow":1,"messages_rapid":1,"settings_version":1}'
    )
    assert b"free gift @here" not in evidence


def test_the_helpers_message_is_an_old_members_from_long_ago() -> None:
    data = message()
    assert data["author"]["id"] == MEMBER
    assert data["member"]["joined_at"] == JOINED_LONG_AGO
    assert data["guild_id"] == GUILD
