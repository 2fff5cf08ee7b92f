"""Requests to the owner of a guild, ``modbot.rpc.<guild>.<verb>``.

A read is answered from SQLite, after everything up to the caller's `headers.MIN_APPLIED` has been
applied. A write is appended to the guild's log under its request id and answered once it is
applied: an acknowledged write is on the log. Replies carry the epoch and the sequence applied and
pass the gate; a pod that may not act does not answer at all, so that the caller asks again. One
that has let go of the guild says so (`ErrorCode.MOVED`), which is no answer either.

Errors follow the services convention with the codes of `contracts.errors.ErrorCode`. A row that
cannot be read fails the request that needs it (`ErrorCode.UNREADABLE`) and nothing else.
"""

import asyncio
import logging
from collections.abc import Callable, Coroutine
from typing import Any, Final, Protocol

import msgspec
from nats.aio.msg import Msg
from nats.errors import Error as NatsError

from components.bus.connection import Bus
from components.bus.errors import BusError, NotConnected, Refused, TooLarge
from components.gateway.engine.model import CommandReply
from components.gateway.shell.applier import Applier
from components.gateway.shell.door import Door, deadline_s
from components.gateway.shell.errors import GateClosed
from components.gateway.shell.gate import Gate, Permit
from components.gateway.shell.reading import readable
from components.gateway.shell.snapshots import Snapshots
from components.telemetry.traces import carry, span
from contracts import headers, subjects
from contracts.errors import ErrorCode, ServiceError
from contracts.ids import PodId, RequestId, Sequence
from contracts.inputs import Actor, CommandReceived, Input, SkipInput, command_id, skip_id
from contracts.message import MalformedMessage, decode, encode
from contracts.requests import (
    REQUEST_OF_VERB,
    GetDigest,
    GetGuildStatus,
    Request,
    SkipParkedInput,
    TakeSnapshot,
)

log = logging.getLogger(__name__)

MAX_WRITE: Final = 512 * 1024
"""Bytes of a request that writes; its input must fit into a message of 1 MiB."""
MAX_AT_ONCE: Final = 64
"""Requests of one guild under way; one more is told to come back."""


class Progress(Protocol):
    """How far the guild is applied; the guild's side of requests."""

    @property
    def applied(self) -> Sequence:
        """The last applied sequence."""
        ...

    @property
    def parked_at(self) -> Sequence | None:
        """The input at which the guild waits for an operator."""
        ...

    @property
    def refusal(self) -> str:
        """Why the guild is not served; empty when it is."""
        ...

    async def applied_up_to(self, sequence: Sequence) -> None:
        """Wait until everything up to ``sequence`` is applied."""
        ...

    def expect_reply(self, request: RequestId) -> "asyncio.Future[CommandReply]":
        """The reply that the engine gives when the request's input is applied. Cancelled when it
        is awaited no more."""
        ...


