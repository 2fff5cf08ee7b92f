"""Deploys modbot's commands to Discord. Done by whoever holds shard 0; idempotent.

Compares first: Discord allows 200 command creations a day, and a rewrite resets nothing else.
"""

import logging
from typing import Any

from components.shard.discord_rest import DiscordRest
from contracts.interactions import COMMANDS

log = logging.getLogger(__name__)

COMPARED = ("type", "name", "description", "default_member_permissions", "contexts", "options")


async def deploy_commands(rest: DiscordRest) -> bool:
    """Replace the deployed commands if they differ; returns whether they did. Raises
    `DiscordUnavailable` and `CannotStart`."""
    wanted = [command.as_discord() for command in COMMANDS]
    deployed = await rest.commands()
    if _comparable(deployed) == _comparable(wanted):
        log.info("commands are deployed already")
        return False
    await rest.deploy(wanted)
    log.info("deployed %d commands", len(wanted))
    return True


def _comparable(commands: list[dict[str, Any]]) -> list[Any]:
    return sorted(
        (_plain({name: command.get(name) for name in COMPARED}) for command in commands),
        key=lambda command: str(command.get("name")),
    )


def _plain(value: Any) -> Any:
    """Without what Discord adds or leaves out as a default."""
    if isinstance(value, dict):
        return {key: _plain(item) for key, item in value.items() if item not in (None, False, [])}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    return value
