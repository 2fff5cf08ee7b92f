"""What dispatches say about the guilds that exist."""

import pytest

from components.shard.registry import change_of
from contracts.ids import GuildId

GUILD = GuildId("123456789012345678")


@pytest.mark.parametrize(
    ("event", "data", "present"),
    [
        ("GUILD_CREATE", b'{"name":"g"}', True),
        ("GUILD_UPDATE", b'{"name":"g"}', True),
        ("GUILD_DELETE", b"{}", False),
        ("GUILD_DELETE", b'{"unavailable":true}', None),
        ("GUILD_CREATE", b'{"unavailable":true}', None),
        ("GUILD_CREATE", b'{"name":7}', None),
        ("GUILD_ROLE_CREATE", b'{"name":"g"}', None),
    ],
)
def test_a_guild_is_present_until_it_removes_the_bot(
    event: str, data: bytes, present: bool | None
) -> None:
    change = change_of(GUILD, 3, event, data)
    assert (change.present if change else None) == present
    if change is not None:
        assert (change.guild, change.shard) == (GUILD, 3)