class RequestServer:
    """Answers the requests of one guild at one epoch."""

    def __init__(
        self,
        bus: Bus,
        gate: Gate,
        applier: Applier,
        snapshots: Snapshots,
        permit: Permit,
        pod: PodId,
        progress: Progress,
        door: Door,
        spawn: Callable[[Coroutine[Any, Any, None]], asyncio.Task[None]],
    ) -> None:
        self._bus = bus
        self._gate = gate
        self._applier = applier
        self._snapshots = snapshots
        self._permit = permit
        self._pod = pod
        self._progress = progress
        self._door = door
        self._spawn = spawn
        self._under_way: set[asyncio.Task[None]] = set()
        self._stopped = False

    @property
    def awaited(self) -> bool:
        """Whether a request waits for `open`."""
        return self._door.awaited

    async def expect(self) -> None:
        """Let requests in; they wait for `open`."""
        await self._door.open()

    async def open(self) -> None:
        """Begin to answer."""
        await self._door.open()
        await self._door.lead_to(self._received)

    def stop(self) -> None:
        """Answer nothing more; callers under way are told to ask again."""
        self._stopped = True
        for task in self._under_way:
            task.cancel()

    async def close(self) -> None:
        """End the subscription; what still comes over it is told to ask again."""
        self.stop()
        await self._door.close()

    async def _received(self, message: Msg) -> None:
        if self._stopped:
            await self._door.turn_away(message)
            return
        if len(self._under_way) >= MAX_AT_ONCE:
            busy = ServiceError(ErrorCode.UNAVAILABLE, "too many requests at once; ask again")
            await self._reply_error(message, busy)
            return
        task = self._spawn(self._serve(message))
        self._under_way.add(task)
        task.add_done_callback(lambda done: self._ended(done, message))

    def _ended(self, task: asyncio.Task[None], message: Msg) -> None:
        self._under_way.discard(task)
        # Not in the task: one that is cancelled before its first step never runs at all.
        if task.cancelled() and self._stopped:
            self._spawn(self._door.turn_away(message))

    async def _serve(self, message: Msg) -> None:
        fields = dict(message.headers or {})
        with span("request", parent=fields.get(headers.TRACEPARENT, "")):
            try:
                async with asyncio.timeout(deadline_s(fields)):
                    body = await self._answer(message.subject, message.data, fields)
            except ServiceError as error:
                await self._reply_error(message, error)
            except TimeoutError:
                late = ServiceError(
                    ErrorCode.TIMEOUT,
                    "not applied inside the deadline; ask again with the same request id",
                )
                await self._reply_error(message, late)
            except GateClosed as closed:
                log.info("request is left to the next owner: %s", closed.reason)
                await self._door.turn_away(message)
            except BusError as error:
                log.info("request is not answered: %s", error)
            except Exception:
                # Whatever a request from outside sets off, the pod must not die of it.
                log.exception("request on %s failed", message.subject)
                broken = ServiceError(ErrorCode.UNAVAILABLE, "the owner could not answer this")
                await self._reply_error(message, broken)
            else:
                await self._reply(message, body, {})

    async def _answer(self, subject: str, data: bytes, fields: dict[str, str]) -> bytes:
        _, verb = subjects.guild_and_verb(subject)
        request = _parse(verb, data)
        if self._progress.refusal:
            raise ServiceError(ErrorCode.UNAVAILABLE, self._progress.refusal)
        minimum = fields.get(headers.MIN_APPLIED)
        if minimum is not None:
            if not _is_number(minimum):
                raise ServiceError(
                    ErrorCode.MALFORMED, f"{headers.MIN_APPLIED} must be a sequence number"
                )
            await self._progress.applied_up_to(Sequence(int(minimum)))
        if isinstance(request, SkipParkedInput):
            return await self._skip(request)
        if isinstance(request, TakeSnapshot):
            self._gate.check(self._permit)
            return encode(await self._snapshots.take(self._permit.guild, request))
        if request.writes:
            return await self._write(request, data, fields)
        return await self._read(request)

    async def _read(self, request: Request) -> bytes:
        self._gate.check(self._permit)
        read = self._applier.read
        if isinstance(request, GetDigest):
            read = self._applier.read_aside  # of every row: half a second for 100,000 of them
        guild = self._permit.guild
        return await read(
            lambda engine: readable(
                guild,
                lambda: encode(
                    engine.read(guild, request, pod=self._pod, epoch=self._permit.epoch)
                ),
            )
        )

    async def _write(self, request: Request, data: bytes, fields: dict[str, str]) -> bytes:
        name = fields.get(headers.REQUEST_ID, "")
        if not 0 < len(name) <= 100 or not name.isascii() or not name.isprintable():
            raise ServiceError(
                ErrorCode.MALFORMED,
                f"a request that writes needs the header {headers.REQUEST_ID}: 1 to 100 "
                "characters that name it",
            )
        if len(data) > MAX_WRITE:
            raise ServiceError(ErrorCode.TOO_LARGE, f"at most {MAX_WRITE} bytes a request")
        if self._progress.parked_at is not None:
            raise ServiceError(
                ErrorCode.PARKED,
                f"the guild waits at input {self._progress.parked_at}; see status, then input.skip",
            )
        request_id = RequestId(name)
        actor: Actor = request.actor  # type: ignore[attr-defined]  # every request that writes
        command = CommandReceived(
            request_id=request_id, verb=request.verb, actor=actor, arguments=msgspec.Raw(data)
        )
        expected = self._progress.expect_reply(request_id)
        try:
            sequence = await self._append(command, command_id(self._permit.guild, request_id))
            await self._progress.applied_up_to(sequence)
            if expected.done():
                return _body(expected.result())
        finally:
            expected.cancel()
        # The append was a repetition: the reply was given when the first one was applied.
        guild = self._permit.guild
        kept = await self._applier.read(
            lambda engine: readable(guild, lambda: engine.reply(guild, request_id))
        )
        if kept is None:
            raise ServiceError(
                ErrorCode.CONFLICT, "the request was answered too long ago; use a new id"
            )
        return _body(kept)

    async def _skip(self, request: SkipParkedInput) -> bytes:
        if self._progress.parked_at != request.sequence:
            raise ServiceError(
                ErrorCode.CONFLICT, f"the guild is not parked at input {request.sequence}"
            )
        if request.actor.kind != "operator":
            raise ServiceError(ErrorCode.FORBIDDEN, "only an operator may skip an input")
        word = SkipInput(sequence=request.sequence, reason=request.reason, actor=request.actor)
        await self._append(word, skip_id(self._permit.guild, request.sequence))
        await self._progress.applied_up_to(request.sequence)
        return await self._read(GetGuildStatus())

    async def _append(self, command: Input, name: str) -> Sequence:
        self._gate.check(self._permit)
        try:
            stored = await self._bus.append(
                subjects.inputs(self._permit.guild),
                encode(command),
                carry({headers.MSG_ID: name}),
            )
        except Refused as error:
            raise ServiceError(
                ErrorCode.UNAVAILABLE, f"the log takes nothing at the moment: {error.description}"
            ) from error
        return Sequence(stored.sequence)

    async def _reply_error(self, message: Msg, error: ServiceError) -> None:
        fields = {
            headers.SERVICE_ERROR: " ".join(error.description.split()),
            headers.SERVICE_ERROR_CODE: str(error.code),
        }
        await self._reply(message, encode(error.body()), fields)

    async def _reply(self, message: Msg, body: bytes, fields: dict[str, str]) -> None:
        fields[headers.EPOCH] = str(self._permit.epoch)
        fields[headers.APPLIED] = str(self._progress.applied)
        try:
            self._gate.check(self._permit)
            await self._bus.say(message.reply, body, carry(fields))
        except GateClosed as closed:
            log.info("reply is not sent: %s", closed.reason)
            await self._door.turn_away(message)
        except NotConnected as error:
            log.info("reply is not sent: %s", error)
        except TooLarge as error:
            log.warning("reply on %s cannot be sent: %s", message.subject, error)
            less = ServiceError(ErrorCode.TOO_LARGE, "the answer is too large; ask for less")
            await self._reply_error(message, less)
        except NatsError as error:
            log.warning("reply on %s cannot be sent: %s", message.subject, error)


def _parse(verb: str, data: bytes) -> Request:
    kind = REQUEST_OF_VERB.get(verb)
    if kind is None:
        known = ", ".join(sorted(REQUEST_OF_VERB))
        raise ServiceError(ErrorCode.UNKNOWN_VERB, f"unknown verb; there are: {known}")
    try:
        return decode(data or b"{}", kind)
    except MalformedMessage as error:
        raise ServiceError(ErrorCode.MALFORMED, f"{verb}: {error.reason}") from error


def _is_number(value: str) -> bool:
    return value.isascii() and value.isdigit() and len(value) < 19


def _body(reply: CommandReply) -> bytes:
    if reply.error is not None:
        raise reply.error
    return reply.body
