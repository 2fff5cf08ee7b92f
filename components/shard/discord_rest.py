"""The little that the shard asks of Discord over REST, with errors in the shard's words.

Raises `CannotStart` when the token is refused (starting again cannot help) and
`DiscordUnavailable` for everything that may pass.
"""

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from typing import Any, Final

import aiohttp
import discord
import msgspec
from discord.http import HTTPClient

from components.shard.errors import DiscordUnavailable, token_refused
from components.shard.guild_create import Identity
from contracts.ids import ChannelId, GuildId, UserId

PAGE: Final = 100
"""Most items of a page of messages or audit entries."""


class GatewayAdvice(msgspec.Struct, frozen=True, kw_only=True):
    """How many shards Discord recommends, and how many sessions may still be started
    (docs: events/gateway#session-start-limit-object)."""

    shards: int
    remaining: int
    reset_after_s: float
    max_concurrency: int


class DiscordRest:
    """discord.py's HTTP client, which keeps to the rate limits."""

    def __init__(self, http: HTTPClient, identity: Identity) -> None:
        self.http = http
        self.identity = identity

    async def gateway_advice(self) -> GatewayAdvice:
        """``GET /gateway/bot``."""
        with _translated():
            shards, _, limit = await self.http.get_bot_gateway()
        return GatewayAdvice(
            shards=max(1, shards),
            remaining=limit["remaining"],
            reset_after_s=limit["reset_after"] / 1000,
            max_concurrency=max(1, limit["max_concurrency"]),
        )

    async def commands(self) -> list[dict[str, Any]]:
        """The commands that are deployed."""
        with _translated():
            found: list[Any] = await self.http.get_global_commands(
                int(self.identity.application_id)
            )
        return found

    async def deploy(self, commands: list[dict[str, Any]]) -> None:
        """Replace the commands that are deployed."""
        with _translated():
            await self.http.bulk_upsert_global_commands(
                int(self.identity.application_id),
                commands,
            )

    async def audit_entries(self, guild: GuildId, after: int) -> list[dict[str, Any]]:
        """At most `PAGE` entries of the audit log after an id, the oldest of them."""
        with _translated():
            page: Any = await self.http.get_audit_logs(int(guild), limit=PAGE, after=after)
        return _objects(page["audit_log_entries"])

    async def channels(self, guild: GuildId) -> list[dict[str, Any]]:
        """The channels of a guild."""
        with _translated():
            found: Any = await self.http.get_all_guild_channels(int(guild))
        return _objects(found)

    async def active_threads(self, guild: GuildId) -> list[dict[str, Any]]:
        """The active threads of a guild."""
        with _translated():
            found: Any = await self.http.get_active_threads(int(guild))
        return _objects(found["threads"])

    async def messages(self, channel: ChannelId, after: int) -> list[dict[str, Any]]:
        """At most `PAGE` messages of a channel after an id, the oldest of them."""
        with _translated():
            page: Any = await self.http.logs_from(int(channel), PAGE, after=after)
        return _objects(page)

    async def member(self, guild: GuildId, user: UserId) -> dict[str, Any]:
        """A member of a guild."""
        with _translated():
            member: Any = await self.http.get_member(int(guild), int(user))
        return dict(member)


@asynccontextmanager
async def logged_in(token: str, trace: aiohttp.TraceConfig) -> AsyncIterator[DiscordRest]:
    """A client whose token Discord has accepted; ``trace`` sees each of its answers."""
    http = HTTPClient(asyncio.get_running_loop(), http_trace=trace, max_ratelimit_timeout=30)
    try:
        with _translated():
            user = await http.static_login(token)
            application = await http.application_info()
        identity = Identity(user_id=UserId(str(user["id"])), application_id=str(application["id"]))
        yield DiscordRest(http, identity)
    finally:
        await http.close()


@contextmanager
def _translated() -> Iterator[None]:
    try:
        yield
    except discord.LoginFailure as error:
        raise token_refused() from error
    except discord.GatewayNotFound as error:
        cause = error.__cause__
        if isinstance(cause, discord.HTTPException) and cause.status == 401:
            raise token_refused() from error
        raise DiscordUnavailable(str(cause or error)) from error
    except discord.HTTPException as error:
        if error.status == 401:
            raise token_refused() from error
        raise DiscordUnavailable(str(error), status=error.status) from error
    except (discord.DiscordException, aiohttp.ClientError, OSError, TimeoutError) as error:
        raise DiscordUnavailable(str(error) or type(error).__name__) from error


def _objects(page: Any) -> list[dict[str, Any]]:
    return [dict(item) for item in page]
