"""One connection to NATS, over which a component appends, asks, answers and listens.

Promise: what is sent while disconnected fails at once with `NotConnected`; nothing is buffered
and flushed later, for a lease may have ended in between (facts.md: a stale append landed 3 s
after the server came back). The client reconnects for ever, to whichever server of a cluster takes
it; `Bus.link` counts connections, so that a caller can tell that there was a break. A server that
hangs is left within seconds of the first request that it does not answer.
"""

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Any
from uuid import uuid4

import msgspec
import nats
from nats.aio.client import Client
from nats.aio.msg import Msg
from nats.aio.subscription import Subscription
from nats.aio.transport import TcpTransport
from nats.errors import (
    ConnectionClosedError,
    MaxPayloadError,
    NoRespondersError,
    OutboundBufferLimitError,
    SlowConsumerError,
)
from nats.errors import Error as NatsError
from nats.errors import TimeoutError as NatsTimeout

from components.bus.cancellation import never_lost
from components.bus.errors import (
    NoOwner,
    NotConnected,
    Refused,
    TooLarge,
    Unanswered,
    Unavailable,
    WrongLastSequence,
)
from components.bus.settings import BusSettings
from contracts.accounts import inbox_prefix
from contracts.headers import BATCH_COMMIT, BATCH_ID, BATCH_SEQUENCE

log = logging.getLogger(__name__)

WRONG_LAST_SEQUENCE = 10071
UNAVAILABLE = frozenset({10008, 10009, 10163})
"""err_codes: no leader of the cluster, not the leader, the leader cannot compare sequences yet."""
PENDING_MESSAGES = 65_536
"""Bound of one subscription's queue; beyond it the client drops and tells `on_slow`."""

HUNG_AFTER_S = 1.0
"""A server that does not answer a ping for so long, after a request was not answered either, is
left: a lease would not outlast the two pings of `ping_interval` that the client waits for."""
CLOSE_WITHIN_S = 2.0
"""What was not written by then is dropped: a process that is to end has some seconds for all."""

Listener = Callable[[], Awaitable[None]]
Handler = Callable[[Msg], Awaitable[None]]
Collector = Callable[[bytes, bytes], None]
"""Takes a message's header block (`stream.parse_headers`) and its data. It must not raise: the task
that reads the connection calls it."""


class _ApiError(msgspec.Struct):
    code: int = 0
    err_code: int = 0
    description: str = ""


class _PubAck(msgspec.Struct):
    stream: str = ""
    seq: int = 0
    duplicate: bool = False
    error: _ApiError | None = None


class Stored(msgspec.Struct, frozen=True):
    """An acknowledged append: it is on the stream, under this sequence."""

    sequence: int
    duplicate: bool
    """The stream held the id already; ``sequence`` is the first one's."""


_decode_ack = msgspec.json.Decoder(_PubAck).decode


def parse_fields(raw: bytes) -> dict[str, str]:
    """``Name: value\\r\\n…`` as a mapping; of a repeated name the last counts. Four times as fast
    as the client's own: 8 of the 110 microseconds that an input takes on the event loop. Names are
    taken as they come: nobody looks for a broken one."""
    fields: dict[str, str] = {}
    for line in raw.decode("utf-8", "replace").split("\r\n"):
        name, separator, value = line.partition(":")
        if separator:
            fields[name] = value.strip()
    return fields


