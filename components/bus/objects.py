"""An object store: values larger than a message, in chunks, as ``nats object`` reads them too.

The client's own store needs rights that no component has (it looks streams up by subject) and
waits for each chunk before the next. A name is used once: its chunks lie under it, so that a
reader who was told name, size and digest asks for nothing else.

Chunks are stored several at a time; a change of the stream's leader may then turn two round.
Whoever reads compares the digest, and asks for another object when it differs. Fails with
`BusError`; a `put` that fails leaves nothing that its age does not remove.
"""

import asyncio
import base64
import contextlib
import hashlib
from datetime import UTC, datetime
from typing import Final

import msgspec

from components.bus import stream
from components.bus.connection import Bus, refusal
from components.bus.errors import BusError, Unanswered
from components.telemetry.traces import carry

CHUNK: Final = 512 * 1024
"""Bytes; half of the server's ``max_payload``. Chunks of 128 KB take three times as long."""
AT_ONCE: Final = 4
"""Chunks of one object that are not acknowledged yet."""


class DamagedObject(BusError):
    """What the store holds is not what was put: a chunk is missing or out of place."""

    def __init__(self, name: str, reason: str) -> None:
        super().__init__(f"object {name}: {reason}")
        self.name = name


class _Error(msgspec.Struct):
    code: int = 0
    err_code: int = 0
    description: str = ""


class _Purged(msgspec.Struct):
    error: _Error | None = None


class Objects:
    """One object store of `contracts.storage`. Names are letters, digits, ``-`` and ``_``."""

    def __init__(self, bus: Bus, name: str) -> None:
        self._bus = bus
        self._name = name
        self._stream = f"OBJ_{name}"

    async def put(self, name: str, data: bytes, *, timeout_s: float = 10.0) -> str:
        """Store an object under a new name; returns its SHA-256 in hexadecimal."""
        digest = hashlib.sha256(data)
        subject = self._chunks(name)
        chunks = [data[start : start + CHUNK] for start in range(0, len(data), CHUNK)]
        try:
            async with asyncio.timeout(timeout_s):
                for start in range(0, len(chunks), AT_ONCE):
                    await _all_stored(self._bus, subject, chunks[start : start + AT_ONCE])
                about = {
                    "name": name,
                    "options": {"max_chunk_size": CHUNK},
                    "bucket": self._name,
                    "nuid": name,
                    "size": len(data),
                    "mtime": datetime.now(UTC).isoformat(),
                    "chunks": len(chunks),
                    "digest": f"SHA-256={base64.urlsafe_b64encode(digest.digest()).decode()}",
                }
                await self._bus.append(
                    self._about(name), msgspec.json.encode(about), carry({"Nats-Rollup": "sub"})
                )
        except BaseException as error:
            with contextlib.suppress(BusError):  # the store removes it by its age
                await self.delete(name)
            if isinstance(error, TimeoutError):
                raise Unanswered(subject, timeout_s) from error
            raise
        return digest.hexdigest()

    async def get(self, name: str, size: int, sha256: str, *, timeout_s: float = 10.0) -> bytes:
        """The object that was put as ``size`` bytes with this digest. Raises `DamagedObject`."""
        parts: list[bytes] = []
        missing = size
        at = 1
        try:
            async with asyncio.timeout(timeout_s):
                while missing > 0:
                    for message in await self._next(name, at, missing):
                        parts.append(message.data)
                        missing -= len(message.data)
                        at = message.sequence + 1
        except TimeoutError as error:
            raise Unanswered(self._chunks(name), timeout_s) from error
        data = b"".join(parts)
        if missing < 0 or hashlib.sha256(data).hexdigest() != sha256:
            raise DamagedObject(name, "its chunks are not those that were put")
        return data

    async def delete(self, name: str) -> None:
        """Remove every trace of the object; one that is not there is no error."""
        for subject in (self._chunks(name), self._about(name)):
            asked = f"$JS.API.STREAM.PURGE.{self._stream}"
            answer = await self._bus.ask(asked, msgspec.json.encode({"filter": subject}))
            error = msgspec.json.decode(answer.data, type=_Purged).error
            if error is not None:
                raise refusal(asked, error.code, error.err_code, error.description)

    async def _next(self, name: str, start: int, missing: int) -> list[stream.StoredMessage]:
        """Some of the chunks from sequence ``start`` on, at least one."""
        subject = self._chunks(name)
        # A batch may come from a replica that is behind, and one that begins below the stream's
        # first message may look empty (facts.md): where to begin is the leader's word.
        first = await stream.first_of_subject(self._bus, self._stream, subject, start)
        if first is None:
            raise DamagedObject(name, "it is gone, or chunks of it are")
        if len(first.data) >= missing:
            return [first]
        batch = await stream.read_batch(
            self._bus, self._stream, subject, first.sequence, batch=8 * AT_ONCE
        )
        return batch or [first]

    def _chunks(self, name: str) -> str:
        return f"$O.{self._name}.C.{name}"

    def _about(self, name: str) -> str:
        return f"$O.{self._name}.M.{base64.urlsafe_b64encode(name.encode()).decode()}"


async def _all_stored(bus: Bus, subject: str, chunks: list[bytes]) -> None:
    """Append the chunks in order, without waiting for one before the next is sent."""
    appends = [asyncio.ensure_future(bus.append(subject, chunk, carry({}))) for chunk in chunks]
    try:
        await asyncio.gather(*appends)
    finally:
        for append in appends:
            append.cancel()
