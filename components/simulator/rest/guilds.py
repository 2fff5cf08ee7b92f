"""Guild routes: the guild, its channels, roles, members, bans and audit log."""

from typing import Any

from components.simulator import errors, permissions
from components.simulator.actions import channels, members, roles
from components.simulator.clock import Snowflake
from components.simulator.rest.call import Call, Reply, Route, snowflake
from components.simulator.world import render
from components.simulator.world.entities import Guild


def visible(call: Call) -> Guild:
    """The guild of the path, if the bot is in it. docs: 50001 otherwise, 10004 for none"""
    guild = call.world.guild(call.id("guild_id"))
    permissions.require_guild(guild, call.me, 0)
    return guild


def get(call: Call) -> Reply:
    guild = visible(call)
    body = render.guild(guild)
    if call.query.get("with_counts") in ("1", "true", "True"):
        body |= {"approximate_member_count": len(guild.members), "approximate_presence_count": 0}
    return Reply(200, body)


def list_channels(call: Call) -> Reply:
    guild = visible(call)
    return Reply(200, [render.channel(c) for c in guild.channels.values() if c.thread is None])


def create_channel(call: Call) -> Reply:
    channel = channels.create(call.world, visible(call), call.me, call.fields(), call.reason)
    return Reply(201, render.channel(channel))


def list_roles(call: Call) -> Reply:
    return Reply(200, [render.role(r) for r in visible(call).roles.values()])


def create_role(call: Call) -> Reply:
    role = roles.create(call.world, visible(call), call.me, call.fields(), call.reason)
    return Reply(200, render.role(role))


def modify_role(call: Call) -> Reply:
    guild = visible(call)
    role = roles.modify(call.world, guild, call.me, call.id("role_id"), call.fields(), call.reason)
    return Reply(200, render.role(role))


def move_roles(call: Call) -> Reply:
    guild = visible(call)
    if not isinstance(call.body, list):
        raise errors.invalid_form({"": ("LIST_TYPE_CONVERT", "Only iterables may be used")})
    wanted = {
        snowflake(item["id"], "id"): int(item["position"])
        for item in call.body
        if item.get("position") is not None
    }
    return Reply(200, [render.role(r) for r in roles.move(call.world, guild, call.me, wanted)])


def delete_role(call: Call) -> Reply:
    roles.delete(call.world, visible(call), call.me, call.id("role_id"), call.reason)
    return Reply()


def get_member(call: Call) -> Reply:
    guild = visible(call)
    return Reply(200, render.member(call.world.member(guild, call.id("user_id"))))


def list_members(call: Call) -> Reply:
    """By id, upwards. Needs the members intent. docs: resources/guild#list-guild-members"""
    guild = visible(call)
    if not call.app.privileged_intents & 1 << 1:
        raise errors.missing_access()
    limit = call.list_limit(1, 1000)
    after = snowflake(call.query.get("after", 0), "after")
    ids = sorted(i for i in guild.members if i > after)[:limit]
    return Reply(200, [render.member(guild.members[i]) for i in ids])


def search_members(call: Call) -> Reply:
    """docs: resources/guild#search-guild-members"""
    guild = visible(call)
    query = call.query.get("query", "").lower()
    if not query:
        raise errors.required("query")
    limit = call.list_limit(1, 1000)
    found = [
        m
        for m in guild.members.values()
        if m.user.username.lower().startswith(query) or (m.nick or "").lower().startswith(query)
    ]
    return Reply(200, [render.member(m) for m in found[:limit]])


def modify_member(call: Call) -> Reply:
    guild = visible(call)
    user_id = call.me if call.path.get("user_id") in (None, "@me") else call.id("user_id")
    changed = members.modify(call.world, guild, call.me, user_id, call.fields(), call.reason)
    return Reply(200, render.member(changed))


def kick(call: Call) -> Reply:
    members.kick(call.world, visible(call), call.me, call.id("user_id"), call.reason)
    return Reply()


def _set_role(call: Call, present: bool) -> Reply:
    guild = visible(call)
    user_id, role_id = call.id("user_id"), call.id("role_id")
    members.set_role(call.world, guild, call.me, user_id, role_id, present, call.reason)
    return Reply()


def add_member_role(call: Call) -> Reply:
    return _set_role(call, True)


def remove_member_role(call: Call) -> Reply:
    return _set_role(call, False)


def _ban_shown(call: Call, guild: Guild, user_id: Snowflake) -> dict[str, Any]:
    user = render.user(call.world.user(user_id))
    return {"user": user, "reason": guild.bans[user_id].reason}


def _banning(call: Call) -> Guild:
    guild = visible(call)
    permissions.require_guild(guild, call.me, permissions.BAN_MEMBERS)
    return guild


def list_bans(call: Call) -> Reply:
    guild = _banning(call)
    limit = call.list_limit(1000, 1000)
    after = snowflake(call.query.get("after", 0), "after")
    ids = sorted(i for i in guild.bans if i > after)
    if "before" in call.query and "after" not in call.query:
        before = snowflake(call.query["before"], "before")
        ids = [i for i in ids if i < before][-limit:]
    return Reply(200, [_ban_shown(call, guild, i) for i in ids[:limit]])


def get_ban(call: Call) -> Reply:
    guild = _banning(call)
    user_id = call.id("user_id")
    if user_id not in guild.bans:
        raise errors.unknown("ban")
    return Reply(200, _ban_shown(call, guild, user_id))


def _delete_seconds(fields: dict[str, Any]) -> int:
    if fields.get("delete_message_seconds") is not None:
        return int(fields["delete_message_seconds"])
    return int(fields.get("delete_message_days") or 0) * 86_400  # deprecated, still taken


