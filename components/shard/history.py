"""What can be read of a gap afterwards: a guild's audit log and the messages of its channels.

Promise: everything found lies in the gap, oldest first over all channels (what a member does
across channels is judged in that order). Bounded per channel and guild; what lies beyond a bound
is counted in the log's words. Each read takes a slot of the installation's global rate
(`components.sharing`), and reads are spread over time.

Fails: what Discord refuses or does not answer is logged and left out; after too many refusals
(10,000 in 10 min ban the address) nothing more is read of this gap.
"""

import asyncio
import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from contextlib import asynccontextmanager
from typing import Any, Final, Literal, TypeAlias

import msgspec

from components.process.clock import steady_s
from components.shard.discord_rest import PAGE, DiscordRest
from components.shard.errors import DiscordUnavailable
from components.sharing.slots import RateShare
from contracts.ids import ChannelId, GuildId, SessionId, UserId, is_snowflake, snowflake_at

log = logging.getLogger(__name__)

REQUESTS_PER_S: Final = 10
"""Most that one replica reads, of the 50 that Discord grants to the whole installation. While
effects need them, too, it gets fewer: its share by demand (docs/decisions/0007-rest-shares.md)."""
AGAIN_S: Final = 0.2
MESSAGES_PER_CHANNEL: Final = 500
MESSAGES_PER_GUILD: Final = 1_000
ENTRIES_PER_GUILD: Final = 500
"""Half of what the engine knows by id, see `policies.cases` there."""
MEMBERS_PER_GUILD: Final = 200
REFUSALS: Final = 500
"""Of one gap and shard id, see above."""
REFUSED: Final = frozenset({401, 403, 429})

Kind: TypeAlias = Literal["msg", "audit"]
EVENT_OF: Final[dict[Kind, str]] = {
    "msg": "MESSAGE_CREATE",
    "audit": "GUILD_AUDIT_LOG_ENTRY_CREATE",
}


TEXT_CHANNELS: Final = frozenset({0, 2, 5, 10, 11, 12, 13})
"""Text, voice, announcement, threads, stage (docs: resources/channel#channel-object-channel-types).
A forum's last message is a thread, which is listed for itself."""


class Channel(msgspec.Struct, frozen=True):
    """A channel or thread of a guild, as Discord describes it."""

    id: str
    type: int = 0
    last_message_id: str | None = None


class ActiveChannel(msgspec.Struct, frozen=True, kw_only=True):
    """A channel or thread in which something was posted in the gap, and the last of it: what was
    posted later is dispatched."""

    id: ChannelId
    last_message: int


class Gap(msgspec.Struct, frozen=True, kw_only=True):
    """What a guild's log may lack: from ``since_ms`` to the session's snapshot of the guild."""

    guild: GuildId
    session: SessionId
    sequence: int
    """The snapshot's."""
    since_ms: int
    channels: list[ActiveChannel] | None
    """None: nobody has the snapshot any more, they are to be asked for."""


class Found(msgspec.Struct, frozen=True, kw_only=True):
    """A message or an audit entry, in the shape of its dispatch."""

    kind: Kind
    id: int
    data: dict[str, Any]


class Turns:
    """Spreads reads over time, for a whole replica; each takes a slot of the installation's rate.
    ``may_use``: whether the replica's part of it is certainly still its own."""

    def __init__(
        self, share: RateShare, may_use: Callable[[], bool], per_s: float = REQUESTS_PER_S
    ) -> None:
        self._share = share
        self._may_use = may_use
        self._every_s = 1 / per_s
        self._next_s = float("-inf")

    @asynccontextmanager
    async def turn(self) -> AsyncIterator[None]:
        """Wait for the next request's time and for a slot, which is taken until it is answered."""
        now_s = steady_s()
        at_s = max(now_s, self._next_s)
        self._next_s = at_s + self._every_s
        if at_s > now_s:
            await asyncio.sleep(at_s - now_s)
        await self._share.take(urgent=False)
        while not self._may_use():
            self._share.unused()
            await asyncio.sleep(AGAIN_S)  # the lease comes back, or the share is taken away
            await self._share.take(urgent=False)
        try:
            yield
        finally:
            self._share.answered()


