"""Roles of a guild.

docs: resources/guild#create-guild-role
"""

from typing import Any

from components.simulator import errors, permissions
from components.simulator.actions import audit
from components.simulator.clock import Snowflake
from components.simulator.world import render
from components.simulator.world.entities import Guild, Member, Role
from components.simulator.world.store import Event, World


def create(
    world: World, guild: Guild, actor: Snowflake, fields: dict[str, Any], reason: str | None
) -> Role:
    """A new role at the bottom, with no permission its creator lacks."""
    me = permissions.require_guild(guild, actor, permissions.MANAGE_ROLES)
    default = guild.roles[Snowflake(guild.id)].permissions
    bits = int(fields["permissions"]) if fields.get("permissions") is not None else default
    _require_has(guild, me, bits)
    role = Role(
        id=world.ids.next(),
        name=fields.get("name") or "new role",
        permissions=bits,
        color=int(fields.get("color") or 0),
        hoist=bool(fields.get("hoist")),
        mentionable=bool(fields.get("mentionable")),
    )
    for other in guild.roles.values():
        if other.id != guild.id:
            other.position += 1
    add(world, guild, role)
    changes = [audit.change("name", None, role.name)]
    audit.log(world, guild, audit.Action.ROLE_CREATE, actor, role.id, reason, changes)
    return role


def add(world: World, guild: Guild, role: Role) -> None:
    """Put a role into a guild as it is."""
    guild.roles[role.id] = role
    _tell(world, "GUILD_ROLE_CREATE", guild, role)


def modify(
    world: World,
    guild: Guild,
    actor: Snowflake,
    role_id: Snowflake,
    fields: dict[str, Any],
    reason: str | None,
) -> Role:
    me = permissions.require_guild(guild, actor, permissions.MANAGE_ROLES)
    role = find(guild, role_id)
    if role.id != guild.id:
        permissions.require_role_below(guild, me, role.position)
    before = render.role(role)
    if fields.get("permissions") is not None:
        bits = int(fields["permissions"])
        _require_has(guild, me, bits & ~role.permissions)
        role.permissions = bits
    if fields.get("name") is not None:
        role.name = fields["name"]
    if fields.get("color") is not None:
        role.color = int(fields["color"])
    for key in ("hoist", "mentionable"):
        if fields.get(key) is not None:
            setattr(role, key, bool(fields[key]))
    after = render.role(role)
    changes = [
        audit.change(key, before[key], after[key])
        for key in ("name", "permissions", "color", "hoist", "mentionable")
        if before[key] != after[key]
    ]
    if changes:
        _tell(world, "GUILD_ROLE_UPDATE", guild, role)
        audit.log(world, guild, audit.Action.ROLE_UPDATE, actor, role.id, reason, changes)
    return role


def move(
    world: World, guild: Guild, actor: Snowflake, positions: dict[Snowflake, int]
) -> list[Role]:
    """docs: resources/guild#modify-guild-role-positions"""
    me = permissions.require_guild(guild, actor, permissions.MANAGE_ROLES)
    for role_id, position in positions.items():
        permissions.require_role_below(guild, me, find(guild, role_id).position)
        permissions.require_role_below(guild, me, position)
    for role_id, position in positions.items():
        role = guild.roles[role_id]
        if role.position != position:
            role.position = position
            _tell(world, "GUILD_ROLE_UPDATE", guild, role)
    return list(guild.roles.values())


def delete(
    world: World, guild: Guild, actor: Snowflake, role_id: Snowflake, reason: str | None
) -> None:
    me = permissions.require_guild(guild, actor, permissions.MANAGE_ROLES)
    role = find(guild, role_id)
    permissions.require_role_below(guild, me, role.position)
    if role.id == guild.id or role.bot_id is not None:
        raise errors.bad_request(50028, "Invalid role")
    del guild.roles[role_id]
    for member in guild.members.values():
        if role_id in member.roles:
            member.roles = [r for r in member.roles if r != role_id]
    data = {"guild_id": str(guild.id), "role_id": str(role_id)}
    world.emit(Event(name="GUILD_ROLE_DELETE", guild=guild, data=data, subject=role_id))
    changes = [audit.change("name", role.name, None)]
    audit.log(world, guild, audit.Action.ROLE_DELETE, actor, role_id, reason, changes)


def find(guild: Guild, role_id: Snowflake) -> Role:
    role = guild.roles.get(role_id)
    if role is None:
        raise errors.unknown("role")
    return role


def _require_has(guild: Guild, me: Member, bits: int) -> None:
    """Nobody grants a permission that they lack. docs: topics/permissions#permission-hierarchy"""
    if bits & ~permissions.guild_permissions(guild, me):
        raise errors.missing_permissions()


def _tell(world: World, name: str, guild: Guild, role: Role) -> None:
    data = {"guild_id": str(guild.id), "role": render.role(role)}
    world.emit(Event(name=name, guild=guild, data=data, subject=role.id))
