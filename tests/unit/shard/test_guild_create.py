"""Trimming and splitting of GUILD_CREATE."""

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from components.shard.guild_create import LISTS, Identity, parts_of
from contracts.ids import UserId

IDENTITY = Identity(user_id=UserId("7"), application_id="8")

text = st.text(max_size=40)
items = st.fixed_dictionaries(
    {"id": st.integers(1, 2**63).map(str), "name": text, "topic": text},
    optional={"parent_id": st.none() | st.just("5"), "position": st.integers(0, 9)},
)
guilds = st.fixed_dictionaries(
    {"id": st.just("42"), "name": text, "owner_id": st.just("9"), "members": st.lists(items)},
    optional={name: st.lists(items, max_size=30) for name in LISTS},
)


@given(guilds, st.integers(200, 4000))
def test_the_parts_together_hold_every_item_once_in_order(
    guild: dict[str, list[dict[str, str]]], limit: int
) -> None:
    parts = [
        msgspec.json.decode(part) for part in parts_of(msgspec.json.encode(guild), IDENTITY, limit)
    ]
    for name, kept in LISTS.items():
        found = [item for part in parts for item in part.get(name, [])]
        wanted = [
            {key: value for key, value in item.items() if key in kept}
            for item in guild.get(name, [])
        ]
        assert found == wanted
    for part in parts:
        assert set(part) <= {"id", "name", "owner_id", "modbot", *LISTS}
        assert (part["id"], part["name"], part["owner_id"]) == ("42", guild["name"], "9")
        assert part["modbot"] == {"user_id": "7", "application_id": "8"}


@given(guilds, st.integers(1000, 4000))
def test_no_part_is_larger_than_the_limit(
    guild: dict[str, list[dict[str, str]]], limit: int
) -> None:
    for part in parts_of(msgspec.json.encode(guild), IDENTITY, limit):
        assert len(part) <= limit


@pytest.mark.parametrize("data", [b"[]", b"7", b'{"roles":7}', b'{"channels":["x"]}', b"{"])
def test_what_is_no_guild_is_refused(data: bytes) -> None:
    with pytest.raises(msgspec.MsgspecError):
        parts_of(data, IDENTITY, 1000)
