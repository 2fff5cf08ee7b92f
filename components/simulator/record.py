"""The record: an append-only list of everything that happened, numbered without gaps.

Bounded: past `limit` entries the oldest go and `first` rises, so a reader sees that it missed some.

Kinds and their data:
- `message_create|message_update|message_delete`: what the world did, with its ids and content
- `dispatch`: kept for a session and (`sent`) handed to its socket: seq, event, guild_id, subject_id
- `rest`: time received, method, route, path, status, code, body, caller, duration_ms
- `gateway`: connect, identify, ready, resume, resumed, heartbeat, close, with session and details
- `interaction`: created, delivered, answered, refused, expired
- `probe`: one signed or badly signed request to an interactions endpoint, and what came back
- `violation`: a body or dispatch that does not fit Discord's specification
- `ban`: an address that had too many invalid requests, from then on
- `fault`: an injected fault that took effect
"""

import asyncio
from collections.abc import AsyncIterator, Iterator
from typing import Any

import msgspec

from components.simulator.clock import Clock

_CHUNK = 1000


class Entry(msgspec.Struct, frozen=True, kw_only=True):
    n: int
    at_ms: float
    kind: str
    data: dict[str, Any]


class Record:
    def __init__(self, clock: Clock, limit: int) -> None:
        self._clock = clock
        self._limit = limit
        # Entry n is in chunk (n - 1) // _CHUNK, so that any page is found without a walk.
        self._chunks: dict[int, list[Entry]] = {}
        self._last = 0
        self._oldest_chunk = 0
        self._grown = asyncio.Event()
        self._awaited = False
        self._closed = False

    @property
    def first(self) -> int:
        """The number of the oldest entry still kept (or the first one to come)."""
        return self._oldest_chunk * _CHUNK + 1

    @property
    def last(self) -> int:
        """The number of the newest entry; 0 before there is one."""
        return self._last

    def add(self, kind: str, data: dict[str, Any], at_ms: float | None = None) -> int:
        """Append an entry and return its number."""
        n = self._last = self._last + 1
        now = self._clock.now_ms() if at_ms is None else at_ms
        entry = Entry(n=n, at_ms=now, kind=kind, data=data)
        chunk = self._chunks.setdefault((n - 1) // _CHUNK, [])
        chunk.append(entry)
        if n - self.first >= self._limit + _CHUNK:
            del self._chunks[self._oldest_chunk]
            self._oldest_chunk += 1
        if self._awaited:
            self._awaited = False
            self._grown.set()
            self._grown = asyncio.Event()
        return n

    def close(self) -> None:
        """End every follower: nothing more will come."""
        self._closed = True
        self._grown.set()

    def since(
        self, n: int, kinds: frozenset[str] | None = None, limit: int = 1000
    ) -> tuple[list[Entry], int]:
        """Entries numbered above `n`, at most `limit` of them, and the number to go on from."""
        found: list[Entry] = []
        reached = max(n, self.first - 1)
        for entry in self._after(reached):
            reached = entry.n
            if kinds is None or entry.kind in kinds:
                found.append(entry)
                if len(found) == limit:
                    break
        return found, reached

    async def follow(self, n: int, kinds: frozenset[str] | None) -> AsyncIterator[list[Entry]]:
        """Entries above `n` in batches, as they come, until the record is closed."""
        while not self._closed:
            found, n = self.since(n, kinds)
            if found:
                yield found
            elif n >= self._last:
                self._awaited = True
                await self._grown.wait()

    def _after(self, n: int) -> Iterator[Entry]:
        while n < self._last:
            chunk = self._chunks[n // _CHUNK]
            yield from chunk[n % _CHUNK :]
            n += len(chunk) - n % _CHUNK
