"""The path of every REST request: ban, token, faults, limits, body, specification, handler, record.

A handler runs without interruption, so that a request is atomic in the world.
docs: reference#http-api, topics/rate-limits
"""

import asyncio
import logging
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote

import msgspec
from aiohttp import web

from components.simulator import errors
from components.simulator.clock import created_ms
from components.simulator.errors import DiscordError
from components.simulator.faults import ActiveFault, Faults
from components.simulator.ratelimits import OLD_MESSAGE_S, RateLimits, Verdict
from components.simulator.rest.call import REASON_MAX, Call, Reply, Route
from components.simulator.rest.table import ROUTES
from components.simulator.spec import Specification
from components.simulator.world.entities import Application
from components.simulator.world.store import World

if TYPE_CHECKING:
    from components.simulator.gateway.server import Gateway
    from components.simulator.interactions.service import Interactions

BASE = "/api/v10"
# A 429 without Via is taken for a Cloudflare ban by discord.py (its http.py).
_VIA = {"Via": "1.1 google"}

log = logging.getLogger(__name__)


class Rest:
    def __init__(
        self,
        world: World,
        gateway: "Gateway",
        interactions: "Interactions",
        limits: RateLimits,
        faults: Faults,
        specification: Specification | None,
        base_url: str,
    ) -> None:
        self.limits = limits
        self.faults = faults
        self._world = world
        self._gateway = gateway
        self._interactions = interactions
        self._specification = specification
        self._base_url = base_url

    def register(self, router: web.UrlDispatcher) -> None:
        """Add every route, and an answer for the rest."""
        for route in ROUTES:
            router.add_route(route.method, BASE + route.path, self._handler(route))
        router.add_route("*", "/api/{rest:.*}", self._nothing)

    def _handler(self, route: Route) -> Any:
        async def handle(request: web.Request) -> web.StreamResponse:
            return await self._serve(request, route)

        return handle

    async def _nothing(self, request: web.Request) -> web.StreamResponse:
        body = {"message": "404: Not Found", "code": 0}
        entry = self._entry(request, None, None)
        return self._answer(request, entry, self._world.clock.now_ms(), Reply(404, body), {})

    async def _serve(self, request: web.Request, route: Route) -> web.StreamResponse:
        started = self._world.clock.now_ms()
        raw = await request.read()
        entry = self._entry(request, route, raw)
        if (left := self.limits.ban_left(request.remote or "")) is not None:
            return self._banned(entry, started, left)
        fault = self.faults.match(
            request.method,
            route.path,
            request.path.removeprefix(BASE),
            request.headers.get("X-Modbot-Pod"),
        )
        if fault is not None:
            entry["fault"] = fault.id
            if fault.fault.latency_ms:
                await asyncio.sleep(fault.fault.latency_ms / 1000)  # an injected fault
            if fault.fault.moment == "before":
                faulty = self._faulty(request, entry, started, fault, {})
                if faulty is not None:
                    return faulty
        headers: dict[str, str] = {}
        try:
            application = self._authorize(request) if route.authorized else None
            if self.limits.enabled:
                verdict = self._limit(request, route, application)
                headers = verdict.headers
                if verdict.retry_after_s is not None:
                    return self._limited(request, entry, started, verdict)
            reply = self._run(request, route, application, raw, entry)
        except DiscordError as error:
            reply = Reply(error.status, error.body())
        except Exception:  # a defect of the simulator must reach its user as Discord's own 500
            log.exception("%s %s failed", request.method, request.path)
            reply = Reply(500, {"message": "500: Internal Server Error", "code": 0})
        if fault is not None and fault.fault.moment == "after":
            entry["took_effect"] = reply.status < 300
            faulty = self._faulty(request, entry, started, fault, headers)
            if faulty is not None:
                return faulty
        return self._answer(request, entry, started, reply, headers)

    def _run(
        self,
        request: web.Request,
        route: Route,
        application: Application | None,
        raw: bytes,
        entry: dict[str, Any],
    ) -> Reply:
        body = self._body(request, raw)
        entry["body"] = body
        reason = request.headers.get("X-Audit-Log-Reason")
        reason = None if reason is None else unquote(reason)
        entry["reason"] = reason
        if reason is not None and len(reason) > REASON_MAX:
            raise errors.invalid_form(
                {"reason": ("BASE_TYPE_MAX_LENGTH", f"Must be {REASON_MAX} or fewer in length.")}
            )
        if self._specification is not None and body is not None:
            self._specification.check_request(route.method, route.path, body)
        reply = route.handler(
            Call(
                world=self._world,
                gateway=self._gateway,
                interactions=self._interactions,
                application=application,
                path=dict(request.match_info),
                query=dict(request.query),
                body=body,
                reason=reason,
                base_url=self._base_url,
            )
        )
        if self._specification is not None:
            self._specification.check_reply(route.method, route.path, reply.status, reply.body)
        return reply

    def _authorize(self, request: web.Request) -> Application:
        kind, _, token = request.headers.get("Authorization", "").partition(" ")
        application = self._world.by_token(token) if kind == "Bot" else None
        if application is None:
            raise errors.unauthorized()
        return application

    def _limit(
        self, request: web.Request, route: Route, application: Application | None
    ) -> Verdict:
        token = "" if application is None else application.token or ""
        major = request.match_info.get(route.major, "") if route.major else ""
        bucket = route.bucket
        if bucket == "messages.delete":
            message = request.match_info["message_id"]
            now = self._world.clock.now_ms()
            if message.isdigit() and now - created_ms(int(message)) > OLD_MESSAGE_S * 1000:
                bucket = "messages.delete.old"
        return self.limits.take(token, bucket, major, exempt=not route.authorized)

    def _body(self, request: web.Request, raw: bytes) -> Any:
        if not raw:
            return None
        if request.content_type == "multipart/form-data":
            return _multipart(request, raw)
        try:
            return msgspec.json.decode(raw)
        except msgspec.DecodeError as error:
            raise errors.bad_request(50109, "The request body contains invalid JSON.") from error

    def _faulty(
        self,
        request: web.Request,
        entry: dict[str, Any],
        started: float,
        active: ActiveFault,
        headers: dict[str, str],
    ) -> web.StreamResponse | None:
        fault = active.fault
        if fault.status is None and not fault.drop:
            return None
        data = {"id": active.id, "method": request.method, "path": request.path}
        self._world.record.add("fault", data)
        if fault.drop:
            entry["status"] = None
            self._note(entry, started)
            if request.transport is not None:
                request.transport.abort()
            return web.Response(status=500)
        if fault.status == 429:
            extra: dict[str, str] = {"X-RateLimit-Scope": fault.scope}
            if fault.scope == "global":
                extra["X-RateLimit-Global"] = "true"
            verdict = Verdict(
                headers={**headers, **extra},
                retry_after_s=fault.retry_after_s,
                scope=fault.scope,
            )
            return self._limited(request, entry, started, verdict)
        assert fault.status is not None
        body = {"message": f"{fault.status}: injected", "code": 0}
        return self._answer(request, entry, started, Reply(fault.status, body), headers)

    def _limited(
        self, request: web.Request, entry: dict[str, Any], started: float, verdict: Verdict
    ) -> web.StreamResponse:
        assert verdict.retry_after_s is not None
        body = {
            "message": "You are being rate limited.",
            "retry_after": round(verdict.retry_after_s, 3),
            "global": verdict.scope == "global",
        }
        headers = {**verdict.headers, "Retry-After": str(max(1, round(verdict.retry_after_s)))}
        entry["scope"] = verdict.scope
        return self._answer(request, entry, started, Reply(429, body), headers)

    def _banned(self, entry: dict[str, Any], started: float, left: float) -> web.StreamResponse:
        """What Cloudflare answers: HTML, and no Via. docs: topics/rate-limits"""
        entry["status"] = 429
        entry["scope"] = "cloudflare"
        self._note(entry, started)
        return web.Response(
            status=429,
            text="error code: 1015",
            content_type="text/html",
            headers={"Retry-After": str(int(left) + 1)},
        )

    def _answer(
        self,
        request: web.Request,
        entry: dict[str, Any],
        started: float,
        reply: Reply,
        headers: dict[str, str],
    ) -> web.StreamResponse:
        shared = entry.get("scope") == "shared"
        if reply.status in (401, 403) or (reply.status == 429 and not shared):
            address = request.remote or ""
            counted = entry["invalid_requests"] = self.limits.count_invalid(address)
            if self.limits.ban_left(address) is not None:
                self._world.record.add("ban", {"address": address, "invalid_requests": counted})
        entry["status"] = reply.status
        if isinstance(reply.body, dict):
            if reply.status >= 400:
                entry["code"] = reply.body.get("code")
            elif isinstance(reply.body.get("id"), str):
                entry["id"] = reply.body["id"]
        self._note(entry, started)
        if reply.body is None:
            return web.Response(status=reply.status, headers={**_VIA, **headers})
        response = web.Response(
            status=reply.status,
            body=msgspec.json.encode(reply.body),
            headers={**_VIA, **headers},
        )
        # Exactly this: discord.py compares the whole header before it parses.
        response.headers["Content-Type"] = "application/json"
        return response

    def _entry(
        self, request: web.Request, route: Route | None, raw: bytes | None
    ) -> dict[str, Any]:
        return {
            "method": request.method,
            "route": None if route is None else route.path,
            "path": request.path.removeprefix(BASE),
            "query": request.query_string,
            "caller": request.headers.get("User-Agent"),
            "pod": request.headers.get("X-Modbot-Pod"),
            "bytes": 0 if raw is None else len(raw),
        }

    def _note(self, entry: dict[str, Any], started: float) -> None:
        entry["duration_ms"] = round(self._world.clock.now_ms() - started, 3)
        self._world.record.add("rest", entry, at_ms=started)


