"""One gateway socket: HELLO, heartbeats, and everything the client sends until it is closed.

Bounded: a client that reads too slowly for `socket_backlog` payloads loses its socket, not its
session. Malformed and forbidden payloads end in the close code that Discord documents.
docs: events/gateway#connections
"""

import asyncio
import logging
import zlib
from collections import deque
from typing import TYPE_CHECKING, Any

import msgspec
from aiohttp import WSCloseCode, WSMsgType, web

from components.simulator.gateway.compression import Encoder
from components.simulator.gateway.protocol import Close, Op
from components.simulator.gateway.session import Session

if TYPE_CHECKING:
    from components.simulator.gateway.server import Gateway

PAYLOAD_MAX = 4096  # docs: events/gateway#sending-events
# Undocumented: what Discord calls a large payload, for compression of single payloads.
LARGE_PAYLOAD = 8192

log = logging.getLogger(__name__)


class Envelope(msgspec.Struct, frozen=True):
    op: int
    d: Any = None


_decoder = msgspec.json.Decoder(Envelope)


class Closed(Exception):
    """The connection ends with this code. Raised by handlers of the client's payloads."""

    def __init__(self, code: int, reason: str = "") -> None:
        super().__init__(f"{code} {reason}")
        self.code = code
        self.reason = reason


class Connection:
    def __init__(self, gateway: "Gateway", number: int, encoder: Encoder) -> None:
        self.id = number
        self.session: Session | None = None
        self.latency_s = 0.0
        self.withhold_acks = False
        self.compress_payloads = False
        self._gateway = gateway
        self._settings = gateway.settings
        self._clock = gateway.clock
        self._encoder = encoder
        self._outbox: deque[tuple[float, bytes]] = deque()  # not before, payload
        self._more = asyncio.Event()
        self._ws = web.WebSocketResponse(compress=False, max_msg_size=0, autoclose=True)
        self._sends: deque[float] = deque()
        self._heard = self._clock.monotonic()
        self._ended: asyncio.Future[Closed] = asyncio.get_running_loop().create_future()

    async def run(self, request: web.Request) -> web.WebSocketResponse:
        """Serve the socket until either side ends it."""
        await self._ws.prepare(request)
        interval = self._settings.heartbeat_interval_ms
        self.send(Op.HELLO, {"heartbeat_interval": interval, "_trace": ["simulator"]})
        reader = asyncio.create_task(self._read())
        workers = [asyncio.create_task(self._write()), asyncio.create_task(self._watch_heartbeat())]
        by_client: int | None = None
        try:
            await asyncio.wait({reader, self._ended}, return_when=asyncio.FIRST_COMPLETED)
            if self._ended.done():
                closed = self._ended.result()
            else:
                closed = reader.result()
                by_client = closed.code
        finally:
            for task in (reader, *workers):
                task.cancel()
            await asyncio.gather(reader, *workers, return_exceptions=True)
            self._gateway.detach(self, by_client)
        self._gateway.note(self, "close", code=closed.code, by="client" if by_client else "server")
        if closed.code == WSCloseCode.ABNORMAL_CLOSURE:
            if request.transport is not None:
                request.transport.abort()
        elif not self._ws.closed:
            await self._ws.close(code=closed.code, message=closed.reason.encode())
        return self._ws

    def send(self, op: int, data: Any = None) -> None:
        """Queue a payload that is no dispatch."""
        self.send_raw(msgspec.json.encode({"op": op, "d": data, "s": None, "t": None}))

    def send_raw(self, payload: bytes) -> None:
        """Queue an encoded payload, in order."""
        if len(self._outbox) >= self._settings.socket_backlog:
            self.end(Closed(WSCloseCode.ABNORMAL_CLOSURE, "reads too slowly"))
            return
        due = self._clock.monotonic() + self.latency_s if self.latency_s else 0.0
        self._outbox.append((due, payload))
        self._more.set()

    def end(self, closed: Closed) -> None:
        """Close the socket from this side. The first reason counts."""
        if not self._ended.done():
            self._ended.set_result(closed)

    async def _read(self) -> Closed:
        """Serve what the client sends until it closes, with the code of its close frame: also if
        it did not wait for ours. (`close_code` is 1006 then.)"""
        while True:
            message = await self._ws.receive()
            if message.type is WSMsgType.CLOSE and message.data:
                return Closed(message.data)
            if message.type not in (WSMsgType.TEXT, WSMsgType.BINARY):
                break
            try:
                self._receive(message.data)
            except Closed as closed:
                self.end(closed)
                return closed
        code = self._ws.close_code
        return Closed(WSCloseCode.ABNORMAL_CLOSURE if code is None else code)

    def _receive(self, data: str | bytes) -> None:
        if len(data) > PAYLOAD_MAX:
            raise Closed(Close.DECODE_ERROR, "Error while decoding payload.")
        try:
            envelope = _decoder.decode(data)
        except msgspec.MsgspecError as error:
            raise Closed(Close.DECODE_ERROR, "Error while decoding payload.") from error
        now = self._clock.monotonic()
        self._sends.append(now)
        while self._sends and now - self._sends[0] >= 60:
            self._sends.popleft()
        if self._gateway.limits.enabled and len(self._sends) > self._settings.sends_per_minute:
            raise Closed(Close.RATE_LIMITED, "You are being rate limited.")
        if envelope.op == Op.HEARTBEAT:
            self._heard = now
            self._gateway.heartbeat(self, envelope.d)
            if not self.withhold_acks:
                self.send(Op.HEARTBEAT_ACK)
        else:
            self._gateway.receive(self, envelope.op, envelope.d)

    async def _write(self) -> None:
        while True:
            await self._more.wait()
            self._more.clear()
            while self._outbox:
                due, payload = self._outbox.popleft()
                if due:
                    await asyncio.sleep(due - self._clock.monotonic())  # an injected fault
                try:
                    await self._put(payload)
                except (ConnectionError, RuntimeError) as error:
                    # The client went away between two writes. The reader sees how: a session that
                    # was closed with 1000 has ended, one whose socket broke waits for a RESUME.
                    log.debug("connection %d: write failed: %s", self.id, error)
                    return

    async def _put(self, payload: bytes) -> None:
        if self._encoder.binary:
            await self._ws.send_bytes(self._encoder.encode(payload))
        elif self.compress_payloads and len(payload) > LARGE_PAYLOAD:
            await self._ws.send_bytes(zlib.compress(payload))
        else:
            await self._ws.send_str(payload.decode())

    async def _watch_heartbeat(self) -> None:
        """A client that misses its heartbeats is gone. docs: events/gateway#heartbeat-interval"""
        allowed = self._settings.heartbeat_interval_ms / 1000 * self._settings.heartbeat_grace
        while True:
            left = self._heard + allowed - self._clock.monotonic()
            if left <= 0:
                self.end(Closed(self._settings.zombie_close_code, "missed heartbeats"))
                return
            await asyncio.sleep(left)  # the deadline itself is the event
