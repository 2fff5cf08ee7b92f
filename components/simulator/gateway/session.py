"""A gateway session: its sequence, what it can replay, and the socket it has or lacks.

It outlives its socket: dispatches go on into the replay buffer until it is resumed or expires.
docs: events/gateway#resuming
"""

from collections import deque
from collections.abc import Callable
from itertools import islice
from typing import Any

import msgspec

from components.simulator.gateway.protocol import shard_of
from components.simulator.world.entities import Application, Guild


class Dispatch(msgspec.Struct, frozen=True):
    seq: int
    payload: bytes


class Session:
    def __init__(
        self,
        session_id: str,
        application: Application,
        intents: int,
        shard: tuple[int, int],
        large_threshold: int,
        buffer: int,
    ) -> None:
        self.id = session_id
        self.application = application
        self.intents = intents
        self.shard = shard
        self.large_threshold = large_threshold
        self.seq = 0
        self.confirmed = 0
        self.send: Callable[[bytes], None] | None = None
        self.expires_at: float | None = None
        self._replay: deque[Dispatch] = deque(maxlen=buffer)

    def wants(self, guild: Guild | None) -> bool:
        """Whether a guild (None: direct messages, which are shard 0's) belongs to its shard."""
        index, count = self.shard
        return index == (0 if guild is None else shard_of(guild.id, count))

    def dispatch(self, name: str, data: bytes) -> int:
        """Number an encoded event, keep it for a replay and send it when there is a socket."""
        self.seq += 1
        payload = b'{"op":0,"s":%d,"t":"%b","d":%b}' % (self.seq, name.encode(), data)
        self._replay.append(Dispatch(self.seq, payload))
        if self.send is not None:
            self.send(payload)
        return self.seq

    def confirm(self, seq: int, drop: bool) -> None:
        """A heartbeat named `seq`. In strict mode nothing up to it can be replayed any more."""
        self.confirmed = max(self.confirmed, min(seq, self.seq))
        if drop:
            while self._replay and self._replay[0].seq <= self.confirmed:
                self._replay.popleft()

    def can_replay(self, seq: int) -> bool:
        """Whether everything after `seq` is still here."""
        oldest = self._replay[0].seq if self._replay else self.seq + 1
        return oldest - 1 <= seq <= self.seq

    def missed(self, seq: int) -> list[bytes]:
        """The payloads after `seq`, in order."""
        count = self.seq - seq
        start = len(self._replay) - count
        return [d.payload for d in islice(self._replay, start, None)]

    def describe(self) -> dict[str, Any]:
        """For the control API."""
        return {
            "id": self.id,
            "application_id": str(self.application.id),
            "shard": list(self.shard),
            "intents": self.intents,
            "seq": self.seq,
            "confirmed": self.confirmed,
            "buffered": len(self._replay),
            "connected": self.send is not None,
        }
