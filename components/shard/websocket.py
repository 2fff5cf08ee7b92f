"""One socket to Discord's gateway: discord.py's protocol code, with raw dispatches handed on.

Promise: every dispatch reaches the receiver once, in the order received, as undecoded JSON.
Heartbeats and RESUME name the *confirmed* sequence, never the received one: Discord may drop
what a heartbeat confirms, and a RESUME must repeat what is not yet on the bus.

Fails: a frame that is not a gateway payload is logged and skipped; one that cannot be
decompressed ends the socket (the stream is unreadable from there on). The end of a socket is
`Ended`, with what to do next.

The private attributes of discord.py that this relies on are pinned by a contract test.
"""

import asyncio
import logging
import zlib
from collections.abc import Callable
from typing import Any, Protocol

import aiohttp
import discord
import msgspec
import yarl
import zstandard
from discord.gateway import DiscordWebSocket, ReconnectWebSocket
from discord.http import HTTPClient

from components.shard.errors import NEW_SESSION_CLOSE_CODES, raise_if_fatal

log = logging.getLogger(__name__)

HEARTBEAT_TIMEOUT_S = 60.0
DISPATCH = 0
RECONNECT = 4000
"""Close code that keeps the session (1000 and 1001 end it)."""
END_SESSION = 1000

INTENTS = discord.Intents(
    guilds=True,
    members=True,
    moderation=True,
    guild_messages=True,
    guild_reactions=True,
    dm_messages=True,
    message_content=True,
    auto_moderation_execution=True,
)


class Ended(Exception):
    """The socket is closed. ``resume``: the session can be resumed; ``code`` is the close code,
    None when the connection broke."""

    def __init__(self, *, resume: bool, code: int | None, reason: str) -> None:
        super().__init__(f"{reason} (close code {code})")
        self.resume = resume
        self.code = code


class Receiver(Protocol):
    """Who gets what the socket delivers. Must not raise, except to end the socket."""

    def confirmed(self) -> int | None:
        """The session's sequence up to which everything is on the bus; None: nothing is."""

    def session_started(self, session: str, resume_url: str) -> None:
        """READY; called before `dispatched` with the same frame."""

    def dispatched(self, sequence: int, event: str, data: bytes) -> None:
        """A dispatch with its ``s``, ``t`` and ``d``."""


class _Frame(msgspec.Struct):
    op: int
    d: msgspec.Raw = msgspec.Raw(b"null")
    s: int | None = None
    t: str | None = None


class _Ready(msgspec.Struct):
    session_id: str
    resume_gateway_url: str


_decode_frame = msgspec.json.Decoder(_Frame).decode
_decode_ready = msgspec.json.Decoder(_Ready).decode


class Socket(DiscordWebSocket):
    """discord.py's socket; ``sequence``, as its heartbeats and RESUME read it, is confirmed."""

    receiver: Receiver

    @property
    def sequence(self) -> int | None:
        """Read by discord.py's heartbeat thread and `resume`."""
        return self.receiver.confirmed()

    @sequence.setter
    def sequence(self, received: int | None) -> None:
        """discord.py notes what it received; the receiver knows better what is confirmed."""

    async def received_message(self, msg: Any, /) -> None:
        """Hand on a dispatch; leave every other payload to discord.py."""
        try:
            text = self._decompressor.decompress(msg) if type(msg) is bytes else msg
            if text is None:
                return  # a part of a payload
            frame = _decode_frame(text)
        except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
            log.warning("skipped a malformed gateway payload of %d bytes: %s", len(msg), error)
            return
        if frame.op != DISPATCH:
            await self._control(frame.op, text)
            return
        if self._keep_alive:
            self._keep_alive.tick()
        if frame.s is None or frame.t is None:
            log.error("skipped a gateway dispatch without s or t")
            return
        if frame.t == "READY":
            try:
                ready = _decode_ready(frame.d)
            except msgspec.MsgspecError as error:
                raise Ended(resume=False, code=None, reason=f"unusable READY: {error}") from error
            self.session_id = ready.session_id
            self.gateway = yarl.URL(ready.resume_gateway_url)
            self.receiver.session_started(ready.session_id, ready.resume_gateway_url)
        self.receiver.dispatched(frame.s, frame.t, bytes(frame.d))

    async def _control(self, op: int, text: str) -> None:
        try:
            await super().received_message(text)
        except (KeyError, TypeError, AttributeError) as error:
            # discord.py takes the fields of a payload as they come.
            log.warning("skipped a malformed gateway payload with opcode %d: %r", op, error)