class _Client(Client):
    """The client, with what it does too slowly or wrongly done here."""

    def __init__(self) -> None:
        super().__init__()
        self.collectors: dict[int, Collector] = {}
        """By the subscription's id."""

    async def _process_msg(
        self, sid: int, subject: bytes, reply: bytes, data: bytes, headers: bytes
    ) -> None:
        collect = self.collectors.get(sid)
        if collect is None:
            await super()._process_msg(sid, subject, reply, data, headers)
        else:
            collect(headers or b"", data)

    @staticmethod
    def _parse_header_lines(raw: bytes) -> dict[str, str]:
        return parse_fields(raw)

    async def _process_pong(self) -> None:
        """The answer to a ping that was given up is taken, for nobody. The client would set its
        cancelled future, and the error ends the reading while the connection stands."""
        if self._pongs and self._pongs[0].done():
            self._pongs[0] = asyncio.get_running_loop().create_future()
        await super()._process_pong()

    async def _attempt_reconnect(self) -> None:
        """What was not written yet is dropped with the connection. The client would wait until it
        is, and a server that hangs never takes it."""
        self.drop()
        await super()._attempt_reconnect()

    async def _process_connect_init(self) -> None:
        """Parse the next connection from its first byte on. The client's reading may be awake with
        bytes of the lost one already; it parses them after the parser was reset, and half a message
        among them would be completed from the next connection."""
        self._ps.reset()
        await super()._process_connect_init()

    def drop(self) -> None:
        """End the connection without waiting for what was not written yet."""
        transport = self._transport
        if isinstance(transport, TcpTransport) and transport._io_writer is not None:
            transport._io_writer.transport.abort()


