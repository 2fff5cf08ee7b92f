"""Control of guilds: making them, and what happens in them besides messages.

`actor_id` is who does it (the owner, unless given), with the rules that hold for them.
"""

from collections.abc import Callable
from typing import Any

import msgspec

from components.simulator.actions import channels, guilds, members, roles
from components.simulator.clock import Snowflake, iso, parse_iso
from components.simulator.control import requests as rq
from components.simulator.control.state import guild_summary
from components.simulator.world import render
from components.simulator.world.entities import Guild, Role, User
from components.simulator.world.store import World


class GuildActions:
    def __init__(self, world: World) -> None:
        self.world = world

    def posts(self) -> list[tuple[str, type[Any] | None, Callable[..., Any]]]:
        """(path, body, action) of every POST under /guilds."""
        guild = "/guilds/{guild_id}"
        return [
            ("/guilds", rq.CreateGuilds, self.create_guilds),
            (f"{guild}/channels", rq.NewChannel, self.create_channel),
            (f"{guild}/roles", rq.NewRole, self.create_role),
            (f"{guild}/members", rq.NewMember, self.join),
            (f"{guild}/leave", rq.MemberAction, self.leave),
            (f"{guild}/kick", rq.MemberAction, self.kick),
            (f"{guild}/ban", rq.MemberAction, self.ban),
            (f"{guild}/unban", rq.MemberAction, self.unban),
            (f"{guild}/modify-member", rq.MemberAction, self.modify_member),
            (f"{guild}/outage", rq.Outage, self.outage),
            (f"{guild}/rename", rq.Rename, self.rename),
            (f"{guild}/applications/{{application_id}}", None, self.invite_bot),
            (f"{guild}/applications/{{application_id}}/remove", None, self.remove_bot),
        ]

    def create_guilds(self, asked: rq.CreateGuilds) -> dict[str, Any]:
        made: list[Guild] = []
        for _ in range(asked.count):
            plan = guilds.GuildPlan(
                name=asked.name.replace("{n}", str(len(self.world.guilds))),
                roles=[
                    msgspec.convert(msgspec.to_builtins(r), guilds.RolePlan) for r in asked.roles
                ],
                channels=[
                    msgspec.convert(msgspec.to_builtins(c), guilds.ChannelPlan)
                    for c in asked.channels
                ],
                members=[_member_plan(m) for m in asked.members],
                member_count=asked.member_count,
                everyone_permissions=asked.everyone_permissions,
                bot_permissions=asked.bot_permissions,
                applications=asked.applications,
            )
            made.append(guilds.create(self.world, plan))
        return {"guilds": [guild_summary(self.world, g) for g in made]}

    def create_channel(self, asked: rq.NewChannel, guild_id: int) -> dict[str, Any]:
        guild = self._guild(guild_id)
        by_name = {r.name: r.id for r in guild.roles.values()}
        fields = msgspec.to_builtins(asked)
        fields["permission_overwrites"] = [
            {"id": by_name[o.role], "type": 0, "allow": o.allow, "deny": o.deny}
            for o in asked.overwrites
        ]
        channel = channels.create(self.world, guild, guild.owner_id, fields, None)
        return render.channel(channel)

    def create_role(self, asked: rq.NewRole, guild_id: int) -> dict[str, Any]:
        guild = self._guild(guild_id)
        top = max(r.position for r in guild.roles.values() if r.bot_id is None)
        role = Role(
            id=self.world.ids.next(),
            name=asked.name,
            permissions=asked.permissions,
            position=top + 1 if asked.position is None else asked.position,
            mentionable=asked.mentionable,
        )
        if asked.position is None:  # below the bots' own, as a new role is
            for other in guild.roles.values():
                if other.bot_id is not None:
                    other.position = max(other.position, role.position + 1)
        roles.add(self.world, guild, role)
        return render.role(role)

    def join(self, asked: rq.NewMember, guild_id: int) -> dict[str, Any]:
        guild = self._guild(guild_id)
        user = self._account(asked)
        joined = None if asked.joined_at is None else parse_iso(asked.joined_at)
        member = members.join(self.world, guild, user, joined)
        by_name = {r.name: r.id for r in guild.roles.values()}
        for name in asked.roles:
            members.set_role(self.world, guild, guild.owner_id, user.id, by_name[name], True, None)
        return {"id": str(user.id), "username": user.username, "joined_at": iso(member.joined_ms)}

    def leave(self, asked: rq.MemberAction, guild_id: int) -> dict[str, Any]:
        members.leave(self.world, self._guild(guild_id), asked.user_id)
        return {"id": str(asked.user_id)}

    def kick(self, asked: rq.MemberAction, guild_id: int) -> dict[str, Any]:
        guild = self._guild(guild_id)
        members.kick(self.world, guild, _actor(guild, asked), asked.user_id, asked.reason)
        return {"id": str(asked.user_id)}

    def ban(self, asked: rq.MemberAction, guild_id: int) -> dict[str, Any]:
        guild = self._guild(guild_id)
        seconds = asked.delete_message_seconds
        actor = _actor(guild, asked)
        members.ban(self.world, guild, actor, asked.user_id, asked.reason, seconds)
        return {"id": str(asked.user_id)}

    def unban(self, asked: rq.MemberAction, guild_id: int) -> dict[str, Any]:
        guild = self._guild(guild_id)
        members.unban(self.world, guild, _actor(guild, asked), asked.user_id, asked.reason)
        return {"id": str(asked.user_id)}

    def modify_member(self, asked: rq.MemberAction, guild_id: int) -> dict[str, Any]:
        guild = self._guild(guild_id)
        changes: dict[str, Any] = {}
        if asked.roles is not None:
            changes["roles"] = asked.roles
        for key in ("nick", "communication_disabled_until"):
            if getattr(asked, key) is not msgspec.UNSET:
                changes[key] = getattr(asked, key)
        member = members.modify(
            self.world, guild, _actor(guild, asked), asked.user_id, changes, asked.reason
        )
        return render.member(member)

    def rename(self, asked: rq.Rename, guild_id: int) -> dict[str, Any]:
        guilds.rename(self.world, self._guild(guild_id), asked.name)
        return {"id": str(guild_id)}

    def outage(self, asked: rq.Outage, guild_id: int) -> dict[str, Any]:
        guilds.set_outage(self.world, self._guild(guild_id), asked.unavailable)
        return {"id": str(guild_id)}

    def invite_bot(self, guild_id: int, application_id: int) -> dict[str, Any]:
        guild = self._guild(guild_id)
        application = self.world.applications[Snowflake(application_id)]
        guilds.add_bot(self.world, guild, application, guilds.GuildPlan().bot_permissions)
        return guild_summary(self.world, guild)

    def remove_bot(self, guild_id: int, application_id: int) -> dict[str, Any]:
        guild = self._guild(guild_id)
        guilds.remove_bot(self.world, guild, self.world.applications[Snowflake(application_id)])
        return guild_summary(self.world, guild)

    def _guild(self, guild_id: int) -> Guild:
        return self.world.guild(Snowflake(guild_id))

    def _account(self, asked: rq.NewMember) -> User:
        if asked.id is not None and asked.id in self.world.users:
            return self.world.users[asked.id]
        created = None if asked.created_at is None else parse_iso(asked.created_at)
        return guilds.account(self.world, asked.username, created, asked.bot)


def _actor(guild: Guild, asked: rq.MemberAction) -> Snowflake:
    return guild.owner_id if asked.actor_id is None else asked.actor_id


def _member_plan(asked: rq.NewMember) -> guilds.MemberPlan:
    return guilds.MemberPlan(
        username=asked.username,
        id=asked.id,
        roles=asked.roles,
        created_ms=None if asked.created_at is None else parse_iso(asked.created_at),
        joined_ms=None if asked.joined_at is None else parse_iso(asked.joined_at),
        bot=asked.bot,
    )
