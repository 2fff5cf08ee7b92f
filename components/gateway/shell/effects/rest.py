"""The only way out to Discord: discord.py's HTTP client over a transport with the gate in it.

Promise: no request is written unless the gate is open at that moment, whichever of the library's
loops writes it; a request is given up before the lease that allowed it ends; 429 and 5xx leave
the library at once (its own loop would sleep and repeat after any check its caller made), and the
caller hears whether bytes may have been written.

`Rest.call` raises `Refused`, `Again` and `GateClosed` (nothing was written).
"""

import asyncio
import contextlib
import logging
from collections.abc import Awaitable, Callable
from contextvars import ContextVar
from functools import partial
from types import SimpleNamespace
from typing import Any, Final, TypeVar

import aiohttp
from aiohttp.client_reqrep import ClientRequest
from aiohttp.connector import Connection
from aiohttp.tracing import Trace
from discord.errors import HTTPException, LoginFailure, RateLimited
from discord.http import HTTPClient, Route

from components.discord_api import counting
from components.gateway.shell.effects.buckets import MAX_WAIT_S, BucketedClient
from components.gateway.shell.effects.limits import InvalidRequests
from components.gateway.shell.effects.outcomes import Again, Refused
from components.gateway.shell.errors import GateClosed
from components.gateway.shell.gate import Gate, Permit
from components.process.exits import CannotStart
from components.sharing.slots import RateShare
from contracts.ids import Incarnation, PodId

log = logging.getLogger(__name__)

T = TypeVar("T")

REQUEST_TIMEOUT_S: Final = 15.0
TURN_WITHIN_S: Final = 2.0
"""An effect that must wait longer looks again whether it is still wanted."""
FIRST_PAUSE_S: Final = 0.2
LONGEST_PAUSE_S: Final = 5.0


class Attempt:
    """One call: on whose behalf, and whether bytes may have left. ``share``: whose slot it takes
    before it is written; None for an endpoint outside of the global rate."""

    __slots__ = ("_has_slot", "_share", "deadline", "permit", "until_s", "urgent", "written")

    def __init__(
        self, permit: Permit | None, share: RateShare | None, *, urgent: bool = True
    ) -> None:
        self.permit = permit
        self.urgent = urgent
        self.written = False
        self.deadline: asyncio.Timeout | None = None
        self.until_s = 0.0
        """The loop's time at which it is given up, however long the lease is held."""
        self._share = share
        self._has_slot = False

    async def turn(self) -> None:
        """Wait for a slot of the share. Raises `Again` when there is none for long."""
        if self._share is None or self._has_slot:
            return
        try:
            async with asyncio.timeout(TURN_WITHIN_S):
                await self._share.take(urgent=self.urgent)
        except TimeoutError:
            raise Again("not its turn yet", after_s=0.0, in_doubt=False) from None
        self._has_slot = True

    def over(self) -> None:
        """An answer came, or none is waited for any more."""
        if self._share is not None and self._has_slot:
            self._has_slot = False
            if self.written:
                self._share.answered()
            else:
                self._share.unused()


_attempt: ContextVar[Attempt | None] = ContextVar("attempt", default=None)


class _Answered(Exception):
    """Carries a 429 or 5xx out of the library's retry loop."""

    def __init__(self, status: int, after_s: float | None, scope: str) -> None:
        super().__init__(f"Discord answered {status}")
        self.status = status
        self.after_s = after_s
        self.scope = scope


class _Broken(Exception):
    """The connection failed; as an OSError the library would sometimes repeat the request."""


