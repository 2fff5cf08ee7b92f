"""Members: joining, leaving, kicks, bans, timeouts, nicknames, roles of a member.

docs: resources/guild#modify-guild-member, resources/guild#create-guild-ban
"""

from typing import Any

from components.simulator import errors, permissions
from components.simulator.actions import audit, deletions
from components.simulator.clock import Snowflake, iso, parse_iso
from components.simulator.world import render
from components.simulator.world.entities import Ban, Guild, Member, User
from components.simulator.world.store import Event, World

TIMEOUT_MAX_MS = 28 * 24 * 3600 * 1000
DELETE_SECONDS_MAX = 604_800
BULK_BAN_MAX = 200


def join(world: World, guild: Guild, user: User, joined_ms: float | None = None) -> Member:
    """An account joins. A banned one is refused (40007); a member stays as it is."""
    if user.id in guild.bans:
        raise errors.DiscordError(403, 40007, "The user is banned from this guild")
    if user.id in guild.members:
        return guild.members[user.id]
    now = world.clock.now_ms()
    member = Member(user=user, joined_ms=now if joined_ms is None else joined_ms)
    guild.members[user.id] = member
    data = {"guild_id": str(guild.id), **render.member(member)}
    world.emit(Event(name="GUILD_MEMBER_ADD", guild=guild, data=data, subject=user.id))
    return member


def leave(world: World, guild: Guild, user_id: Snowflake) -> None:
    """A member is gone, for whatever reason."""
    member = world.member(guild, user_id)
    del guild.members[user_id]
    data = {"guild_id": str(guild.id), "user": render.user(member.user)}
    world.emit(Event(name="GUILD_MEMBER_REMOVE", guild=guild, data=data, subject=user_id))


def kick(
    world: World, guild: Guild, actor: Snowflake, user_id: Snowflake, reason: str | None
) -> None:
    """docs: resources/guild#remove-guild-member"""
    me = permissions.require_guild(guild, actor, permissions.KICK_MEMBERS)
    permissions.require_above(guild, me, world.member(guild, user_id))
    leave(world, guild, user_id)
    audit.log(world, guild, audit.Action.MEMBER_KICK, actor, user_id, reason)


def ban(
    world: World,
    guild: Guild,
    actor: Snowflake,
    user_id: Snowflake,
    reason: str | None,
    delete_seconds: int = 0,
) -> None:
    """Ban an account, member or not; banning a banned one changes nothing.

    docs: resources/guild#create-guild-ban
    """
    me = permissions.require_guild(guild, actor, permissions.BAN_MEMBERS)
    check_delete_seconds(delete_seconds)
    _ban(world, guild, me, user_id, reason, delete_seconds)


def _ban(
    world: World,
    guild: Guild,
    me: Member,
    user_id: Snowflake,
    reason: str | None,
    delete_seconds: int,
) -> None:
    user = world.user(user_id)
    target = guild.members.get(user_id)
    if target is not None:
        permissions.require_above(guild, me, target)
    if user_id in guild.bans:
        return
    guild.bans[user_id] = Ban(user_id=user_id, reason=reason)
    data = {"guild_id": str(guild.id), "user": render.user(user)}
    world.emit(Event(name="GUILD_BAN_ADD", guild=guild, data=data, subject=user_id))
    if target is not None:
        leave(world, guild, user_id)
    if delete_seconds:
        deletions.delete_recent(world, guild, user_id, delete_seconds)
    audit.log(world, guild, audit.Action.MEMBER_BAN_ADD, me.user.id, user_id, reason)


def bulk_ban(
    world: World,
    guild: Guild,
    actor: Snowflake,
    user_ids: list[Snowflake],
    reason: str | None,
    delete_seconds: int = 0,
) -> tuple[list[Snowflake], list[Snowflake]]:
    """Ban up to 200. Returns who is banned and who could not be; none at all is 500000.

    docs: resources/guild#bulk-guild-ban
    """
    me = permissions.require_guild(guild, actor, permissions.BAN_MEMBERS | permissions.MANAGE_GUILD)
    check_delete_seconds(delete_seconds)
    if not 1 <= len(user_ids) <= BULK_BAN_MAX:
        raise errors.invalid_form(
            {"user_ids": ("BASE_TYPE_BAD_LENGTH", "Must be between 1 and 200 in length.")}
        )
    banned: list[Snowflake] = []
    failed: list[Snowflake] = []
    for user_id in dict.fromkeys(user_ids):
        if user_id in guild.bans or user_id == actor:
            failed.append(user_id)
            continue
        try:
            _ban(world, guild, me, user_id, reason, delete_seconds)
        except errors.DiscordError:  # an unknown account or one above: reported, not raised
            failed.append(user_id)
        else:
            banned.append(user_id)
    if not banned:
        raise errors.bad_request(500000, "Failed to ban users")
    return banned, failed


def unban(
    world: World, guild: Guild, actor: Snowflake, user_id: Snowflake, reason: str | None
) -> None:
    """docs: resources/guild#remove-guild-ban"""
    permissions.require_guild(guild, actor, permissions.BAN_MEMBERS)
    if guild.bans.pop(user_id, None) is None:
        raise errors.unknown("ban")
    data = {"guild_id": str(guild.id), "user": render.user(world.user(user_id))}
    world.emit(Event(name="GUILD_BAN_REMOVE", guild=guild, data=data, subject=user_id))
    audit.log(world, guild, audit.Action.MEMBER_BAN_REMOVE, actor, user_id, reason)


