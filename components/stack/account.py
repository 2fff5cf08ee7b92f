"""Checks a Discord token before anything starts: the bot, its application, its intents, its budget.

Raises `AccountRefused`, whose words name the switch to turn or the thing to wait for. A gateway
that is told of a missing intent by a close code would have used up a session already.
"""

from http import HTTPStatus
from typing import Any, Final

import aiohttp

from components.stack.errors import AccountRefused
from components.stack.installation import Discord

DISCORD_API: Final = "https://discord.com/api/v10"
PORTAL: Final = "https://discord.com/developers/applications"
TIMEOUT_S: Final = 10.0

PRIVILEGED: Final = (
    ("SERVER MEMBERS INTENT", 1 << 14 | 1 << 15),
    ("MESSAGE CONTENT INTENT", 1 << 18 | 1 << 19),
)
"""Switches in the developer portal, and the flags of which an application then has one
(docs: resources/application#application-object-application-flags)."""


async def check(token: str, *, api_url: str = "", gateway_url: str = "") -> Discord:
    """The account, fit to be used."""
    if not token.isascii() or not token.isprintable() or " " in token:
        raise AccountRefused(
            "DISCORD_TOKEN holds a space, a line break or another character that no token has: "
            f"copy the bot's token again from the application's page at {PORTAL} (Bot, Reset Token)"
        )
    base = (api_url or DISCORD_API).rstrip("/")
    headers = {"Authorization": f"Bot {token}", "User-Agent": "DiscordBot (modbot, 0.1)"}
    limit = aiohttp.ClientTimeout(total=TIMEOUT_S)
    async with aiohttp.ClientSession(headers=headers, timeout=limit) as session:
        await _get(session, f"{base}/users/@me")
        application = await _get(session, f"{base}/applications/@me")
        _check_intents(application)
        _check_budget(await _get(session, f"{base}/gateway/bot"))
    return Discord(
        token=token,
        application_id=str(application["id"]),
        public_key=str(application["verify_key"]),
        api_url=api_url,
        gateway_url=gateway_url,
        simulated=False,
    )


async def _get(session: aiohttp.ClientSession, url: str) -> dict[str, Any]:
    try:
        async with session.get(url) as answer:
            if answer.status == HTTPStatus.UNAUTHORIZED:
                raise AccountRefused(
                    "Discord refused DISCORD_TOKEN: it is wrong or was reset. Copy the bot's token "
                    f"from the application's page at {PORTAL} (Bot, Reset Token)"
                )
            if answer.status != HTTPStatus.OK:
                raise AccountRefused(
                    f"Discord answered {answer.status} {answer.reason} to {url}: try again later; "
                    "https://discordstatus.com tells of outages"
                )
            body: dict[str, Any] = await answer.json()
            return body
    except (aiohttp.ClientConnectionError, TimeoutError) as error:
        why = str(error) or type(error).__name__
        raise AccountRefused(f"Discord cannot be reached at {url}: {why}") from error
    except (aiohttp.ClientError, ValueError) as error:
        raise AccountRefused(
            f"what answers at {url} is not Discord ({type(error).__name__}): a proxy or a "
            "network's sign-in page may stand in between, or MODBOT_DISCORD_API_URL is wrong"
        ) from error


def _check_intents(application: dict[str, Any]) -> None:
    flags = int(application.get("flags") or 0)
    missing = [switch for switch, either in PRIVILEGED if not flags & either]
    if missing:
        raise AccountRefused(
            f"the application may not use what modbot needs: turn on {' and '.join(missing)} at "
            f"{PORTAL}/{application['id']}/bot (Bot, Privileged Gateway Intents)"
        )


def _check_budget(gateway: dict[str, Any]) -> None:
    budget = gateway["session_start_limit"]
    if budget["remaining"] < gateway["shards"]:
        hours = budget["reset_after"] / 3_600_000
        raise AccountRefused(
            f"Discord allows {budget['remaining']} more sessions of {budget['total']} today and "
            f"modbot needs {gateway['shards']}: wait {hours:.1f} h (more would reset the token)"
        )