def _multipart(request: web.Request, raw: bytes) -> Any:
    """The `payload_json` part with its files as attachments. docs: reference#uploading-files"""
    boundary = request.headers["Content-Type"].partition("boundary=")[2].strip('"')
    payload: dict[str, Any] = {}
    files: dict[str, dict[str, Any]] = {}
    for part in raw.split(b"--" + boundary.encode()):
        head, separator, data = part.strip(b"\r\n").partition(b"\r\n\r\n")
        if not separator:
            continue
        fields = head.decode("utf-8", "replace")
        name = _parameter(fields, "name")
        if name == "payload_json":
            try:
                payload = msgspec.json.decode(data)
            except msgspec.DecodeError as error:
                raise errors.bad_request(
                    50109, "The request body contains invalid JSON."
                ) from error
        elif name.startswith("files["):
            files[name[6:-1]] = {"filename": _parameter(fields, "filename"), "size": len(data)}
    if files:
        described = {str(a.get("id")): a for a in payload.get("attachments") or []}
        payload["attachments"] = [
            {**described.get(key, {}), **given, "id": key} for key, given in files.items()
        ]
    return payload


def _parameter(head: str, name: str) -> str:
    _, found, rest = head.partition(f' {name}="')
    return rest.partition('"')[0] if found else ""
