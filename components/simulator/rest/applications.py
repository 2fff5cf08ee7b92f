"""Who the bot is: gateway address, current user, application, registered commands."""

from typing import Any

from nacl.signing import SigningKey

from components.simulator import errors
from components.simulator.clock import Snowflake
from components.simulator.rest.call import Call, Reply, Route
from components.simulator.world import render
from components.simulator.world.entities import Application

COMMANDS_MAX = 130  # 100 slash, 15 user, 15 message: docs: interactions/application-commands


def verify_key(application: Application) -> str:
    """The hexadecimal public key with which the application's interactions are signed."""
    return SigningKey(application.signing_seed).verify_key.encode().hex()


def gateway(call: Call) -> Reply:
    return Reply(200, {"url": call.gateway.url})


def gateway_bot(call: Call) -> Reply:
    guilds = sum(1 for g in call.world.guilds.values() if call.app.id in g.applications)
    body = {
        "url": call.gateway.url,
        "shards": max(1, -(-guilds // 1000)),
        "session_start_limit": call.gateway.budget.limit(call.app.id),
    }
    return Reply(200, body)


def current_user(call: Call) -> Reply:
    body = render.user(call.app.bot)
    body |= {"mfa_enabled": False, "locale": "en-US", "verified": True, "email": None}
    return Reply(200, body)


def shown(application: Application, guilds: int, owner: dict[str, Any]) -> dict[str, Any]:
    """docs: resources/application#application-object"""
    flags = render.application_flags(application)
    return {
        "id": str(application.id),
        "name": application.name,
        "icon": None,
        "description": "",
        "type": None,
        "bot": render.user(application.bot),
        "bot_public": True,
        "bot_require_code_grant": False,
        "verify_key": verify_key(application),
        "flags": flags,
        "flags_new": str(flags),
        "redirect_uris": [],
        "interactions_endpoint_url": application.interactions_endpoint_url,
        "role_connections_verification_url": None,
        "owner": owner,
        "approximate_guild_count": guilds,
        "approximate_user_install_count": 0,
        "approximate_user_authorization_count": 0,
        "explicit_content_filter": 0,
        "team": None,
        "eligible_oauth2_scopes": ["bot", "applications.commands"],
    }


def current_application(call: Call) -> Reply:
    if call.path.get("application_id") not in (None, "@me", str(call.app.id)):
        raise errors.unknown("application")
    guilds = sum(1 for g in call.world.guilds.values() if call.app.id in g.applications)
    return Reply(200, shown(call.app, guilds, render.user(call.app.bot)))


def list_commands(call: Call) -> Reply:
    return Reply(200, call.app.commands.get(_scope(call), []))


def put_commands(call: Call) -> Reply:
    """Replace all. One that was there under the same name and type keeps its id."""
    scope = _scope(call)
    if not isinstance(call.body, list):
        raise errors.invalid_form({"": ("LIST_TYPE_CONVERT", "Only iterables may be used")})
    if len(call.body) > COMMANDS_MAX:
        raise errors.bad_request(30032, "Maximum number of application commands reached")
    before = {(c["name"], c["type"]): c["id"] for c in call.app.commands.get(scope, [])}
    commands: list[dict[str, Any]] = []
    for i, given in enumerate(call.body):
        if not given.get("name"):
            raise errors.required(f"{i}.name")
        kind = int(given.get("type") or 1)
        key = (given["name"], kind)
        command = {
            "default_member_permissions": None,
            "nsfw": False,
            "description": "",
            **{k: v for k, v in given.items() if v is not None},
            "id": before.get(key) or str(call.world.ids.next()),
            "application_id": str(call.app.id),
            "version": str(call.world.ids.next()),
            "type": kind,
        }
        if command["default_member_permissions"] is not None:
            command["default_member_permissions"] = str(command["default_member_permissions"])
        if scope is not None:
            command["guild_id"] = str(scope)
        commands.append(command)
    names = [(c["name"], c["type"]) for c in commands]
    if len(set(names)) != len(names):
        raise errors.invalid_form(
            {"": ("APPLICATION_COMMANDS_DUPLICATE_NAME", "Command names must be unique")}
        )
    call.app.commands[scope] = commands
    return Reply(200, commands)


def _scope(call: Call) -> Snowflake | None:
    if call.id("application_id") != call.app.id:
        raise errors.DiscordError(403, 20012, "You are not authorized to perform this action")
    if "guild_id" not in call.path:
        return None
    guild = call.world.guild(call.id("guild_id"))
    if call.app.id not in guild.applications:
        raise errors.missing_access()
    return guild.id


_APPLICATION = "/applications/{application_id}"
_GLOBAL = f"{_APPLICATION}/commands"
_GUILD = f"{_APPLICATION}/guilds/{{guild_id}}/commands"
_A = "resources/application#get-current-application"
_OAUTH = "topics/oauth2#get-current-bot-application-information"
_C = "interactions/application-commands"
_LIST, _PUT = f"{_C}#get-global-application-commands", f"{_C}#bulk-overwrite"
ROUTES = [
    Route("GET", "/gateway", gateway, "events/gateway#get-gateway", "gateway", authorized=False),
    Route("GET", "/gateway/bot", gateway_bot, "events/gateway#get-gateway-bot", "gateway"),
    Route("GET", "/users/@me", current_user, "resources/user#get-current-user", "me"),
    Route("GET", "/oauth2/applications/@me", current_application, _OAUTH, "application"),
    Route("GET", "/applications/@me", current_application, _A, "application"),
    Route("GET", _APPLICATION, current_application, _A, "application"),
    Route("GET", _GLOBAL, list_commands, _LIST, "commands"),
    Route("PUT", _GLOBAL, put_commands, _PUT, "commands.put"),
    Route("GET", _GUILD, list_commands, _LIST, "commands", "guild_id"),
    Route("PUT", _GUILD, put_commands, _PUT, "commands.put", "guild_id"),
]
