"""Discord's rate-limit buckets for discord.py's client, without its two sleeps that hurt here.

The library's own bucket sleeps *after* a request that used the last token, so that a deletion
that is done would be reported a second late or, past its deadline, not at all; and a request
that finds the bucket empty may wait twice. Here a finished request returns at once, and one that
would wait longer than `MAX_WAIT_S` goes back to the outbox (`RateLimited`).

Uses attributes of discord.py 2.7.1 that are not public; `tests/unit/gateway/shell` pins them.
"""

import asyncio
import contextlib
from types import TracebackType
from typing import Final

from discord.errors import RateLimited
from discord.http import HTTPClient, Ratelimit

MAX_WAIT_S: Final = 2.0


class Bucket(Ratelimit):
    """One bucket: as many requests at once as it has tokens."""

    async def acquire(self) -> None:
        """Take a token; raises `RateLimited` when there is none for longer than `MAX_WAIT_S`."""
        self._last_request = self._loop.time()
        if self.is_expired():
            self.reset()  # type: ignore[no-untyped-call]
        while self.remaining <= 0:
            left_s = None if self.expires is None else self.expires - self._loop.time()
            if left_s is not None and left_s > MAX_WAIT_S:
                raise RateLimited(left_s)
            turn: asyncio.Future[None] = self._loop.create_future()
            self._pending_requests.append(turn)
            try:
                async with asyncio.timeout(left_s):
                    await turn
            except TimeoutError:
                pass
            finally:
                with contextlib.suppress(ValueError):  # already taken out by the waker
                    self._pending_requests.remove(turn)
            if self.is_expired():
                self.reset()  # type: ignore[no-untyped-call]
                self._wake(self.remaining - 1)
        self.remaining -= 1
        self.outgoing += 1

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.outgoing -= 1
        if self.expires is None:  # Discord named no limit
            self.reset()  # type: ignore[no-untyped-call]
        if self.remaining > 0:
            self._wake(self.remaining)


class BucketedClient(HTTPClient):
    """discord.py's client with `Bucket`s."""

    def get_ratelimit(self, key: str) -> Ratelimit:
        """The bucket of a route and its major parameters."""
        found = self._buckets.get(key)
        if found is None:
            found = self._buckets[key] = Bucket(None)
            self._try_clear_expired_ratelimits()
        return found