class GatedConnector(aiohttp.TCPConnector):
    """Waits for a slot of the global rate, when the request has its route's, and asks the gate
    after a connection was acquired: the last moment before bytes are written."""

    def __init__(self, gate: Gate, remaining_s: Callable[[], float]) -> None:
        super().__init__(limit=0, keepalive_timeout=60)
        self._gate = gate
        self._remaining_s = remaining_s

    async def connect(
        self,
        req: ClientRequest,
        traces: list[Trace],
        timeout: aiohttp.ClientTimeout,  # noqa: ASYNC109 aiohttp's signature
    ) -> Connection:
        """A connection that may be written to right now; else `GateClosed`."""
        attempt = _attempt.get()
        if attempt is None:
            raise GateClosed(None, "a request outside of any attempt")
        await attempt.turn()
        connection = await super().connect(req, traces, timeout)
        try:
            self._pass_gate(attempt)
        except (GateClosed, _Broken):
            connection.release()
            raise
        return connection

    def _pass_gate(self, attempt: Attempt) -> None:
        if attempt.written:
            # aiohttp repeats some methods on a broken connection. Whether the first one happened
            # is for settlement to find out.
            raise _Broken("the connection broke before an answer came")
        if attempt.permit is not None:
            self._gate.check_effects(attempt.permit)
            if attempt.deadline is not None:
                now_s = asyncio.get_running_loop().time()
                attempt.until_s = now_s + REQUEST_TIMEOUT_S
                attempt.deadline.reschedule(min(attempt.until_s, now_s + self._remaining_s()))
        attempt.written = True


class Rest:
    """Discord's REST API under the gate."""

    def __init__(
        self,
        gate: Gate,
        remaining_s: Callable[[], float],
        share: RateShare,
        invalid: InvalidRequests,
        in_flight: int = 256,
    ) -> None:
        trace = counting(invalid.note)
        trace.on_request_end.append(_leave_library)
        trace.on_request_exception.append(_not_an_oserror)
        self._http = BucketedClient(
            asyncio.get_running_loop(), GatedConnector(gate, remaining_s), http_trace=trace
        )
        self._gate = gate
        self._share = share
        self._invalid = invalid
        self._unlimited = asyncio.Semaphore(in_flight)
        self._ready = asyncio.Event()
        self._attempts: set[Attempt] = set()
        self._remaining_s = remaining_s
        self.user_id = ""
        """The bot's own user, once logged in."""

    async def login(self, token: str) -> None:
        """Open the session with the token, trying until Discord answers; the connection is then
        kept alive. Raises `CannotStart` when Discord refuses the token."""
        pause_s = FIRST_PAUSE_S
        # The library makes a session here, each time: called once, all that follows is asked anew.
        ask = partial(self._http.static_login, token)
        while True:
            try:
                user = await self._who_am_i(ask)
            except Again as again:
                log.warning("Discord does not answer yet: %s", again)
                await asyncio.sleep(max(pause_s, again.after_s or 0.0))
                pause_s = min(LONGEST_PAUSE_S, pause_s * 2)
            else:
                self.user_id = str(user["id"])
                self._ready.set()
                return
            self._http.token = token  # the library takes it back when the first try fails
            ask = partial(self._http.request, Route("GET", "/users/@me"))

    async def _who_am_i(self, ask: Callable[[], Awaitable[Any]]) -> Any:
        """The bot's user, by one request. Raises `Again` and `CannotStart`."""
        attempt = Attempt(None, self._share)  # who we are changes nothing for anybody
        _attempt.set(attempt)
        try:
            async with asyncio.timeout(REQUEST_TIMEOUT_S):
                return await ask()
        except LoginFailure as error:
            raise _token_refused() from error
        except (HTTPException, _Answered, RateLimited) as error:
            if isinstance(error, HTTPException) and error.status == 401:
                raise _token_refused() from error
            ending = self._ending(error)
            raise ending if isinstance(ending, Again) else _no_answer(ending) from error
        except (_Broken, TimeoutError) as error:
            raise _no_answer(error) from error
        except (OSError, aiohttp.ClientError) as error:  # in the middle of the answer's body
            raise _no_answer(_broken(error)) from error
        finally:
            attempt.over()
            _attempt.set(None)

    def name(self, pod: PodId, incarnation: Incarnation) -> None:
        """Say at the end of the User-Agent which process calls, as Discord allows (docs:
        reference#user-agent): what a replaced owner did can then be told from its successor's."""
        self._http.user_agent += f" {pod}/{incarnation}"

    def extend(self) -> None:
        """The lease was renewed: what is in flight may wait on, up to the request's own limit."""
        lease_ends_s = asyncio.get_running_loop().time() + self._remaining_s()
        for attempt in self._attempts:
            deadline = attempt.deadline
            # One whose time is over is being given up, and cannot be rescheduled.
            if attempt.written and deadline is not None and not deadline.expired():
                deadline.reschedule(min(attempt.until_s, lease_ends_s))

    async def call(
        self,
        permit: Permit,
        request: Callable[[HTTPClient], Awaitable[T]],
        *,
        urgent: bool = True,
        limited: bool = True,
    ) -> T:
        """Make one request with the library's client; returns what it returns.

        Posts (not ``urgent``) leave room to others and wait while too many requests were invalid;
        ``limited`` False: an endpoint outside of the global rate.
        """
        if not urgent and (wait_s := self._invalid.wait_s) > 0:
            raise Again("too many invalid requests", after_s=min(wait_s, 60.0), in_doubt=False)
        try:
            async with asyncio.timeout(TURN_WITHIN_S):
                await self._ready.wait()
        except TimeoutError:
            raise Again("not logged in yet", after_s=0.0, in_doubt=False) from None
        attempt = Attempt(permit, self._share if limited else None, urgent=urgent)
        # Whoever takes a slot is bounded by the share; waiting for one must not hold others up.
        async with contextlib.nullcontext() if limited else self._unlimited:
            _attempt.set(attempt)
            self._attempts.add(attempt)
            try:
                within_s = REQUEST_TIMEOUT_S + MAX_WAIT_S + TURN_WITHIN_S
                async with asyncio.timeout(within_s) as deadline:
                    attempt.deadline = deadline
                    return await request(self._http)
            except (_Answered, HTTPException, RateLimited) as error:
                raise self._ending(error) from error
            except (_Broken, TimeoutError) as error:
                reason = str(error) or "no answer in time"
                raise Again(reason, in_doubt=attempt.written) from error
            except (OSError, aiohttp.ClientError) as error:  # in the middle of the answer's body
                raise Again(str(_broken(error)), in_doubt=attempt.written) from error
            finally:
                attempt.over()
                self._attempts.discard(attempt)
                _attempt.set(None)

    async def close(self) -> None:
        """Close every connection."""
        await self._http.close()

    def _ending(self, error: _Answered | HTTPException | RateLimited) -> Exception:
        if isinstance(error, RateLimited):  # the library knew before it asked
            return Again("rate limited", after_s=error.retry_after, in_doubt=False)
        if isinstance(error, _Answered):
            if error.status == 429:
                if error.scope == "global":
                    self._share.pause(error.after_s or 1.0)
                return Again("rate limited", after_s=error.after_s or 1.0, in_doubt=False)
            # The server failed somewhere between reading the request and answering it.
            return Again(str(error), in_doubt=True)
        if error.status == 429:
            return Again("rate limited without a Via header", after_s=60.0, in_doubt=False)
        if error.status >= 500:
            return Again(f"Discord answered {error.status}", in_doubt=True)
        return Refused(error.status, error.code, error.text or f"HTTP {error.status}")