class Bus:
    """A connection. Make one with `connect`; close it with `close`."""

    def __init__(self, client: _Client, name: str) -> None:
        self.client = client
        self.name = name
        self.link = 1
        self._unreachable = False
        self._doubting: asyncio.Task[None] | None = None
        self._on_connected: list[Listener] = []
        self._on_lost: list[Listener] = []
        self._on_slow: list[Callable[[str], None]] = []

    @property
    def connected(self) -> bool:
        """Whether the connection stands at this moment, as far as the client knows."""
        return bool(self.client.is_connected)

    @property
    def client_id(self) -> int:
        """The server's number of this connection, as its advisories name it. Two servers of a
        cluster may give the same number: only with `server_id` it names one connection."""
        return int(self.client.client_id or 0) if self.connected else 0

    @property
    def server_id(self) -> str:
        """The server that the connection ends at, as its advisories name it (``server.id``); a
        server has a new one each time it starts. Empty while there is no connection."""
        return str(self.client._server_info.get("server_id", "")) if self.connected else ""

    def on_connected(self, listener: Listener) -> None:
        """Call the listener after every reconnect (not the first connect)."""
        self._on_connected.append(listener)

    def on_lost(self, listener: Listener) -> None:
        """Call the listener when the connection is lost."""
        self._on_lost.append(listener)

    def on_slow(self, listener: Callable[[str], None]) -> None:
        """Call the listener with the subject of a subscription that dropped messages."""
        self._on_slow.append(listener)

    async def append(
        self,
        subject: str,
        data: bytes,
        headers: Mapping[str, str] | None = None,
        *,
        timeout_s: float = 2.0,
    ) -> Stored:
        """Store a message on the stream of the subject and wait for the acknowledgement.

        Raises `NotConnected`, `TooLarge`, `Unanswered` (it may be stored: append again under the
        same id), `NoOwner` (no stream takes the subject now, e.g. while a cluster elects the
        stream's leader), `Refused`, `WrongLastSequence`.
        """
        message = await self.ask(subject, data, headers, timeout_s=timeout_s)
        ack = _decode_ack(message.data)
        if ack.error is not None:
            raise refusal(subject, ack.error.code, ack.error.err_code, ack.error.description)
        return Stored(ack.seq, ack.duplicate)

    async def append_all(
        self, messages: Sequence[tuple[str, bytes, Mapping[str, str]]], *, timeout_s: float = 2.0
    ) -> int:
        """Store one or more messages (subject, data, headers) on one stream that allows it, all of
        them in this order or none: one write to the server's disk instead of one each. Returns the
        sequence of the last; the others have those before it.

        Raises as `append`: `Refused` says that none is stored (also when they are more than the
        server takes at once), `Unanswered` that all may be.
        """
        batch = uuid4().hex
        *most, last = (
            (subject, data, {**fields, BATCH_ID: batch, BATCH_SEQUENCE: str(n)})
            for n, (subject, data, fields) in enumerate(messages, 1)
        )
        if not self.connected:
            raise NotConnected
        for subject, data, fields in most:
            await self.say(subject, data, fields)
        subject, data, fields = last
        fields[BATCH_COMMIT] = "1"
        return (await self.append(subject, data, fields, timeout_s=timeout_s)).sequence

    async def ask(
        self,
        subject: str,
        data: bytes,
        headers: Mapping[str, str] | None = None,
        *,
        timeout_s: float = 2.0,
    ) -> Msg:
        """Send a request and wait for one reply. Raises `NotConnected`, `TooLarge`, `Unanswered`,
        `NoOwner`."""
        if not self.connected:
            raise NotConnected
        try:
            with never_lost():
                return await self.client.request(
                    subject, data, timeout=timeout_s, headers=dict(headers) if headers else None
                )
        except NoRespondersError as error:
            raise NoOwner(subject) from error
        except (NatsTimeout, TimeoutError, asyncio.CancelledError) as error:
            # The client cancels waiting requests when it closes; our own cancellation goes on.
            if isinstance(error, asyncio.CancelledError) and not self.client.is_closed:
                raise
            self._doubt()
            raise Unanswered(subject, timeout_s) from error
        except MaxPayloadError as error:
            raise TooLarge(subject, len(data)) from error
        except (OutboundBufferLimitError, ConnectionClosedError) as error:
            raise NotConnected from error

    async def say(
        self, subject: str, data: bytes, headers: Mapping[str, str] | None = None, reply: str = ""
    ) -> None:
        """Publish without an acknowledgement. Raises `NotConnected`, `TooLarge`."""
        try:
            await self.client.publish(
                subject, data, reply=reply, headers=dict(headers) if headers else None
            )
        except MaxPayloadError as error:
            raise TooLarge(subject, len(data)) from error
        except (OutboundBufferLimitError, ConnectionClosedError) as error:
            raise NotConnected from error

    async def listen(self, subject: str, handler: Handler) -> Subscription:
        """A plain subscription (no queue group) with a bounded queue. It survives reconnects;
        messages of the break are missed."""
        return await self.client.subscribe(subject, cb=handler, pending_msgs_limit=PENDING_MESSAGES)

    @asynccontextmanager
    async def collecting(self, subject: str, take: Collector) -> AsyncIterator[None]:
        """Hand each message of a subject to ``take`` as it is read, during the block: as `listen`,
        for thousands at once. A task, a queue and a `Msg` take as long again as reading does."""
        subscription = await self.client.subscribe(subject)
        self.client.collectors[subscription._id] = take
        try:
            yield
        finally:
            del self.client.collectors[subscription._id]
            if self.connected:
                with contextlib.suppress(NatsError):  # lost this very moment: it is gone anyway
                    await subscription.unsubscribe()

    async def barrier(self, *, within_s: float = 2.0) -> None:
        """Wait until the server has taken everything that was sent or asked for before, a
        subscription for example. Raises `NotConnected`, `Unanswered`.

        The client's own `flush` pings past what still waits to be written.
        """
        try:
            async with asyncio.timeout(within_s):
                await self._write_out()
                await self.client.flush(timeout=60)
        except TimeoutError as error:
            raise Unanswered("a ping", within_s) from error
        except (NatsError, OSError) as error:
            raise NotConnected from error

    async def finish(self, subscription: Subscription, *, within_s: float = 2.0) -> None:
        """End a subscription after everything that the server sent over it was handled."""
        try:
            async with asyncio.timeout(within_s):
                # The client forgets the subscription once a ping was answered, and pings past
                # what waits to be written: what came before the server knew would be dropped.
                await self.client._send_unsubscribe(subscription._id)
                await self._write_out()
                await subscription.drain()
        except (NatsError, OSError) as error:  # TimeoutError is an OSError
            # The connection is gone or hangs; the client must not subscribe again on the next one.
            log.debug("subscription %s was not ended in order: %r", subscription.subject, error)
            self.client._remove_sub(subscription._id)

    async def close(self) -> None:
        """Close at once; what waits for an answer fails with `Unanswered`. A server that does not
        take what was sent is waited for until `CLOSE_WITHIN_S`."""
        if self._doubting is not None:
            self._doubting.cancel()
        dropping = asyncio.get_running_loop().call_later(CLOSE_WITHIN_S, self.client.drop)
        try:
            await self.client.close()
        except (OSError, NatsError) as error:  # it was lost in the same moment
            log.debug("closing: %s", error)
        except asyncio.CancelledError:
            # The client's own, from the reconnecting that it cancelled; ours goes on.
            task = asyncio.current_task()
            if task is not None and task.cancelling():
                raise
        finally:
            dropping.cancel()
        # The client cancels its reconnecting once and does not look; up to Python 3.11 that can be
        # lost (`cancellation`), and it would go on for ever and hold up the loop's end.
        reconnecting = self.client._reconnection_task
        while reconnecting is not None and not reconnecting.done():
            reconnecting.cancel()
            await asyncio.wait({reconnecting}, timeout=0.1)

    async def _write_out(self) -> None:
        with never_lost():
            await self.client._flush_pending(force_flush=True)

    def _doubt(self) -> None:
        """A request was not answered: perhaps by its responder, perhaps the server itself hangs."""
        if self.connected and (self._doubting is None or self._doubting.done()):
            self._doubting = asyncio.create_task(self._leave_if_hung())

    async def _leave_if_hung(self) -> None:
        link = self.link
        try:
            async with asyncio.timeout(HUNG_AFTER_S):
                await self.client.flush(timeout=60)
            # The client does not ping when nobody would read the answer.
            reading = self.client._reading_task
            hung = reading is None or reading.done()
        except TimeoutError:
            hung = True
        except (NatsError, OSError) as error:  # it was lost in the same moment
            log.debug("pinging: %s", error)
            return
        if hung and self.link == link and self.connected:
            log.warning("the NATS server does not answer; connecting to another")
            await self.client.force_reconnect()

    async def _lost(self) -> None:
        # What was queued for the lost socket must not be flushed into the next one.
        self.client._pending.clear()
        self.client._pending_data_size = 0
        log.warning("connection to NATS lost")
        for listener in self._on_lost:
            await listener()

    async def _connected(self) -> None:
        self.link += 1
        self._unreachable = False
        log.info("connected to NATS again")
        for listener in self._on_connected:
            await listener()

    async def _error(self, error: Exception) -> None:
        if isinstance(error, SlowConsumerError):
            for listener in self._on_slow:
                listener(error.subject)
            log.warning("dropped messages of %s: consumer too slow", error.subject)
        elif isinstance(error, OSError):
            level = logging.DEBUG if self._unreachable else logging.INFO  # it is tried for ever
            log.log(level, "waiting for NATS, it is not reachable: %s", error)
            self._unreachable = True
        else:
            log.warning("NATS: %s", error)


