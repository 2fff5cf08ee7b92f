"""Reading streams without consumers: batched direct gets, last messages, the stream's bounds.

Direct gets come from any replica and may be behind; `last_of_subject` and `first_of_subject`
come from the stream's leader. The only barrier is an append's acknowledgement (facts.md).
"""

import asyncio
import base64
import functools
from collections.abc import Sequence as Seq
from datetime import datetime

import msgspec
from nats.aio.msg import Msg

from components.bus.connection import Bus, parse_fields, refusal
from components.bus.errors import Unanswered
from contracts import headers
from contracts.ids import Sequence

NOT_FOUND = 10037
"""err_code: no message found."""
BATCH_END = "204"
NO_MESSAGE = "404"
MULTI_LAST_LIMIT = 1024
"""Subjects of one ``multi_last`` request (facts.md)."""


class StoredMessage(msgspec.Struct, frozen=True, kw_only=True):
    """A message as it lies in a stream."""

    subject: str
    sequence: Sequence
    stored_ms: int
    headers: dict[str, str]
    data: bytes


class StreamBounds(msgspec.Struct, frozen=True, kw_only=True):
    """What a stream holds: ``first`` and ``last`` sequences (first = last + 1 when empty)."""

    generation: str
    first: Sequence
    last: Sequence
    messages: int


class LastSequences(msgspec.Struct, frozen=True, kw_only=True):
    """The last sequence of each subject that has one, complete up to ``up_to``."""

    sequences: dict[str, Sequence]
    up_to: Sequence


def stored_message(message: Msg) -> StoredMessage:
    """A republished message as a `StoredMessage`."""
    return _stored({headers.SUBJECT: message.subject, **(message.headers or {})}, message.data)


def _stored(fields: dict[str, str], data: bytes) -> StoredMessage:
    return StoredMessage(
        subject=fields[headers.SUBJECT],
        sequence=Sequence(int(fields[headers.SEQUENCE])),
        stored_ms=milliseconds(fields[headers.TIME_STAMP]),
        headers=fields,
        data=data,
    )


async def read_batch(
    bus: Bus,
    stream: str,
    subject: str,
    start: Sequence,
    *,
    batch: int = 1000,
    max_bytes: int = 8 * 1024 * 1024,
    timeout_s: float = 5.0,
) -> list[StoredMessage]:
    """Up to ``batch`` messages of one subject from sequence ``start`` on, in order.

    An empty list means that there are none (as far as the answering replica knows). Raises
    `Unanswered` when the batch did not end inside the deadline; nothing of it is returned then.
    """
    request = {"seq": start, "next_by_subj": subject, "batch": batch, "max_bytes": max_bytes}
    messages, _ = await _batch(bus, stream, request, timeout_s)
    return messages


async def last_sequences(
    bus: Bus, stream: str, subjects: Seq[str], *, timeout_s: float = 5.0
) -> LastSequences:
    """The last sequence of each subject, by ``multi_last`` in one request (at most 1,024)."""
    if len(subjects) > MULTI_LAST_LIMIT:
        raise ValueError(f"at most {MULTI_LAST_LIMIT} subjects a request")
    messages, end = await _batch(bus, stream, {"multi_last": list(subjects)}, timeout_s)
    up_to = int(end.get("Nats-UpTo-Sequence", "0"))
    return LastSequences(
        sequences={message.subject: message.sequence for message in messages},
        up_to=Sequence(up_to),
    )


async def last_of_subject(
    bus: Bus, stream: str, subject: str, *, timeout_s: float = 2.0
) -> StoredMessage | None:
    """The last message of a subject (which may hold wildcards), from the leader."""
    return await _message_get(bus, stream, {"last_by_subj": subject}, timeout_s)


async def first_of_subject(
    bus: Bus, stream: str, subject: str, start: int = 1, *, timeout_s: float = 2.0
) -> StoredMessage | None:
    """The first message of a subject at or after ``start``, from the leader."""
    request: dict[str, object] = {"seq": max(1, start), "next_by_subj": subject}
    return await _message_get(bus, stream, request, timeout_s)


