"""Settings from outside: every problem is named by its field."""

import json
from typing import Any

import pytest

from contracts.errors import ErrorCode, ServiceError
from contracts.message import encode
from contracts.settings import GuildSettings, parse_settings


def refusal(document: bytes) -> ServiceError:
    with pytest.raises(ServiceError) as caught:
        parse_settings(document)
    assert caught.value.code == ErrorCode.INVALID
    return caught.value


def nested(path: str, value: Any) -> bytes:
    document: Any = value
    for name in reversed(path.split(".")):
        document = {name: document}
    return json.dumps(document).encode()


def test_the_empty_document_is_the_defaults() -> None:
    assert parse_settings(b"{}") == GuildSettings()


def test_the_defaults_are_valid_and_read_back_the_same() -> None:
    assert parse_settings(encode(GuildSettings())) == GuildSettings()


@pytest.mark.parametrize(
    ("path", "value", "named"),
    [
        ("moderator_role", "mods", "moderator_role"),
        ("moderator_role", 42, "moderator_role"),
        ("restricted_role", "", "restricted_role"),
        ("mod_log_channel", "0", "mod_log_channel"),
        ("moderater_role", "42", "moderater_role"),
        ("spam.enabled", "yes", "spam.enabled"),
        ("spam.surprise", 1, "spam.surprise"),
        ("spam.thresholds", {"low": 0}, "spam.thresholds"),
        ("spam.thresholds", {"low": 10}, "spam.thresholds"),
        ("spam.thresholds", {"high": 100}, "spam.thresholds"),
        ("spam.thresholds.low", "six", "spam.thresholds.low"),
        ("spam.weights.zalgo", 1.5, "spam.weights.zalgo"),
        ("spam.keywords.scam", ["ok", " "], "spam.keywords.scam[1]"),
        ("spam.keywords.safe", ["x" * 101], "spam.keywords.safe[0]"),
        ("spam.keywords.nsfw", ["x"] * 501, "spam.keywords.nsfw"),
        ("spam.keywords.crypto", [7], "spam.keywords.crypto[0]"),
        ("spam.honeypot_channels", ["42", "nope"], "spam.honeypot_channels[1]"),
        ("spam.timeout_s", 59, "spam.timeout_s"),
        ("spam.timeout_s", 28 * 86400 + 1, "spam.timeout_s"),
        ("spam.zalgo_share", 0, "spam.zalgo_share"),
        ("spam.zalgo_share", 1.01, "spam.zalgo_share"),
        ("spam.tracker_retention_s", 86401, "spam.tracker_retention_s"),
        ("spam.kick_after_reports", 0, "spam.kick_after_reports"),
        ("spam.mention_limit", 1001, "spam.mention_limit"),
        ("spam.duplicate_count", 0, "spam.duplicate_count"),
        ("spam.rapid_fire_count", -1, "spam.rapid_fire_count"),
        ("spam.channel_hop_fast_count", 0, "spam.channel_hop_fast_count"),
        ("spam.channel_hop_slow_count", 0, "spam.channel_hop_slow_count"),
        ("spam.cross_channel_count", 0, "spam.cross_channel_count"),
        ("spam.duplicate_window_s", 1801, "spam.duplicate_window_s"),
        ("spam.rapid_fire_window_s", 0, "spam.rapid_fire_window_s"),
        ("spam.channel_hop_fast_window_s", 0, "spam.channel_hop_fast_window_s"),
        ("spam.channel_hop_slow_window_s", 99999, "spam.channel_hop_slow_window_s"),
        ("signals.share", 1, "signals.share"),
        ("signals.guild_count", 1, "signals.guild_count"),
        ("signals.guild_count", 101, "signals.guild_count"),
    ],
)
def test_a_wrong_value_is_refused_by_the_name_of_its_field(
    path: str, value: Any, named: str
) -> None:
    error = refusal(nested(path, value))
    assert [field.path for field in error.fields] == [named]
    assert error.fields[0].reason
    assert error.body().fields == error.fields


def test_a_retention_shorter_than_a_window_names_both() -> None:
    named = {field.path for field in refusal(nested("spam.tracker_retention_s", 299)).fields}
    assert {"spam.tracker_retention_s", "spam.duplicate_window_s"} <= named


@pytest.mark.parametrize("document", [b"", b"[]", b"null", b"{", b"\xff", b'{"spam":"\xff"}'])
def test_what_is_no_document_is_refused(document: bytes) -> None:
    assert refusal(document).fields[0].path


def test_several_problems_are_named_at_once() -> None:
    document = b'{"moderator_role":"x","spam":{"timeout_s":1,"mention_limit":0}}'
    error = refusal(document)
    assert {field.path for field in error.fields} == {
        "moderator_role",
        "spam.timeout_s",
        "spam.mention_limit",
    }
    assert all(field.path in error.description for field in error.fields)


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("spam.timeout_s", 60),
        ("spam.timeout_s", 28 * 86400),
        ("spam.zalgo_share", 1),
        ("spam.tracker_retention_s", 86400),
        ("spam.kick_after_reports", 1000),
        ("spam.duplicate_window_s", 1800),
        ("signals.guild_count", 2),
        ("spam.keywords.scam", []),
    ],
)
def test_the_edges_of_each_range_are_allowed(path: str, value: Any) -> None:
    parse_settings(nested(path, value))
