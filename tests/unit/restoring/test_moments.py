"""Moments as they are typed and shown."""

import pytest

from components.restoring.moments import parse, shown

NOW = 1_800_000_000_123


@pytest.mark.parametrize(
    ("text", "ms"),
    [
        ("10m", NOW - 600_000),
        ("2h30m", NOW - 9_000_000),
        ("1d", NOW - 86_400_000),
        ("0s", NOW),
        ("2027-01-15T08:00:00Z", 1_800_000_000_000),
        ("2027-01-15T08:00:00", 1_800_000_000_000),
        ("2027-01-15 09:00:00+01:00", 1_800_000_000_000),
        ("2027-01-15T08:00:00.123Z", NOW),
    ],
)
def test_a_moment_is_a_time_or_how_long_ago(text: str, ms: int) -> None:
    assert parse(text, NOW) == ms


@pytest.mark.parametrize("text", ["", "yesterday", "10", "m", "-5m", "5m2h"])
def test_anything_else_is_refused_in_words(text: str) -> None:
    with pytest.raises(ValueError, match="is no time"):
        parse(text, NOW)


def test_what_is_shown_can_be_typed_again() -> None:
    assert shown(NOW) == "2027-01-15T08:00:00.123Z"
    assert parse(shown(NOW), 0) == NOW
