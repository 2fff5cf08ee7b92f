"""Who may do what: permission bits, overwrites and role hierarchy, computed as Discord documents.

docs: topics/permissions
"""

from components.simulator import errors
from components.simulator.clock import Snowflake
from components.simulator.world.entities import THREAD_TYPES, Channel, Guild, Member

KICK_MEMBERS = 1 << 1
BAN_MEMBERS = 1 << 2
ADMINISTRATOR = 1 << 3
MANAGE_CHANNELS = 1 << 4
MANAGE_GUILD = 1 << 5
ADD_REACTIONS = 1 << 6
VIEW_AUDIT_LOG = 1 << 7
VIEW_CHANNEL = 1 << 10
SEND_MESSAGES = 1 << 11
MANAGE_MESSAGES = 1 << 13
EMBED_LINKS = 1 << 14
ATTACH_FILES = 1 << 15
READ_MESSAGE_HISTORY = 1 << 16
MENTION_EVERYONE = 1 << 17
CHANGE_NICKNAME = 1 << 26
MANAGE_NICKNAMES = 1 << 27
MANAGE_ROLES = 1 << 28
USE_APPLICATION_COMMANDS = 1 << 31
MANAGE_THREADS = 1 << 34
CREATE_PUBLIC_THREADS = 1 << 35
CREATE_PRIVATE_THREADS = 1 << 36
SEND_MESSAGES_IN_THREADS = 1 << 38
MODERATE_MEMBERS = 1 << 40
BYPASS_SLOWMODE = 1 << 52

ALL = (1 << 53) - 1
EVERYONE_DEFAULT = (
    VIEW_CHANNEL
    | SEND_MESSAGES
    | ADD_REACTIONS
    | EMBED_LINKS
    | ATTACH_FILES
    | READ_MESSAGE_HISTORY
    | CHANGE_NICKNAME
    | USE_APPLICATION_COMMANDS
    | CREATE_PUBLIC_THREADS
    | SEND_MESSAGES_IN_THREADS
)
# What a moderation bot is usually invited with: everything here but ADMINISTRATOR.
BOT_DEFAULT = (
    EVERYONE_DEFAULT
    | KICK_MEMBERS
    | BAN_MEMBERS
    | MANAGE_CHANNELS
    | MANAGE_GUILD
    | VIEW_AUDIT_LOG
    | MANAGE_MESSAGES
    | MENTION_EVERYONE
    | MANAGE_NICKNAMES
    | MANAGE_ROLES
    | MANAGE_THREADS
    | CREATE_PRIVATE_THREADS
    | MODERATE_MEMBERS
)


def guild_permissions(guild: Guild, member: Member) -> int:
    """docs: topics/permissions#permission-overwrites (compute_base_permissions)"""
    if guild.owner_id == member.user.id:
        return ALL
    bits = guild.roles[Snowflake(guild.id)].permissions
    for role_id in member.roles:
        bits |= guild.roles[role_id].permissions
    return ALL if bits & ADMINISTRATOR else bits


def channel_permissions(
    guild: Guild, channel: Channel, member: Member, now_ms: float | None = None
) -> int:
    """Base permissions with the channel's overwrites; a thread has those of its parent.

    With `now_ms`, a timed-out member keeps only VIEW_CHANNEL and READ_MESSAGE_HISTORY.
    docs: topics/permissions#permissions-for-timed-out-members
    """
    bits = guild_permissions(guild, member)
    if bits & ADMINISTRATOR:
        return ALL
    place = channel
    if channel.type in THREAD_TYPES and channel.parent_id is not None:
        place = guild.channels.get(channel.parent_id, channel)
    if place.overwrites:
        bits = _overwritten(guild, place, member, bits)
    until = member.timeout_until_ms
    if now_ms is not None and until is not None and until > now_ms:
        bits &= VIEW_CHANNEL | READ_MESSAGE_HISTORY
    return bits


def _overwritten(guild: Guild, channel: Channel, member: Member, bits: int) -> int:
    allow = deny = own_allow = own_deny = 0
    for overwrite in channel.overwrites:
        if overwrite.id == guild.id:
            bits = bits & ~overwrite.deny | overwrite.allow
        elif overwrite.type == 0 and overwrite.id in member.roles:
            allow |= overwrite.allow
            deny |= overwrite.deny
        elif overwrite.type == 1 and overwrite.id == member.user.id:
            own_allow, own_deny = overwrite.allow, overwrite.deny
    bits = bits & ~deny | allow
    return bits & ~own_deny | own_allow


def top_position(guild: Guild, member: Member) -> int:
    """The position of a member's highest role; @everyone counts as 0."""
    return max((guild.roles[role_id].position for role_id in member.roles), default=0)


def require_guild(guild: Guild, actor: Snowflake, bits: int) -> Member:
    """The actor as a member who has all `bits`, or 50001 (not there) or 50013."""
    member = guild.members.get(actor)
    if member is None:
        raise errors.missing_access()
    if guild_permissions(guild, member) & bits != bits:
        raise errors.missing_permissions()
    return member


def require_channel(
    guild: Guild, channel: Channel, actor: Snowflake, bits: int, now_ms: float
) -> Member:
    """The actor as a member who sees the channel and has all `bits` in it, or 50001 or 50013."""
    member = guild.members.get(actor)
    if member is None:
        raise errors.missing_access()
    have = channel_permissions(guild, channel, member, now_ms)
    if not have & VIEW_CHANNEL:
        raise errors.missing_access()
    if have & bits != bits:
        raise errors.missing_permissions()
    return member


def require_above(guild: Guild, actor: Member, target: Member) -> None:
    """50013 unless the actor ranks above the target; nobody ranks above the owner.

    docs: topics/permissions#permission-hierarchy
    """
    if actor.user.id == guild.owner_id:
        return
    below = top_position(guild, target) < top_position(guild, actor)
    if target.user.id == guild.owner_id or not below:
        raise errors.missing_permissions()


def require_role_below(guild: Guild, actor: Member, position: int) -> None:
    """50013 unless the role's position is below the actor's highest role."""
    if actor.user.id != guild.owner_id and position >= top_position(guild, actor):
        raise errors.missing_permissions()
