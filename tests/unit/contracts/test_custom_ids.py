"""Custom ids of components, and the guild that an interaction belongs to."""

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from contracts.ids import GuildId
from contracts.interactions import (
    MAX_CUSTOM_ID,
    CustomId,
    custom_id,
    guild_of_interaction,
    parse_custom_id,
    read_interaction,
)
from contracts.message import MalformedMessage

guilds = st.integers(min_value=1, max_value=2**63 - 1).map(lambda number: GuildId(str(number)))
names = st.text("abcdefghijklmnopqrstuvwxyz0123456789_.-", min_size=1, max_size=30)


@given(guilds, names, st.text(max_size=40))
def test_a_custom_id_reads_back_as_it_was_built(guild: GuildId, name: str, argument: str) -> None:
    text = custom_id(guild, name, argument)
    assert len(text) <= MAX_CUSTOM_ID
    assert parse_custom_id(text) == CustomId(guild=guild, name=name, argument=argument)


@given(st.text(max_size=120))
def test_any_text_is_either_ours_and_builds_again_or_nothing(text: str) -> None:
    read = parse_custom_id(text)
    assert read is None or custom_id(read.guild, read.name, read.argument) == text


@given(st.from_regex(r"\Amb1:[0-9a:*.> ]{0,30}:[a-z:]{0,10}\Z"))
def test_what_looks_like_ours_never_names_a_guild_that_is_no_id(text: str) -> None:
    read = parse_custom_id(text)
    assert read is None or custom_id(read.guild, read.name, read.argument) == text


@pytest.mark.parametrize(
    ("guild", "name", "argument"),
    [
        ("", "vote", ""),
        ("7.>", "vote", ""),
        ("7", "", ""),
        ("7", "Vote", ""),
        ("7", "a:b", ""),
        ("7", "vote", "x" * 100),
    ],
)
def test_what_discord_or_the_bus_would_refuse_is_not_built(
    guild: str, name: str, argument: str
) -> None:
    with pytest.raises(ValueError, match=r"not a|characters"):
        custom_id(GuildId(guild), name, argument)


@pytest.mark.parametrize(
    ("fields", "guild"),
    [
        ({"guild_id": "7"}, "7"),
        ({"guild_id": "7", "data": {"custom_id": "mb1:8:vote:"}}, "7"),
        ({"data": {"custom_id": "mb1:8:vote:yes"}}, "8"),
        ({"data": {"custom_id": "other:8:vote:yes"}}, None),
        ({"data": {"name": "case"}}, None),
        ({"guild_id": None}, None),
        ({"guild_id": "*", "data": {"custom_id": "mb1:8:vote:yes"}}, None),
        ({}, None),
    ],
)
def test_the_guild_of_an_interaction(fields: dict[str, object], guild: str | None) -> None:
    head = read_interaction(msgspec.json.encode({"id": "1", "type": 3, "version": 1, **fields}))
    assert guild_of_interaction(head) == guild


@pytest.mark.parametrize(
    "data", [b"", b"[]", b"{}", b'{"id":1,"type":3}', b'{"id":"1","type":"x"}']
)
def test_what_is_no_interaction_is_malformed(data: bytes) -> None:
    with pytest.raises(MalformedMessage):
        read_interaction(data)