async def bounds(bus: Bus, stream: str, *, timeout_s: float = 2.0) -> StreamBounds:
    """The stream's generation and bounds."""
    message = await bus.ask(f"$JS.API.STREAM.INFO.{stream}", b"", timeout_s=timeout_s)
    info = _decode_info(message.data)
    _raise(stream, info.error)
    return StreamBounds(
        generation=info.created,
        first=Sequence(info.state.first_seq),
        last=Sequence(info.state.last_seq),
        messages=info.state.messages,
    )


class _Error(msgspec.Struct):
    code: int = 0
    err_code: int = 0
    description: str = ""


class _State(msgspec.Struct, frozen=True):
    first_seq: int = 0
    last_seq: int = 0
    messages: int = 0


class _Info(msgspec.Struct):
    created: str = ""
    state: _State = _State()
    error: _Error | None = None


class _Raw(msgspec.Struct):
    subject: str = ""
    seq: int = 0
    time: str = ""
    data: str = ""
    hdrs: str = ""


class _Got(msgspec.Struct):
    message: _Raw | None = None
    error: _Error | None = None


_decode_info = msgspec.json.Decoder(_Info).decode
_decode_got = msgspec.json.Decoder(_Got).decode


async def _message_get(
    bus: Bus, stream: str, request: dict[str, object], timeout_s: float
) -> StoredMessage | None:
    subject = f"$JS.API.STREAM.MSG.GET.{stream}"
    answer = await bus.ask(subject, msgspec.json.encode(request), timeout_s=timeout_s)
    got = _decode_got(answer.data)
    if got.error is not None and got.error.err_code == NOT_FOUND:
        return None
    _raise(subject, got.error)
    if got.message is None:
        return None
    raw = got.message
    return StoredMessage(
        subject=raw.subject,
        sequence=Sequence(raw.seq),
        stored_ms=milliseconds(raw.time),
        headers=parse_headers(base64.b64decode(raw.hdrs))[1],
        data=base64.b64decode(raw.data),
    )


async def _batch(
    bus: Bus, stream: str, request: dict[str, object], timeout_s: float
) -> tuple[list[StoredMessage], dict[str, str]]:
    """A direct get with many answers; ends with an empty message of status 204 (or 404)."""
    inbox = bus.client.new_inbox()
    subject = f"$JS.API.DIRECT.GET.{stream}"
    found: list[StoredMessage] = []
    ended: asyncio.Future[dict[str, str]] = asyncio.get_running_loop().create_future()

    def answered(block: bytes, data: bytes) -> None:
        if ended.done():
            return
        try:
            status, fields = parse_headers(block)
            if not status:
                found.append(_stored(fields, data))
            elif (code := status[:3]) in (BATCH_END, NO_MESSAGE):
                ended.set_result(fields)
            else:
                why = status[3:].strip()
                ended.set_exception(refusal(subject, int(code), 0, why))
        except (KeyError, ValueError) as error:
            ended.set_exception(error)

    async with bus.collecting(inbox, answered):
        try:
            async with asyncio.timeout(timeout_s):
                await bus.say(subject, msgspec.json.encode(request), reply=inbox)
                return found, await ended
        except TimeoutError as error:
            raise Unanswered(subject, timeout_s) from error


def _raise(subject: str, error: _Error | None) -> None:
    if error is not None:
        raise refusal(subject, error.code, error.err_code, error.description)


def parse_headers(block: bytes) -> tuple[str, dict[str, str]]:
    """``NATS/1.0[ status]\\r\\nName: value\\r\\n…`` as the status (code and words, empty without
    one) and a mapping (`parse_fields`)."""
    first, _, lines = block.partition(b"\r\n")
    status = first.removeprefix(b"NATS/1.0").decode("utf-8", "replace").strip()
    return status, parse_fields(lines)


def milliseconds(timestamp: str) -> int:
    """Milliseconds since 1970 of an RFC 3339 time with up to nanoseconds."""
    head, _, fraction = timestamp.rstrip("Z").partition(".")
    return _seconds(head) * 1000 + int((fraction + "000")[:3])


@functools.lru_cache(maxsize=64)
def _seconds(timestamp: str) -> int:
    """Hundreds of messages that follow each other are of one second."""
    return int(datetime.fromisoformat(timestamp + "+00:00").timestamp())
