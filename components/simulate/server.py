"""NATS: the buckets, the streams, and who is connected.

One server stands for the cluster: writes have one order and are not lost once acknowledged. What
a cluster adds is in the answers: some are lost, and some reads are answered by a deposed leader.
"""

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from components.simulate.kv import Entry, KeyValues
from components.simulate.loop import Loop
from components.simulate.streams import Input, Kind, Streams
from contracts import storage

if TYPE_CHECKING:
    from components.simulate.link import Connection

BUCKETS = (
    storage.PODS,
    storage.GUILDS,
    storage.LEADERS,
    storage.HANDOFFS,
    storage.ENDS,
    storage.REGISTRY,
    storage.INTENT,
    storage.LOADS,
)
CREATED = "20260101T000000Z"
"""The creation of the buckets and of INPUTS, as incarnations and checkpoints name it."""

AGAIN_S = 0.5
"""How late a message comes at most that is out of order or is delivered again."""


class Server:
    """The bus and its store."""

    def __init__(self, loop: Loop, guilds: list[str], *, clustered: bool) -> None:
        self.loop = loop
        self.up = True
        self.clustered = clustered
        rate = 1.0 + loop.between(-0.045, 0.045)
        self.buckets = {name: KeyValues(loop, name, rate) for name in BUCKETS}
        self.streams = Streams(guilds)
        self.connections: dict[int, Connection] = {}
        self.listeners: dict[str, dict[int, Callable[[Any], None]]] = {}
        self.live_lost = 0.0
        """Share of live messages that a subscriber never gets."""
        self.live_late = 0.0
        """Share of live messages that come out of order."""
        self.advisories_lost = 0.0
        self.twice = 0.0
        """Share of live messages, of values that a watch shows and of advisories that are delivered
        again: a live message and an advisory at any time, a value before any newer one of its
        key."""
        self.on_twice: Callable[[str, str], None] = lambda what, guild: None
        """Called with what is delivered again, and the guild that it is of."""
        self._connected = 0

    def next_client(self) -> int:
        """The number of one more connection."""
        self._connected += 1
        return self._connected

    def append(self, guild: str, kind: Kind, message_id: str, **fields: Any) -> int:
        """Store an input and republish it to who listens."""
        sequence, given = self.streams.append(guild, kind, message_id, **fields)
        if given is not None:
            self._republish(guild, given)
        return sequence

    def read(self, bucket: str, key: str) -> Entry | None:
        """A key, mostly as it is."""
        return self.buckets[bucket].read(key, self._stale_s())

    def read_all(self, bucket: str) -> tuple[dict[str, Entry], int]:
        """A bucket, mostly as it is, and the revision up to which that is complete."""
        return self.buckets[bucket].read_all(self._stale_s())

    def publish(self, subject: str, message: Any) -> int:
        """Give a core message to everyone who listens; returns how many."""
        listening = self.listeners.get(subject)
        if not listening:
            return 0
        for hear in tuple(listening.values()):
            hear(message)
        return len(listening)

    def go_down(self) -> None:
        """NATS is away, its disks are kept."""
        self.up = False
        for bucket in self.buckets.values():
            bucket.serving = False
        for connection in tuple(self.connections.values()):
            connection.close_there(advise=False)
            self.loop.after(self.loop.between(0.001, 0.02), connection.close_here)

    def come_up(self) -> None:
        """NATS is back."""
        self.up = True
        for bucket in self.buckets.values():
            bucket.serving = True

    def advise(self, client: int) -> None:
        """Tell who listens that a connection is gone."""
        if self.up and not self.loop.happens(self.advisories_lost):
            self.publish("sys.disconnect", client)
            if self.twice and self.loop.happens(self.twice):
                self.on_twice("advisory", "")
                self.loop.after(self.loop.random() * AGAIN_S, lambda: self._advise_again(client))

    def _advise_again(self, client: int) -> None:
        self.publish("sys.disconnect", client)

    def _republish(self, guild: str, given: Input) -> None:
        listening = self.listeners.get(guild)
        if not listening:
            return
        for hear in tuple(listening.values()):
            if self.live_lost and self.loop.happens(self.live_lost):
                self.loop.seen["live message lost"] += 1
            elif self.live_late and self.loop.happens(self.live_late):
                self.loop.after(self.loop.random() * AGAIN_S, _told(hear, given))
            else:
                hear(given)
            if self.twice and self.loop.happens(self.twice):
                self.on_twice("live message", guild)
                self.loop.after(self.loop.random() * AGAIN_S, _told(hear, given))

    def _stale_s(self) -> float:
        if self.clustered and self.loop.happens(0.02):
            self.loop.seen["stale read"] += 1
            return self.loop.random() * 2.0
        return 0.0


def _told(hear: Callable[[Any], None], message: Any) -> Callable[[], None]:
    return lambda: hear(message)