def _token_refused() -> CannotStart:
    return CannotStart(
        "Discord refused the bot's token: set MODBOT_DISCORD_TOKEN to the one of the developer "
        "portal"
    )


def _no_answer(error: Exception) -> Again:
    return Again(str(error) or "no answer in time", in_doubt=False)


def _broken(error: Exception) -> _Broken:
    return _Broken(f"the connection failed: {type(error).__name__}")


async def _leave_library(
    session: aiohttp.ClientSession,
    context: SimpleNamespace,
    params: aiohttp.TraceRequestEndParams,
) -> None:
    response = params.response
    if response.status != 429 and response.status < 500:
        return
    after_s: float | None = None
    scope = response.headers.get("X-RateLimit-Scope", "")
    if response.status == 429:
        try:
            # More exact than the header, which is in whole seconds.
            after_s = float((await response.json(content_type=None))["retry_after"])
        except (aiohttp.ClientError, ValueError, KeyError, TypeError):
            after_s = 60.0  # not from Discord itself (docs: topics/rate-limits): a ban
        if response.headers.get("X-RateLimit-Global"):
            scope = "global"
    raise _Answered(response.status, after_s, scope)


async def _not_an_oserror(
    session: aiohttp.ClientSession,
    context: SimpleNamespace,
    params: aiohttp.TraceRequestExceptionParams,
) -> None:
    error = params.exception
    if isinstance(error, OSError | aiohttp.ClientError) and not isinstance(error, TimeoutError):
        raise _broken(error) from error
