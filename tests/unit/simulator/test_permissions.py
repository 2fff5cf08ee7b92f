"""Permission bits and hierarchy, by Discord's documented algorithm."""

from contextlib import nullcontext

import pytest

from components.simulator import permissions as p
from components.simulator.clock import Snowflake
from components.simulator.errors import DiscordError
from components.simulator.world.entities import Channel, Guild, Member, Overwrite, Role, User

GUILD, OWNER, MOD, MEMBER = (Snowflake(i) for i in (1, 10, 11, 12))
STAFF, ADMIN = Snowflake(2), Snowflake(3)


def world() -> tuple[Guild, Channel]:
    guild = Guild(id=GUILD, name="g", owner_id=OWNER)
    everyone = p.VIEW_CHANNEL | p.SEND_MESSAGES | p.READ_MESSAGE_HISTORY
    guild.roles = {
        GUILD: Role(id=GUILD, name="@everyone", permissions=everyone, position=0),
        STAFF: Role(id=STAFF, name="staff", permissions=p.MANAGE_MESSAGES, position=2),
        ADMIN: Role(id=ADMIN, name="admin", permissions=p.ADMINISTRATOR, position=5),
    }
    for user_id, roles in ((OWNER, []), (MOD, [STAFF]), (MEMBER, [])):
        user = User(id=user_id, username=str(user_id))
        guild.members[user_id] = Member(user=user, joined_ms=0, roles=list(roles))
    channel = Channel(id=Snowflake(100), guild_id=GUILD, type=0, name="c")
    guild.channels[channel.id] = channel
    return guild, channel


def test_the_owner_and_administrators_may_everything() -> None:
    guild, channel = world()
    channel.overwrites = [Overwrite(id=GUILD, type=0, deny=p.ALL)]
    assert p.channel_permissions(guild, channel, guild.members[OWNER]) == p.ALL
    guild.members[MEMBER].roles = [ADMIN]
    assert p.channel_permissions(guild, channel, guild.members[MEMBER]) == p.ALL


@pytest.mark.parametrize(
    ("overwrites", "sends"),
    [
        ([], True),
        ([(GUILD, 0, 0, p.SEND_MESSAGES)], False),
        ([(GUILD, 0, 0, p.SEND_MESSAGES), (STAFF, 0, p.SEND_MESSAGES, 0)], True),
        ([(STAFF, 0, 0, p.SEND_MESSAGES), (GUILD, 0, p.SEND_MESSAGES, 0)], False),
        ([(STAFF, 0, 0, p.SEND_MESSAGES), (MOD, 1, p.SEND_MESSAGES, 0)], True),
        ([(MOD, 1, 0, p.SEND_MESSAGES), (STAFF, 0, p.SEND_MESSAGES, 0)], False),
        ([(MEMBER, 1, 0, p.SEND_MESSAGES)], True),  # another member's
    ],
)
def test_overwrites_apply_everyone_then_roles_then_member(
    overwrites: list[tuple[Snowflake, int, int, int]], sends: bool
) -> None:
    guild, channel = world()
    channel.overwrites = [
        Overwrite(id=i, type=kind, allow=allow, deny=deny) for i, kind, allow, deny in overwrites
    ]
    have = p.channel_permissions(guild, channel, guild.members[MOD])
    assert bool(have & p.SEND_MESSAGES) is sends


def test_a_thread_has_the_permissions_of_its_parent() -> None:
    guild, channel = world()
    channel.overwrites = [Overwrite(id=GUILD, type=0, deny=p.VIEW_CHANNEL)]
    thread = Channel(id=Snowflake(101), guild_id=GUILD, type=11, parent_id=channel.id)
    assert not p.channel_permissions(guild, thread, guild.members[MOD]) & p.VIEW_CHANNEL


def test_a_timed_out_member_may_only_read_until_it_ends() -> None:
    guild, channel = world()
    member = guild.members[MOD]
    member.timeout_until_ms = 1000.0
    only = p.VIEW_CHANNEL | p.READ_MESSAGE_HISTORY
    assert p.channel_permissions(guild, channel, member, now_ms=999.0) == only
    assert p.channel_permissions(guild, channel, member, now_ms=1000.0) & p.SEND_MESSAGES


@pytest.mark.parametrize(
    ("actor", "target", "allowed"),
    [
        (OWNER, MOD, True),
        (MOD, MEMBER, True),
        (MOD, OWNER, False),
        (MEMBER, MOD, False),
        (MOD, MOD, False),
        (MEMBER, MEMBER, False),
    ],
)
def test_one_acts_only_on_members_strictly_below(
    actor: Snowflake, target: Snowflake, allowed: bool
) -> None:
    guild, _ = world()
    expected = nullcontext() if allowed else pytest.raises(DiscordError, match="50013")
    with expected:
        p.require_above(guild, guild.members[actor], guild.members[target])


def test_a_stranger_is_50001_and_a_member_without_the_bit_50013() -> None:
    guild, channel = world()
    for actor, code in ((Snowflake(99), 50001), (MEMBER, 50013)):
        with pytest.raises(DiscordError) as refused:
            p.require_channel(guild, channel, actor, p.MANAGE_MESSAGES, 0)
        assert refused.value.code == code