class History:
    """Reads gaps of one shard id; ``may_read`` waits until the shard may act."""

    def __init__(
        self, rest: DiscordRest, turns: Turns, may_read: Callable[[], Awaitable[None]]
    ) -> None:
        self._rest = rest
        self._turns = turns
        self._may_read = may_read
        self._refusals = 0

    def begin(self) -> None:
        """A new gap: earlier refusals are forgotten."""
        self._refusals = 0

    def give_up(self) -> None:
        """Read nothing more of this gap."""
        self._refusals = REFUSALS

    async def read(self, gap: Gap) -> list[Found]:
        """Everything that can be read, oldest first."""
        entries = await self._entries(gap)
        messages: list[dict[str, Any]] = []
        channels = gap.channels if gap.channels is not None else await self._channels(gap)
        for channel in channels:
            room = MESSAGES_PER_GUILD - len(messages)
            if room <= 0:
                log.warning(
                    "guild %s: more than %d messages in the gap", gap.guild, MESSAGES_PER_GUILD
                )
                break
            messages += await self._messages(gap, channel, min(room, MESSAGES_PER_CHANNEL))
        messages.sort(key=_id)
        members = await self._members(gap.guild, messages)
        found = [
            Found(kind="audit", id=_id(entry), data={**entry, "guild_id": gap.guild})
            for entry in entries
        ]
        for message in messages:
            data = {**message, "guild_id": gap.guild}
            member = members.get(str(message["author"]["id"]))
            if member is not None:
                data["member"] = member
            found.append(Found(kind="msg", id=_id(message), data=data))
        return sorted(found, key=lambda item: item.id)

    async def _entries(self, gap: Gap) -> list[dict[str, Any]]:
        return await self._pages(
            f"guild {gap.guild}: audit log",
            lambda after: self._rest.audit_entries(gap.guild, after),
            after=int(snowflake_at(gap.since_ms)),
            last=None,
            limit=ENTRIES_PER_GUILD,
        )

    async def _channels(self, gap: Gap) -> list[ActiveChannel]:
        what = f"guild {gap.guild}: channels"
        found = await self._ask(what, self._rest.channels, gap.guild) or []
        found += await self._ask(what, self._rest.active_threads, gap.guild) or []
        return active(msgspec.convert(found, list[Channel], strict=False), gap.since_ms)

    async def _messages(self, gap: Gap, channel: ActiveChannel, limit: int) -> list[dict[str, Any]]:
        return await self._pages(
            f"guild {gap.guild}: channel {channel.id}",
            lambda after: self._rest.messages(channel.id, after),
            after=int(snowflake_at(gap.since_ms)),
            last=channel.last_message,
            limit=limit,
        )

    async def _pages(
        self,
        what: str,
        fetch: Callable[[int], Awaitable[list[dict[str, Any]]]],
        *,
        after: int,
        last: int | None,
        limit: int,
    ) -> list[dict[str, Any]]:
        """Items after one id and not past ``last``, oldest first, page by page."""
        found: list[dict[str, Any]] = []
        while True:
            page = sorted(await self._ask(what, fetch, after) or [], key=_id)
            found += [item for item in page if last is None or _id(item) <= last]
            if len(page) < PAGE or (last is not None and _id(page[-1]) >= last):
                return found[:limit]
            if len(found) >= limit:
                log.warning("%s: more than %d in the gap, the newest are not read", what, limit)
                return found[:limit]
            after = _id(page[-1])

    async def _members(
        self, guild: GuildId, messages: list[dict[str, Any]]
    ) -> dict[str, dict[str, Any]]:
        """Members by their id: what MESSAGE_CREATE carries and a message read later lacks."""
        authors = dict.fromkeys(
            str(message["author"]["id"])
            for message in messages
            if not message.get("webhook_id") and not message["author"].get("bot")
        )
        if len(authors) > MEMBERS_PER_GUILD:
            log.warning(
                "guild %s: only %d of %d authors in the gap are looked up",
                guild,
                MEMBERS_PER_GUILD,
                len(authors),
            )
        found = {}
        for author in list(authors)[:MEMBERS_PER_GUILD]:
            member = await self._ask(
                f"guild {guild}: member {author}",
                lambda user: self._rest.member(guild, UserId(user)),
                author,
            )
            if member is not None:
                found[author] = {key: value for key, value in member.items() if key != "user"}
        return found

    async def _ask(
        self, what: str, fetch: Callable[[Any], Awaitable[Any]], argument: Any
    ) -> Any | None:
        if self._refusals >= REFUSALS:
            return None
        await self._may_read()
        try:
            async with self._turns.turn():
                await self._may_read()  # the turn may have come much later
                return await fetch(argument)
        except DiscordUnavailable as error:
            self._refusals += error.status in REFUSED
            log.log(
                logging.INFO if error.status == 404 else logging.WARNING,
                "%s: not read after the gap: %s",
                what,
                error,
            )
            if self._refusals == REFUSALS:
                log.warning("%d refusals: nothing more is read of this gap", REFUSALS)
            return None


def active(channels: Iterable[Channel], since_ms: int) -> list[ActiveChannel]:
    """Those in which something was posted since."""
    since = int(snowflake_at(since_ms))
    return [
        ActiveChannel(id=ChannelId(channel.id), last_message=int(channel.last_message_id))
        for channel in channels
        if channel.type in TEXT_CHANNELS
        and is_snowflake(channel.id)
        and channel.last_message_id is not None
        and is_snowflake(channel.last_message_id)
        and int(channel.last_message_id) > since
    ]


def _id(item: dict[str, Any]) -> int:
    return int(item["id"])
