"""Who may come in, and what every response tells a browser.

`requires_operator` is the guard of everything under ``/api``. The token is only ever taken from
the Authorization header: a secret in a URL ends in logs and histories.
"""

import hmac
from collections.abc import Callable
from typing import Any, Final

from litestar.connection import ASGIConnection
from litestar.exceptions import NotAuthorizedException
from litestar.handlers import BaseRouteHandler
from litestar.types import ASGIApp, Message, Receive, Scope, Send

SECURITY_HEADERS: Final = (
    (b"cache-control", b"no-store"),
    (b"content-security-policy", b"default-src 'none'; frame-ancestors 'none'"),
    (b"cross-origin-opener-policy", b"same-origin"),
    (b"cross-origin-resource-policy", b"same-origin"),
    (b"permissions-policy", b"interest-cohort=()"),
    (b"referrer-policy", b"no-referrer"),
    (b"strict-transport-security", b"max-age=31536000"),
    (b"x-content-type-options", b"nosniff"),
    (b"x-frame-options", b"DENY"),
)

Guard = Callable[[ASGIConnection[Any, Any, Any, Any], BaseRouteHandler], None]


def requires_operator(token: str) -> Guard:
    """A guard that lets only the operator's token pass; with an empty token nobody."""
    expected = token.encode()

    def guard(connection: ASGIConnection[Any, Any, Any, Any], _: BaseRouteHandler) -> None:
        scheme, _space, given = connection.headers.get("authorization", "").partition(" ")
        # Compared in constant time, and also when there is nothing to compare with.
        same = hmac.compare_digest(given.strip().encode("latin-1", "replace"), expected)
        if not (expected and same and scheme.lower() == "bearer"):
            raise NotAuthorizedException(
                "Give the operator's token: Authorization: Bearer …",
                headers={"WWW-Authenticate": 'Bearer realm="modbot"'},
            )

    return guard


def with_security_headers(app: ASGIApp) -> ASGIApp:
    """The app, with `SECURITY_HEADERS` on every response, errors included."""

    async def secured(scope: Scope, receive: Receive, send: Send) -> None:
        async def send_secured(message: Message) -> None:
            if message["type"] == "http.response.start":
                message["headers"] = [*message.get("headers", ()), *SECURITY_HEADERS]
            await send(message)

        await app(scope, receive, send_secured)

    return secured
