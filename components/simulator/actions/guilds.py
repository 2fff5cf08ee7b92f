"""Guilds coming into being, bots entering and leaving them, outages.

People do this in Discord's client, so there is no REST route: the control API calls it.
docs: resources/guild, events/gateway-events#guild-create
"""

import msgspec

from components.simulator import permissions
from components.simulator.actions import audit, members
from components.simulator.clock import Snowflake
from components.simulator.world import render
from components.simulator.world.entities import (
    Application,
    Channel,
    ChannelType,
    Guild,
    Member,
    Overwrite,
    Role,
    User,
)
from components.simulator.world.store import Event, World


class RolePlan(msgspec.Struct, frozen=True, kw_only=True):
    name: str
    permissions: int = 0
    position: int | None = None  # the next above the last one, unless given
    mentionable: bool = False


class OverwritePlan(msgspec.Struct, frozen=True, kw_only=True):
    role: str  # its name; "@everyone" is one
    allow: int = 0
    deny: int = 0


class ChannelPlan(msgspec.Struct, frozen=True, kw_only=True):
    name: str
    type: int = ChannelType.GUILD_TEXT
    topic: str | None = None
    rate_limit_per_user: int = 0
    overwrites: list[OverwritePlan] = []


class MemberPlan(msgspec.Struct, frozen=True, kw_only=True):
    username: str
    id: Snowflake | None = None  # an existing account, else one is made
    roles: list[str] = []
    created_ms: float | None = None  # of the account
    joined_ms: float | None = None
    bot: bool = False


class GuildPlan(msgspec.Struct, frozen=True, kw_only=True):
    name: str = "guild"
    roles: list[RolePlan] = []
    channels: list[ChannelPlan] = msgspec.field(
        default_factory=lambda: [ChannelPlan(name="general")]
    )
    members: list[MemberPlan] = []
    member_count: int = 0  # that many more, named member-0 ...
    everyone_permissions: int = permissions.EVERYONE_DEFAULT
    bot_permissions: int = permissions.BOT_DEFAULT
    applications: list[Snowflake] | None = None  # None is the first application


_YEAR_MS = 365 * 24 * 3600 * 1000.0


def create(world: World, plan: GuildPlan) -> Guild:
    """A guild as planned, with an owner who is nobody's member elsewhere, and the bots in it."""
    now = world.clock.now_ms()
    guild_id = world.ids.guild()
    owner = account(world, "owner", created_ms=now - 2 * _YEAR_MS)
    guild = Guild(id=guild_id, name=plan.name, owner_id=owner.id)
    guild.roles[guild_id] = Role(
        id=guild_id, name="@everyone", permissions=plan.everyone_permissions, position=0
    )
    guild.members[owner.id] = Member(user=owner, joined_ms=now - _YEAR_MS)
    by_name = {"@everyone": guild_id}
    for i, role_plan in enumerate(plan.roles, start=1):
        role = Role(
            id=world.ids.next(),
            name=role_plan.name,
            permissions=role_plan.permissions,
            position=i if role_plan.position is None else role_plan.position,
            mentionable=role_plan.mentionable,
        )
        guild.roles[role.id] = role
        by_name[role.name] = role.id
    for i, channel_plan in enumerate(plan.channels):
        channel = Channel(
            id=world.ids.next(),
            guild_id=guild_id,
            type=channel_plan.type,
            name=channel_plan.name,
            topic=channel_plan.topic,
            position=i,
            rate_limit_per_user=channel_plan.rate_limit_per_user,
            overwrites=[
                Overwrite(id=by_name[o.role], type=0, allow=o.allow, deny=o.deny)
                for o in channel_plan.overwrites
            ],
        )
        guild.channels[channel.id] = channel
        world.channels[channel.id] = channel
    more = [MemberPlan(username=f"member-{i}") for i in range(plan.member_count)]
    for member_plan in [*plan.members, *more]:
        user = _planned_user(world, member_plan)
        joined = member_plan.joined_ms
        guild.members[user.id] = Member(
            user=user,
            joined_ms=now - _YEAR_MS / 12 if joined is None else joined,
            roles=[by_name[name] for name in member_plan.roles],
        )
    world.guilds[guild_id] = guild
    chosen = plan.applications
    if chosen is None:
        chosen = list(world.applications)[:1]
    for application_id in chosen:
        add_bot(world, guild, world.applications[application_id], plan.bot_permissions)
    return guild


def account(
    world: World, username: str, created_ms: float | None = None, bot: bool = False
) -> User:
    """A Discord account; its id says when it was created (a year ago unless given)."""
    moment = world.clock.now_ms() - _YEAR_MS if created_ms is None else created_ms
    user = User(id=world.ids.at(moment), username=username, global_name=username, bot=bot)
    world.users[user.id] = user
    return user


def add_bot(world: World, guild: Guild, application: Application, bits: int) -> None:
    """A bot is invited: it joins with a managed role above all others, and hears GUILD_CREATE."""
    if application.id in guild.applications:
        return
    top = max(role.position for role in guild.roles.values())
    role = Role(
        id=world.ids.next(),
        name=application.name,
        permissions=bits,
        position=top + 1,
        bot_id=application.bot.id,
    )
    guild.roles[role.id] = role
    member = members.join(world, guild, application.bot)
    member.roles.append(role.id)
    guild.applications[application.id] = None
    world.emit(Event(name="GUILD_CREATE", guild=guild, data={}, subject=guild.id))


def remove_bot(world: World, guild: Guild, application: Application) -> None:
    """A bot is removed: it hears GUILD_DELETE without `unavailable`."""
    bot = application.bot.id
    for role in [r for r in guild.roles.values() if r.bot_id == bot]:
        del guild.roles[role.id]
    world.emit(
        Event(
            name="GUILD_DELETE",
            guild=guild,
            data={"id": str(guild.id)},
            recipients=frozenset({bot}),
            subject=guild.id,
        )
    )
    del guild.applications[application.id]
    members.leave(world, guild, bot)


def rename(world: World, guild: Guild, name: str) -> None:
    """The owner renames the guild. docs: events/gateway-events#guild-update"""
    changes = [audit.change("name", guild.name, name)]
    guild.name = name
    world.emit(Event(name="GUILD_UPDATE", guild=guild, data=render.guild(guild), subject=guild.id))
    owner = guild.owner_id
    audit.log(world, guild, audit.Action.GUILD_UPDATE, owner, guild.id, changes=changes)


def set_outage(world: World, guild: Guild, unavailable: bool) -> None:
    """Discord loses a guild and gets it back. docs: events/gateway-events#guild-delete"""
    guild.unavailable = unavailable
    if unavailable:
        data = {"id": str(guild.id), "unavailable": True}
        world.emit(Event(name="GUILD_DELETE", guild=guild, data=data, subject=guild.id))
    else:
        world.emit(Event(name="GUILD_CREATE", guild=guild, data={}, subject=guild.id))


def _planned_user(world: World, plan: MemberPlan) -> User:
    if plan.id is not None and plan.id in world.users:
        return world.users[plan.id]
    if plan.id is not None:
        user = User(id=plan.id, username=plan.username, global_name=plan.username, bot=plan.bot)
        world.users[user.id] = user
        return user
    return account(world, plan.username, plan.created_ms, plan.bot)
