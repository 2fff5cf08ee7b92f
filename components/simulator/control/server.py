"""The control API's routes: JSON in, JSON out; what Discord would refuse is refused with its error.

Errors: 400 `{"error": ...}` for a body that does not fit; otherwise Discord's own status and body.
"""

import logging
from collections.abc import Awaitable, Callable
from typing import Any

import msgspec
from aiohttp import web

from components.simulator.clock import Snowflake
from components.simulator.control.actions import Actions
from components.simulator.control.state import guild_state, message_state
from components.simulator.errors import DiscordError
from components.simulator.record import Record

RECORD_PAGE_MAX = 10_000
WAIT_MAX_S = 20.0

log = logging.getLogger(__name__)

Serve = Callable[[web.Request], Awaitable[web.StreamResponse]]


class Control:
    def __init__(self, actions: Actions, record: Record) -> None:
        self._actions = actions
        self._record = record

    def register(self, router: web.UrlDispatcher) -> None:
        """Add every route."""
        actions = self._actions
        for path, kind, act in actions.posts():
            router.add_post(f"/control{path}", _post(kind, act))
        router.add_get("/control/health", self._health)
        router.add_get("/control/applications", self._applications)
        router.add_get("/control/sessions", self._sessions)
        router.add_get("/control/guilds", self._guilds)
        router.add_get("/control/guilds/{guild_id}", self._guild)
        router.add_get("/control/channels/{channel_id}/messages", self._messages)
        router.add_get("/control/interactions/{interaction_id}", self._interaction)
        router.add_get("/control/faults", self._faults)
        router.add_delete("/control/faults", self._clear_faults)
        router.add_delete("/control/faults/{fault_id}", self._remove_fault)
        router.add_get("/control/limits", self._limits)
        router.add_get("/control/record", self._page)
        router.add_get("/control/record/stream", self._stream)

    async def _health(self, request: web.Request) -> web.StreamResponse:
        return _json({"ok": True, "record_last": self._record.last, **self._actions.health()})

    async def _applications(self, request: web.Request) -> web.StreamResponse:
        return _json({"applications": self._actions.applications()})

    async def _sessions(self, request: web.Request) -> web.StreamResponse:
        return _json({"sessions": self._actions.sessions()})

    async def _guilds(self, request: web.Request) -> web.StreamResponse:
        return _json({"guilds": self._actions.guilds()})

    async def _guild(self, request: web.Request) -> web.StreamResponse:
        world = self._actions.world
        guild = world.guilds.get(Snowflake(_number(request, "guild_id")))
        if guild is None:
            return _json({"error": "no such guild"}, 404)
        return _json(guild_state(world, guild))

    async def _messages(self, request: web.Request) -> web.StreamResponse:
        world = self._actions.world
        channel = world.channels.get(Snowflake(_number(request, "channel_id")))
        if channel is None:
            return _json({"error": "no such channel"}, 404)
        return _json({"messages": [message_state(world, m) for m in channel.messages.values()]})

    async def _interaction(self, request: web.Request) -> web.StreamResponse:
        wait_s = float(request.query.get("wait", "0"))
        try:
            number = _number(request, "interaction_id")
            return _json(await self._actions.people.outcome(number, min(wait_s, WAIT_MAX_S)))
        except DiscordError as error:
            return _json(error.body(), error.status)

    async def _faults(self, request: web.Request) -> web.StreamResponse:
        return _json({"faults": self._actions.faults.active()})

    async def _clear_faults(self, request: web.Request) -> web.StreamResponse:
        self._actions.faults.clear()
        return _json({})

    async def _remove_fault(self, request: web.Request) -> web.StreamResponse:
        return _json({"removed": self._actions.faults.remove(_number(request, "fault_id"))})

    async def _limits(self, request: web.Request) -> web.StreamResponse:
        return _json(self._actions.limits_state())

    async def _page(self, request: web.Request) -> web.StreamResponse:
        since, kinds = _asked(request)
        limit = min(_query(request, "limit", 1000), RECORD_PAGE_MAX)
        found, reached = self._record.since(since, kinds, limit)
        page = {
            "entries": found,
            "next": reached,
            "first": self._record.first,
            "last": self._record.last,
        }
        return _json(page)

    async def _stream(self, request: web.Request) -> web.StreamResponse:
        since, kinds = _asked(request)
        response = web.StreamResponse(headers={"Content-Type": "application/x-ndjson"})
        await response.prepare(request)
        encode = msgspec.json.encode
        async for batch in self._record.follow(since, kinds):
            await response.write(b"".join(encode(entry) + b"\n" for entry in batch))
        return response


def _post(kind: type[Any] | None, act: Callable[..., Any]) -> Serve:
    """A route whose body is `kind` (None takes no body) and whose path values are passed on."""
    decoder = None if kind is None else msgspec.json.Decoder(kind, strict=False)

    async def serve(request: web.Request) -> web.StreamResponse:
        values = {name: int(text) for name, text in request.match_info.items()}
        try:
            if decoder is None:
                result = act(**values)
            else:
                result = act(decoder.decode(await request.read() or b"{}"), **values)
            if isinstance(result, Awaitable):
                result = await result
        except msgspec.MsgspecError as error:
            return _json({"error": str(error)}, 400)
        except DiscordError as error:
            return _json(error.body(), error.status)
        except (KeyError, ValueError) as error:
            # A name or a time in the body that fits the type and nothing in the world.
            log.info("control %s: %r", request.path, error)
            return _json({"error": f"{type(error).__name__}: {error}"}, 400)
        return _json(result)

    return serve


def _asked(request: web.Request) -> tuple[int, frozenset[str] | None]:
    kinds = request.query.get("kind")
    return _query(request, "since", 0), None if not kinds else frozenset(kinds.split(","))


def _query(request: web.Request, name: str, default: int) -> int:
    try:
        return int(request.query.get(name, default))
    except ValueError as error:
        raise web.HTTPBadRequest(text=f"{name} is not a number") from error


def _number(request: web.Request, name: str) -> int:
    try:
        return int(request.match_info[name])
    except ValueError as error:
        raise web.HTTPBadRequest(text=f"{name} is not a number") from error


def _json(body: Any, status: int = 200) -> web.Response:
    return web.Response(
        status=status, body=msgspec.json.encode(body), content_type="application/json"
    )