def modify(
    world: World,
    guild: Guild,
    actor: Snowflake,
    user_id: Snowflake,
    changes: dict[str, Any],
    reason: str | None,
) -> Member:
    """Change nick, roles and timeout at once; nothing changes when one is refused."""
    me = permissions.require_guild(guild, actor, 0)
    target = world.member(guild, user_id)
    plan: list[dict[str, Any]] = []
    nick = target.nick
    until = target.timeout_until_ms
    roles = target.roles
    if "nick" in changes:
        nick = _planned_nick(guild, me, target, changes["nick"])
        if nick != target.nick:
            plan.append(audit.change("nick", target.nick, nick))
    if "communication_disabled_until" in changes:
        until = _planned_timeout(
            guild, me, target, changes["communication_disabled_until"], world.clock.now_ms()
        )
        if until != target.timeout_until_ms:
            old = None if target.timeout_until_ms is None else iso(target.timeout_until_ms)
            new = None if until is None else iso(until)
            plan.append(audit.change("communication_disabled_until", old, new))
    if changes.get("roles") is not None:
        roles = _planned_roles(guild, me, target, changes["roles"])
    role_changes = _role_changes(guild, target.roles, roles)
    target.nick, target.timeout_until_ms, target.roles = nick, until, roles
    if plan or role_changes:
        tell_update(world, guild, target)
    if plan:
        audit.log(world, guild, audit.Action.MEMBER_UPDATE, actor, user_id, reason, plan)
    if role_changes:
        audit.log(
            world, guild, audit.Action.MEMBER_ROLE_UPDATE, actor, user_id, reason, role_changes
        )
    return target


def set_role(
    world: World,
    guild: Guild,
    actor: Snowflake,
    user_id: Snowflake,
    role_id: Snowflake,
    present: bool,
    reason: str | None,
) -> None:
    """Give or take one role; doing it twice changes nothing.

    docs: resources/guild#add-guild-member-role
    """
    me = permissions.require_guild(guild, actor, permissions.MANAGE_ROLES)
    target = world.member(guild, user_id)
    role = guild.roles.get(role_id)
    if role is None or role_id == guild.id:
        raise errors.unknown("role")
    permissions.require_role_below(guild, me, role.position)
    if role.bot_id is not None:
        raise errors.missing_permissions()
    if (role_id in target.roles) == present:
        return
    before = list(target.roles)
    target.roles = [*before, role_id] if present else [r for r in before if r != role_id]
    tell_update(world, guild, target)
    changes = _role_changes(guild, before, target.roles)
    audit.log(world, guild, audit.Action.MEMBER_ROLE_UPDATE, actor, user_id, reason, changes)


def tell_update(world: World, guild: Guild, member: Member) -> None:
    """docs: events/gateway-events#guild-member-update"""
    data = {"guild_id": str(guild.id), **render.member(member)}
    world.emit(Event(name="GUILD_MEMBER_UPDATE", guild=guild, data=data, subject=member.user.id))


def check_delete_seconds(seconds: int) -> None:
    if not 0 <= seconds <= DELETE_SECONDS_MAX:
        raise errors.invalid_form(
            {
                "delete_message_seconds": (
                    "NUMBER_TYPE_MAX",
                    f"int value should be less than or equal to {DELETE_SECONDS_MAX}.",
                )
            }
        )


def _planned_nick(guild: Guild, me: Member, target: Member, nick: str | None) -> str | None:
    own = me.user.id == target.user.id
    bit = permissions.CHANGE_NICKNAME if own else permissions.MANAGE_NICKNAMES
    permissions.require_guild(guild, me.user.id, bit)
    if not own:
        permissions.require_above(guild, me, target)
    if nick is not None and len(nick) > 32:
        raise errors.invalid_form(
            {"nick": ("BASE_TYPE_MAX_LENGTH", "Must be 32 or fewer in length.")}
        )
    return nick or None


def _planned_timeout(
    guild: Guild, me: Member, target: Member, text: str | None, now_ms: float
) -> float | None:
    """docs: resources/guild#modify-guild-member (communication_disabled_until)"""
    permissions.require_guild(guild, me.user.id, permissions.MODERATE_MEMBERS)
    permissions.require_above(guild, me, target)
    if text is None:
        return None
    if permissions.guild_permissions(guild, target) & permissions.ADMINISTRATOR:
        raise errors.missing_permissions()
    field = "communication_disabled_until"
    try:
        until = parse_iso(text)
    except ValueError as error:
        raise errors.invalid_form(
            {field: ("DATE_TIME_TYPE_PARSE", f"Could not parse {text}. Should be ISO8601.")}
        ) from error
    if until > now_ms + TIMEOUT_MAX_MS:
        # The code of this field error is not documented; the refusal is.
        raise errors.invalid_form(
            {field: ("DATE_TIME_TYPE_MAX", "Must be at most 28 days in the future.")}
        )
    return until


def _planned_roles(guild: Guild, me: Member, target: Member, wanted: list[Any]) -> list[Snowflake]:
    permissions.require_guild(guild, me.user.id, permissions.MANAGE_ROLES)
    ids = [Snowflake(int(r)) for r in dict.fromkeys(wanted)]
    for role_id in ids:
        if role_id not in guild.roles or role_id == guild.id:
            raise errors.unknown("role")
    for role_id in set(ids) ^ set(target.roles):
        permissions.require_role_below(guild, me, guild.roles[role_id].position)
    return ids


def _role_changes(
    guild: Guild, before: list[Snowflake], after: list[Snowflake]
) -> list[dict[str, Any]]:
    """docs: resources/audit-log#audit-log-change-object-audit-log-change-exceptions"""
    out: list[dict[str, Any]] = []
    for key, ids in (
        ("$add", [r for r in after if r not in before]),
        ("$remove", [r for r in before if r not in after]),
    ):
        if ids:
            named = [{"id": str(r), "name": guild.roles[r].name} for r in ids]
            out.append({"key": key, "new_value": named})
    return out
