"""The one way into a simulator from outside its process: its control API, typed.

    async with SimulatorControl("http://127.0.0.1:8900") as simulator:
        guild = (await simulator.create_guilds(member_count=3))[0]

Every call has a deadline. What is refused raises ControlError with Discord's status and code.
"""

from collections.abc import AsyncIterator, Sequence
from types import TracebackType
from typing import Any, Self

import aiohttp
import msgspec

from components.simulator.faults import ActiveFault
from components.simulator.record import Entry


class ControlError(Exception):
    """The simulator refused a call; `status` and `code` are Discord's where Discord would."""

    def __init__(self, status: int, body: Any) -> None:
        super().__init__(f"{status} {body}")
        self.status = status
        self.body = body
        self.code = body.get("code") if isinstance(body, dict) else None


class RecordCutShort(Exception):
    """The simulator has dropped entries that were asked for: its record is bounded."""

    def __init__(self, since: int, first: int) -> None:
        super().__init__(
            f"the simulator's record no longer holds entries {since + 1} to {first - 1}: "
            "MODBOT_SIM_RECORD_LIMIT says how many it keeps"
        )


class Person(msgspec.Struct, frozen=True, kw_only=True):
    id: int
    username: str


class GuildInfo(msgspec.Struct, frozen=True, kw_only=True):
    """The ids of a guild. `members` are people other than the owner and bots."""

    id: int
    name: str
    owner_id: int
    channels: dict[str, int]
    roles: dict[str, int]
    members: list[Person]
    applications: list[int]


class Page(msgspec.Struct, frozen=True, kw_only=True):
    """A part of the record. `first` above what was asked for means that entries were dropped."""

    entries: list[Entry]
    next: int
    first: int
    last: int


_entry = msgspec.json.Decoder(Entry)
_page = msgspec.json.Decoder(Page)


