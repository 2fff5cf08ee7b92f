"""The interaction object a bot receives, and the data of commands, components and modals.

Raises ValueError when the person's client could not have sent such a thing: an unregistered
command, an option it lacks, a component that is not there.
docs: interactions/receiving-and-responding#interaction-object
"""

from typing import Any

from components.simulator import permissions
from components.simulator.clock import Snowflake
from components.simulator.interactions.interaction import Interaction
from components.simulator.world import render
from components.simulator.world.entities import Application, Channel, Guild
from components.simulator.world.store import World

_SUBCOMMAND, _GROUP, _USER, _CHANNEL, _ROLE, _MENTIONABLE = 1, 2, 6, 7, 8, 9
ATTACHMENT_LIMIT = 10 * 1024 * 1024  # docs: reference#file-uploading


def payload(world: World, interaction: Interaction) -> dict[str, Any]:
    """The whole object, as dispatched or posted."""
    guild, channel = interaction.guild, interaction.channel
    application = interaction.application
    body: dict[str, Any] = {
        "id": str(interaction.id),
        "application_id": str(application.id),
        "type": int(interaction.kind),
        "data": interaction.data,
        "token": interaction.token,
        "version": 1,
        "locale": interaction.locale,
        "entitlements": [],
        "authorizing_integration_owners": {"0": str(guild.id) if guild else "0"},
        "attachment_size_limit": ATTACHMENT_LIMIT,
        "channel_id": str(channel.id),
        "channel": world.render_channel(channel, application.bot.id),
        "context": 0 if guild else 1,
    }
    if guild is None:
        body["user"] = render.user(interaction.user)
        body["app_permissions"] = str(permissions.ALL)
    else:
        member = guild.members[interaction.user.id]
        bits = permissions.channel_permissions(guild, channel, member)
        body["member"] = {**render.member(member), "permissions": str(bits)}
        body["guild_id"] = str(guild.id)
        body["guild"] = {"id": str(guild.id), "locale": "en-US", "features": []}
        body["guild_locale"] = "en-US"
        body["channel"]["permissions"] = str(bits)
        bot = guild.members.get(application.bot.id)
        own = 0 if bot is None else permissions.channel_permissions(guild, channel, bot)
        body["app_permissions"] = str(own)
    if interaction.source is not None:
        body["message"] = world.render_message(interaction.source, application.bot.id)
    return body


def find_command(
    application: Application, guild: Guild | None, name: str, kind: int
) -> dict[str, Any]:
    """The registered command; a guild's own comes before a global one."""
    scopes: list[Snowflake | None] = [None] if guild is None else [guild.id, None]
    for scope in scopes:
        for command in application.commands.get(scope, []):
            if command["name"] == name and command["type"] == kind:
                return command
    raise ValueError(f"no command {name!r} of type {kind} is registered")


def slash_data(
    world: World,
    guild: Guild | None,
    command: dict[str, Any],
    path: list[str],
    given: dict[str, Any],
) -> dict[str, Any]:
    """The data of a slash command: nested options, and what they refer to, resolved."""
    resolved: dict[str, Any] = {}
    level = command
    shell: list[dict[str, Any]] = []
    for name in path:
        level = _child(level, name)
        if level["type"] not in (_SUBCOMMAND, _GROUP):
            raise ValueError(f"{name!r} is no subcommand")
        shell.append({"name": name, "type": level["type"]})
    declared = {option["name"]: option for option in level.get("options", [])}
    if any(option["type"] in (_SUBCOMMAND, _GROUP) for option in declared.values()):
        raise ValueError(f"{command['name']} {' '.join(path)}: a subcommand is missing")
    if unknown := set(given) - set(declared):
        raise ValueError(f"no such options: {sorted(unknown)}")
    missing = [n for n, o in declared.items() if o.get("required") and n not in given]
    if missing:
        raise ValueError(f"required options are missing: {missing}")
    options: list[dict[str, Any]] = []
    for name, value in given.items():
        kind = declared[name]["type"]
        if kind in (_USER, _CHANNEL, _ROLE, _MENTIONABLE):
            value = str(value)
            _resolve(world, guild, kind, Snowflake(int(value)), resolved)
        options.append({"name": name, "type": kind, "value": value})
    for wrapper in reversed(shell):
        options = [{**wrapper, "options": options}]
    data = _command_data(command, 1)
    if options:
        data["options"] = options
    if resolved:
        data["resolved"] = resolved
    return data


def context_data(
    world: World,
    guild: Guild | None,
    channel: Channel,
    command: dict[str, Any],
    target: Snowflake,
    viewer: Snowflake,
) -> dict[str, Any]:
    """The data of a user or message command."""
    data = _command_data(command, command["type"])
    data["target_id"] = str(target)
    resolved: dict[str, Any] = {}
    if command["type"] == 2:
        _resolve(world, guild, _USER, target, resolved)
    else:
        message = world.message(channel, target)
        resolved["messages"] = {str(target): world.render_message(message, viewer)}
    data["resolved"] = resolved
    return data


def require_may_use(guild: Guild, user_id: Snowflake, command: dict[str, Any]) -> None:
    """ValueError when the command's default permissions hide it from this member.

    docs: interactions/application-commands#permissions
    """
    wanted = command.get("default_member_permissions")
    if wanted is None:
        return
    bits = permissions.guild_permissions(guild, guild.members[user_id])
    needed = int(wanted) or permissions.ADMINISTRATOR
    if bits & needed != needed:
        raise ValueError(f"this member may not use {command['name']!r}")


def _command_data(command: dict[str, Any], kind: int) -> dict[str, Any]:
    data = {"id": command["id"], "name": command["name"], "type": kind}
    if "guild_id" in command:
        data["guild_id"] = command["guild_id"]
    return data


def _child(level: dict[str, Any], name: str) -> dict[str, Any]:
    for option in level.get("options", []):
        if option["name"] == name:
            found: dict[str, Any] = option
            return found
    raise ValueError(f"{level['name']!r} has no {name!r}")


def _resolve(
    world: World, guild: Guild | None, kind: int, one: Snowflake, resolved: dict[str, Any]
) -> None:
    key = str(one)
    if kind in (_USER, _MENTIONABLE) and one in world.users:
        resolved.setdefault("users", {})[key] = render.user(world.user(one))
        member = None if guild is None else guild.members.get(one)
        if guild is not None and member is not None:
            shown = render.member_without_user(member)
            shown["permissions"] = str(permissions.guild_permissions(guild, member))
            del shown["deaf"], shown["mute"]
            resolved.setdefault("members", {})[key] = shown
    elif kind in (_ROLE, _MENTIONABLE) and guild is not None and one in guild.roles:
        resolved.setdefault("roles", {})[key] = render.role(guild.roles[one])
    elif kind == _CHANNEL and guild is not None and one in guild.channels:
        shown = render.channel(guild.channels[one])
        shown["permissions"] = str(permissions.ALL)
        resolved.setdefault("channels", {})[key] = shown
    else:
        raise ValueError(f"option refers to {one}, which is not there")