def refusal(subject: str, code: int, err_code: int, description: str) -> Refused:
    """The error for a server's refusal."""
    if err_code in UNAVAILABLE:
        return Unavailable(subject, code, err_code, description)
    if err_code == WRONG_LAST_SEQUENCE:
        return WrongLastSequence(subject, code, err_code, description)
    return Refused(subject, code, err_code, description)


async def connect(settings: BusSettings, *, user: str, name: str, wait_s: float = 30.0) -> Bus:
    """Connect as a bus user (`contracts.accounts`); ``name`` is shown by the server.

    Waits up to ``wait_s`` for the server, then raises `NotConnected`.
    """
    client = _Client()
    bus = Bus(client, name)
    options: dict[str, Any] = {
        "servers": [url.strip() for url in settings.url.split(",")],
        "name": name,
        "nkeys_seed_str": settings.seed,
        "inbox_prefix": inbox_prefix(user),
        "pending_size": 0,
        "max_reconnect_attempts": -1,
        "reconnect_time_wait": 0.1,
        "connect_timeout": 2,
        "ping_interval": 5,
        "max_outstanding_pings": 2,
        "disconnected_cb": bus._lost,
        "reconnected_cb": bus._connected,
        "error_cb": bus._error,
    }
    try:
        async with asyncio.timeout(wait_s):
            while True:
                try:
                    await client.connect(**options)
                    return bus
                except (OSError, nats.errors.NoServersError) as error:
                    log.info("waiting for NATS: %s", error or type(error).__name__)
                    await asyncio.sleep(0.1)
    except (TimeoutError, NatsError) as error:
        raise NotConnected(f"cannot connect to NATS as {user}: {error or 'no answer'}") from error