def ban(call: Call) -> Reply:
    guild = visible(call)
    seconds = _delete_seconds(call.fields())
    members.ban(call.world, guild, call.me, call.id("user_id"), call.reason, seconds)
    return Reply()


def unban(call: Call) -> Reply:
    members.unban(call.world, visible(call), call.me, call.id("user_id"), call.reason)
    return Reply()


def bulk_ban(call: Call) -> Reply:
    guild = visible(call)
    fields = call.fields()
    given = fields.get("user_ids")
    if not isinstance(given, list):
        raise errors.required("user_ids")
    ids = [snowflake(i, "user_ids") for i in given]
    banned, failed = members.bulk_ban(
        call.world, guild, call.me, ids, call.reason, _delete_seconds(fields)
    )
    body = {"banned_users": [str(i) for i in banned], "failed_users": [str(i) for i in failed]}
    return Reply(200, body)


def audit_log(call: Call) -> Reply:
    """Newest first, unless `after` is given: then upwards from it."""
    guild = visible(call)
    permissions.require_guild(guild, call.me, permissions.VIEW_AUDIT_LOG)
    limit = call.list_limit(50, 100)
    found = list(guild.audit_log)
    if "user_id" in call.query:
        user_id = snowflake(call.query["user_id"], "user_id")
        found = [e for e in found if e.user_id == user_id]
    if "action_type" in call.query:
        found = [e for e in found if e.action == int(call.query["action_type"])]
    if "target_id" in call.query:
        target = snowflake(call.query["target_id"], "target_id")
        found = [e for e in found if e.target_id == target]
    if "after" in call.query:
        after = snowflake(call.query["after"], "after")
        found = [e for e in found if e.id > after]
    else:
        found.reverse()
        if "before" in call.query:
            before = snowflake(call.query["before"], "before")
            found = [e for e in found if e.id < before]
    found = found[:limit]
    people = dict.fromkeys(i for e in found for i in (e.user_id, e.target_id) if i is not None)
    body: dict[str, Any] = {
        "audit_log_entries": [render.audit_entry(e) for e in found],
        "users": [render.user(call.world.users[i]) for i in people if i in call.world.users],
        "integrations": [],
        "webhooks": [],
        "guild_scheduled_events": [],
        "threads": [],
        "application_commands": [],
        "auto_moderation_rules": [],
    }
    return Reply(200, body)


_GUILD = "/guilds/{guild_id}"
_CHANNELS = f"{_GUILD}/channels"
_ROLES = f"{_GUILD}/roles"
_ROLE = f"{_ROLES}/{{role_id}}"
_MEMBERS = f"{_GUILD}/members"
_SEARCH = f"{_MEMBERS}/search"
_ME = f"{_MEMBERS}/@me"
_MEMBER = f"{_MEMBERS}/{{user_id}}"
_MEMBER_ROLE = f"{_MEMBER}/roles/{{role_id}}"
_BANS = f"{_GUILD}/bans"
_BAN = f"{_BANS}/{{user_id}}"
_D = "resources/guild"
_G = "guild_id"
_LOGS = "resources/audit-log#get-guild-audit-log"
ROUTES = [
    Route("GET", _GUILD, get, f"{_D}#get-guild", "guild", _G),
    Route("GET", _CHANNELS, list_channels, f"{_D}#get-guild-channels", "guild.channels", _G),
    Route("POST", _CHANNELS, create_channel, f"{_D}#create-guild-channel", "channels.create", _G),
    Route("GET", _ROLES, list_roles, f"{_D}#get-guild-roles", "roles.list", _G),
    Route("POST", _ROLES, create_role, f"{_D}#create-guild-role", "roles.create", _G),
    Route("PATCH", _ROLES, move_roles, f"{_D}#modify-guild-role-positions", "roles.move", _G),
    Route("PATCH", _ROLE, modify_role, f"{_D}#modify-guild-role", "roles.change", _G),
    Route("DELETE", _ROLE, delete_role, f"{_D}#delete-guild-role", "roles.change", _G),
    Route("GET", _MEMBERS, list_members, f"{_D}#list-guild-members", "members.list", _G),
    Route(
        "GET",
        f"{_MEMBERS}/search",
        search_members,
        f"{_D}#search-guild-members",
        "members.list",
        _G,
    ),
    Route(
        "PATCH", f"{_MEMBERS}/@me", modify_member, f"{_D}#modify-current-member", "me.modify", _G
    ),
    Route("GET", _MEMBER, get_member, f"{_D}#get-guild-member", "members.get", _G),
    Route("PATCH", _MEMBER, modify_member, f"{_D}#modify-guild-member", "members.modify", _G),
    Route("DELETE", _MEMBER, kick, f"{_D}#remove-guild-member", "members.kick", _G),
    Route("PUT", _MEMBER_ROLE, add_member_role, f"{_D}#add-guild-member-role", "members.role", _G),
    Route(
        "DELETE",
        _MEMBER_ROLE,
        remove_member_role,
        f"{_D}#remove-guild-member-role",
        "members.role",
        _G,
    ),
    Route("GET", _BANS, list_bans, f"{_D}#get-guild-bans", "bans.get", _G),
    Route("GET", _BAN, get_ban, f"{_D}#get-guild-ban", "bans.get", _G),
    Route("PUT", _BAN, ban, f"{_D}#create-guild-ban", "bans.change", _G),
    Route("DELETE", _BAN, unban, f"{_D}#remove-guild-ban", "bans.change", _G),
    Route("POST", f"{_GUILD}/bulk-ban", bulk_ban, f"{_D}#bulk-guild-ban", "bans.bulk", _G),
    Route("GET", f"{_GUILD}/audit-logs", audit_log, _LOGS, "audit_log", _G),
]