class _State:
    """What discord.py's socket reads of a ConnectionState."""

    parsers: dict[str, Callable[..., Any]] = {}
    heartbeat_timeout = HEARTBEAT_TIMEOUT_S
    _activity = None
    _status = None
    _intents = INTENTS

    def __init__(self, shard_count: int, receiver: Receiver) -> None:
        self.shard_count = shard_count
        self._receiver = receiver
        self.socket: Socket | None = None

    async def call_hooks(self, *_: Any, **__: Any) -> None:
        """Nothing happens before an IDENTIFY that the caller has not done."""

    def _update_references(self, socket: Socket) -> None:
        socket.receiver = self._receiver
        self.socket = socket


class _Client:
    """What discord.py's socket reads of a Client."""

    _enable_debug_events = False

    def __init__(self, http: HTTPClient, state: _State) -> None:
        self.http = http
        self.loop = asyncio.get_running_loop()
        self._connection = state

    def dispatch(self, *_: Any) -> None:
        """Events of discord.py itself; nobody listens."""


class Connection:
    """A socket from its HELLO to its end."""

    def __init__(self, socket: Socket) -> None:
        self._socket = socket
        self._polling: asyncio.Task[None] | None = None
        self._closing: asyncio.Task[None] | None = None
        self._session_ended = False

    @classmethod
    async def open(
        cls,
        http: HTTPClient,
        receiver: Receiver,
        *,
        shard: int,
        shard_count: int,
        session: str | None,
        resume_url: str | None,
        timeout_s: float = 20.0,
    ) -> "Connection":
        """Connect, then RESUME the session if there is one, else IDENTIFY. Raises `Ended`."""
        state = _State(shard_count, receiver)
        client = _Client(http, state)
        try:
            async with asyncio.timeout(timeout_s):
                socket = await Socket.from_client(
                    client,  # type: ignore[arg-type]
                    gateway=yarl.URL(resume_url) if session and resume_url else None,
                    shard_id=shard,
                    session=session,
                    resume=session is not None,
                )
        except BaseException as error:
            if state.socket is not None:
                await cls(state.socket).close()
            if isinstance(error, ReconnectWebSocket):
                raise Ended(
                    resume=session is not None and error.resume, code=None, reason="no HELLO"
                ) from error
            if isinstance(error, discord.ConnectionClosed):
                raise_if_fatal(error.code)
            if isinstance(
                error, discord.ConnectionClosed | aiohttp.ClientError | OSError | TimeoutError
            ):
                raise Ended(resume=session is not None, code=None, reason=_words(error)) from error
            raise
        return cls(socket)

    async def run(self) -> None:
        """Receive until the socket ends. Raises `Ended`, `CannotStart` for a fatal code, or what
        the receiver raised to end it."""
        self._polling = asyncio.create_task(self._poll())
        try:
            await self._polling
        except asyncio.CancelledError:
            if self._session_ended:
                raise Ended(resume=False, code=END_SESSION, reason="session ended") from None
            raise
        except ReconnectWebSocket as end:
            code = self._socket.socket.close_code
            raise_if_fatal(code)
            ended = self._remote_code() in NEW_SESSION_CLOSE_CODES
            raise Ended(
                resume=end.resume and not ended, code=code, reason="Discord ended the connection"
            ) from end
        except discord.ConnectionClosed as error:
            raise_if_fatal(error.code)
            raise Ended(resume=False, code=error.code, reason="connection closed") from error
        except (zlib.error, zstandard.ZstdError, aiohttp.ClientError, OSError) as error:
            raise Ended(resume=True, code=None, reason=_words(error)) from error
        finally:
            await self.close()

    async def _poll(self) -> None:
        while True:
            await self._socket.poll_event()

    async def end_session(self) -> None:
        """Close so that Discord forgets the session. Harmless when it is closed."""
        self._session_ended = True
        if self._polling is not None:
            # Who waits for a frame would close with 4000 before our own code is sent.
            self._polling.cancel()
            await asyncio.wait({self._polling})
        await self.close()

    async def close(self) -> None:
        """Close so that the session can be resumed, if there is one to resume: one whose READY has
        not come yet is ended, for nobody knows its name. Harmless when it is closed.

        The end is waited for, whoever gives up: a connection that goes away while Discord is still
        sending is reset, and the close frame with it may never be read."""
        if self._closing is None:
            self._closing = asyncio.create_task(self._close())
        await asyncio.shield(self._closing)

    async def _close(self) -> None:
        keeps = self._socket.session_id is not None and not self._session_ended
        code = RECONNECT if keeps else END_SESSION
        socket = self._socket.socket
        if not socket.closed:
            # aiohttp takes a receive that was cancelled for an abnormal end, after which it would
            # not wait for Discord's answer.
            socket._close_code = None
        try:
            async with asyncio.timeout(5):
                await self._socket.close(code)
        except (TimeoutError, aiohttp.ClientError, OSError) as error:
            log.info("socket did not close in order: %s", _words(error))

    def _remote_code(self) -> int | None:
        """Discord's close code; None when this side closed first."""
        return None if self._socket._close_code else self._socket.socket.close_code


def _words(error: BaseException) -> str:
    return str(error) or type(error).__name__