class SimulatorControl:
    def __init__(self, url: str, timeout_s: float = 30.0) -> None:
        self._base = f"{url.rstrip('/')}/control"
        self._timeout = aiohttp.ClientTimeout(total=timeout_s)
        self._session: aiohttp.ClientSession | None = None

    async def __aenter__(self) -> Self:
        self._session = aiohttp.ClientSession(timeout=self._timeout)
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._session is not None:
            await self._session.close()

    async def health(self) -> dict[str, Any]:
        """`ok`, and counts of guilds, sessions and connections."""
        return await self._get("/health")

    async def applications(self) -> list[dict[str, Any]]:
        """Applications with token, public key and endpoint."""
        found: list[dict[str, Any]] = (await self._get("/applications"))["applications"]
        return found

    async def create_application(self, token: str, **fields: Any) -> dict[str, Any]:
        """Fields: name, id, privileged_intents, interactions_endpoint_url."""
        return await self._post("/applications", {"token": token, **fields})

    async def update_application(self, application_id: int, **fields: Any) -> dict[str, Any]:
        """Fields: token, privileged_intents, interactions_endpoint_url (checked by a probe)."""
        return await self._post(f"/applications/{application_id}", fields)

    async def sessions(self) -> list[dict[str, Any]]:
        """Gateway sessions with shard, sequence, and whether they have a socket."""
        found: list[dict[str, Any]] = (await self._get("/sessions"))["sessions"]
        return found

    async def create_guilds(self, **fields: Any) -> list[GuildInfo]:
        """Fields: those of `requests.CreateGuilds` (count, name, roles, channels, members ...)."""
        made = await self._post("/guilds", fields)
        return msgspec.convert(made["guilds"], list[GuildInfo], strict=False)

    async def guilds(self) -> list[GuildInfo]:
        """All guilds there are."""
        found = await self._get("/guilds")
        return msgspec.convert(found["guilds"], list[GuildInfo], strict=False)

    async def guild(self, guild_id: int) -> dict[str, Any]:
        """Everything in a guild: members, bans, audit log, channels and threads with messages."""
        return await self._get(f"/guilds/{guild_id}")

    async def messages(self, channel_id: int) -> list[dict[str, Any]]:
        """The messages that exist in a channel or thread, oldest first."""
        found = await self._get(f"/channels/{channel_id}/messages")
        listed: list[dict[str, Any]] = found["messages"]
        return listed

    async def create_channel(self, guild_id: int, name: str, **fields: Any) -> int:
        """Fields: those of `requests.NewChannel`. Returns the id."""
        return int(
            (await self._post(f"/guilds/{guild_id}/channels", {"name": name, **fields}))["id"]
        )

    async def create_role(self, guild_id: int, name: str, **fields: Any) -> int:
        """Fields: those of `requests.NewRole`. Returns the id."""
        return int((await self._post(f"/guilds/{guild_id}/roles", {"name": name, **fields}))["id"])

    async def join(self, guild_id: int, **fields: Any) -> int:
        """An account joins. Fields: those of `requests.NewMember`. Returns the account's id."""
        return int((await self._post(f"/guilds/{guild_id}/members", fields))["id"])

    async def leave(self, guild_id: int, user_id: int) -> None:
        await self._post(f"/guilds/{guild_id}/leave", {"user_id": user_id})

    async def member(self, guild_id: int, action: str, user_id: int, **fields: Any) -> None:
        """`action` is kick, ban, unban or modify-member. Fields: `requests.MemberAction`."""
        await self._post(f"/guilds/{guild_id}/{action}", {"user_id": user_id, **fields})

    async def rename_guild(self, guild_id: int, name: str) -> None:
        await self._post(f"/guilds/{guild_id}/rename", {"name": name})

    async def outage(self, guild_id: int, unavailable: bool) -> None:
        """Make a guild unavailable or available again."""
        await self._post(f"/guilds/{guild_id}/outage", {"unavailable": unavailable})

    async def invite_bot(self, guild_id: int, application_id: int) -> None:
        await self._post(f"/guilds/{guild_id}/applications/{application_id}", {})

    async def remove_bot(self, guild_id: int, application_id: int) -> None:
        await self._post(f"/guilds/{guild_id}/applications/{application_id}/remove", {})

    async def post(self, channel_id: int, author_id: int, content: str = "", **fields: Any) -> int:
        """Post as a member. Fields: those of `requests.PostMessage`. Returns the message's id."""
        body = {"channel_id": channel_id, "author_id": author_id, "content": content, **fields}
        return int((await self._post("/messages", body))["id"])

    async def post_many(self, messages: Sequence[dict[str, Any]]) -> list[int]:
        """Post many at once, in order. Returns their ids."""
        made = await self._post("/messages/bulk", {"messages": list(messages)})
        return [int(one["id"]) for one in made["messages"]]

    async def edit(
        self, channel_id: int, message_id: int, actor_id: int, content: str, **fields: Any
    ) -> None:
        body = _ref(channel_id, message_id, actor_id) | {"content": content, **fields}
        await self._post("/messages/edit", body)

    async def delete(self, channel_id: int, message_id: int, actor_id: int) -> None:
        await self._post("/messages/delete", _ref(channel_id, message_id, actor_id))

    async def react(self, channel_id: int, message_id: int, actor_id: int, emoji: str) -> None:
        body = _ref(channel_id, message_id, actor_id) | {"emoji": emoji}
        await self._post("/reactions", body)

    async def unreact(self, channel_id: int, message_id: int, actor_id: int, emoji: str) -> None:
        body = _ref(channel_id, message_id, actor_id) | {"emoji": emoji}
        await self._post("/reactions/remove", body)

    async def command(
        self,
        channel_id: int,
        user_id: int,
        name: str,
        options: dict[str, Any] | None = None,
        **fields: Any,
    ) -> int:
        """Run a command. Fields: those of `requests.RunCommand`. Returns the interaction's id."""
        body = {"channel_id": channel_id, "user_id": user_id, "name": name, **fields}
        body["options"] = options or {}
        return int((await self._post("/interactions/command", body))["id"])

    async def press(
        self, channel_id: int, message_id: int, user_id: int, custom_id: str, **fields: Any
    ) -> int:
        """Press a button or choose `values`. Returns the interaction's id."""
        body = {"channel_id": channel_id, "message_id": message_id, "user_id": user_id, **fields}
        body["custom_id"] = custom_id
        return int((await self._post("/interactions/component", body))["id"])

    async def submit(self, interaction_id: int, values: dict[str, str]) -> int:
        """Submit the modal that answered an interaction. Returns the new interaction's id."""
        body = {"interaction_id": interaction_id, "values": values}
        return int((await self._post("/interactions/modal", body))["id"])

    async def interaction(self, interaction_id: int, wait_s: float = 0.0) -> dict[str, Any]:
        """How an interaction stands, waiting up to `wait_s` for its first answer.

        `answer` is the callback type, `failure` why there is none, `messages` what it led to.
        """
        return await self._get(f"/interactions/{interaction_id}?wait={wait_s}")

    async def probe(self, application_id: int) -> bool:
        """Probe the interactions endpoint with good and bad signatures."""
        return bool((await self._post(f"/applications/{application_id}/probe", {}))["passed"])

    async def add_fault(self, **fields: Any) -> int:
        """A REST fault. Fields: those of `faults.RestFault`. Returns its id."""
        return int((await self._post("/faults", fields))["id"])

    async def faults(self) -> list[ActiveFault]:
        """The REST faults that last, with how many requests each has met."""
        return msgspec.convert((await self._get("/faults"))["faults"], list[ActiveFault])

    async def clear_faults(self) -> None:
        await self._call("DELETE", "/faults")

    async def gateway_fault(self, kind: str, **fields: Any) -> int:
        """Fields: those of `requests.GatewayFault`. Returns how many connections were hit."""
        return int((await self._post("/gateway-faults", {"kind": kind, **fields}))["connections"])

    async def limits(self) -> dict[str, Any]:
        """`enabled`, `buckets`, `invalid` requests by address, how often the global limit refused
        (`global_429`), `banned` addresses and for how many seconds."""
        return await self._get("/limits")

    async def set_limits(self, enabled: bool | None = None, **fields: Any) -> dict[str, Any]:
        """Fields: those of `requests.SetLimits`."""
        return await self._post("/limits", {"enabled": enabled, **fields})

    async def record(self, since: int = 0, kinds: Sequence[str] = (), limit: int = 1000) -> Page:
        """One page of the record, from the entry after `since`. Go on from `next`."""
        query = f"?since={since}&limit={limit}&kind={','.join(kinds)}"
        return _page.decode(await self._call("GET", f"/record{query}"))

    async def record_all(self, kinds: Sequence[str] = (), since: int = 0) -> list[Entry]:
        """Every entry of these kinds so far. Raises RecordCutShort rather than tell a part."""
        found: list[Entry] = []
        while True:
            page = await self.record(since, kinds, 10_000)
            if page.first > since + 1:
                raise RecordCutShort(since, page.first)
            found += page.entries
            since = page.next
            if page.next >= page.last:
                return found

    async def follow(self, kinds: Sequence[str] = (), since: int = 0) -> AsyncIterator[Entry]:
        """Entries as they come, without end; the caller bounds it (`asyncio.timeout`)."""
        assert self._session is not None
        url = f"{self._base}/record/stream?since={since}&kind={','.join(kinds)}"
        forever = aiohttp.ClientTimeout(total=None)
        async with self._session.get(url, timeout=forever) as response:
            rest = b""
            async for chunk in response.content.iter_any():
                *lines, rest = (rest + chunk).split(b"\n")
                for line in lines:
                    yield _entry.decode(line)

    async def _get(self, path: str) -> dict[str, Any]:
        found: dict[str, Any] = msgspec.json.decode(await self._call("GET", path))
        return found

    async def _post(self, path: str, body: dict[str, Any]) -> dict[str, Any]:
        answer: dict[str, Any] = msgspec.json.decode(await self._call("POST", path, body))
        return answer

    async def _call(self, method: str, path: str, body: dict[str, Any] | None = None) -> bytes:
        assert self._session is not None, "use `async with SimulatorControl(url)`"
        data = None if body is None else msgspec.json.encode(body)
        async with self._session.request(method, self._base + path, data=data) as response:
            raw = await response.read()
        if response.status >= 400:
            try:
                refused = msgspec.json.decode(raw)
            except msgspec.DecodeError:
                refused = raw.decode(errors="replace")
            raise ControlError(response.status, refused)
        return raw


def _ref(channel_id: int, message_id: int, actor_id: int) -> dict[str, Any]:
    return {"channel_id": channel_id, "message_id": message_id, "actor_id": actor_id}
