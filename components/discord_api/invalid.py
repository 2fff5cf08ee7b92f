"""Sees the answers that Discord counts against the address: 10,000 of 401, 403 and 429 in 10
minutes ban it (docs: topics/rate-limits#invalid-request-limit-aka-cloudflare-bans). A 429 of
shared scope does not count.
"""

from collections.abc import Callable
from types import SimpleNamespace
from typing import Final

import aiohttp

INVALID: Final = frozenset({401, 403, 429})


def counting(note: Callable[[], None]) -> aiohttp.TraceConfig:
    """A trace for a client session that calls ``note`` at each such answer."""

    async def answered(
        session: aiohttp.ClientSession,
        context: SimpleNamespace,
        params: aiohttp.TraceRequestEndParams,
    ) -> None:
        response = params.response
        shared = response.headers.get("X-RateLimit-Scope") == "shared"
        if response.status in INVALID and not (response.status == 429 and shared):
            note()

    trace = aiohttp.TraceConfig()
    trace.on_request_end.append(answered)
    return trace
