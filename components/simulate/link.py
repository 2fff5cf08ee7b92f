"""A process's connection to NATS, as `components.bus.connection` behaves.

Promise, like the real one: what is sent while disconnected fails at once; nothing is kept for
later; an answer that does not come within its time is `Unanswered`, and what was asked may have
been done; after a reconnect subscriptions stand again, watches start over, and messages of the
break are missed. A connection may be cut in either direction: bytes then wait in the network
until it heals, or until one end gives up, which the other may learn much later.
"""

from collections.abc import Callable
from typing import Any

from components.simulate.kv import Entry
from components.simulate.loop import Action
from components.simulate.process import Process
from components.simulate.server import AGAIN_S as REPEATED_S
from components.simulate.server import Server
from components.simulate.streams import Input, Kind
from components.simulate.tasks import Answer
from contracts import storage
from contracts.message import Message

TIMEOUT_S = 2.0
GIVE_UP_S = (1.0, 15.0)
"""An end of a cut connection notices by pings: 5 s apart, two may be missed."""
AGAIN_S = 0.1


class NotConnected(Exception):
    """Not sent: there is no connection."""


class Unanswered(Exception):
    """No answer in time: it may have been done."""


class NoResponder(Exception):
    """Nobody listens to the subject."""


class Connection:
    """One connection: an end here (the client's) and an end there (the server's)."""

    def __init__(self, link: "Link", client: int) -> None:
        self.link = link
        self.client = client
        self.here = True
        self.there = True
        self._up_s = 0.0
        self._down_s = 0.0
        self._held_up: list[Action] = []
        self._held_down: list[Action] = []

    def up(self, action: Action) -> None:
        """Send something to the server."""
        loop = self.link.loop
        self._up_s = max(self._up_s, loop.now_s + _delay(loop.random()))
        loop.at(self._up_s, lambda: self._arrive_up(action))

    def down(self, action: Action) -> None:
        """Send something to the client."""
        loop = self.link.loop
        self._down_s = max(self._down_s, loop.now_s + _delay(loop.random()))
        loop.at(self._down_s, lambda: self._arrive_down(action))

    def heal(self) -> None:
        """What waited in the network arrives."""
        if not self.link.cut_up:
            held, self._held_up = self._held_up, []
            for action in held:
                self._arrive_up(action)
        if not self.link.cut_down:
            held, self._held_down = self._held_down, []
            for action in held:
                self._arrive_down(action)

    def close_there(self, *, advise: bool = True) -> None:
        """The server gives up the connection."""
        if not self.there:
            return
        self.there = False
        server = self.link.server
        server.connections.pop(self.client, None)
        for bucket in server.buckets.values():
            bucket.watches.pop(self.client, None)
        for listening in server.listeners.values():
            listening.pop(self.client, None)
        if advise:
            server.advise(self.client)
        if not self.link.cut_down:
            self.link.loop.after(0.002, self.close_here)

    def close_here(self) -> None:
        """The client gives up the connection (or learns that the server did)."""
        if self.here:
            self.here = False
            self.link.process.receive(self.link.lost)
            if not self.link.cut_up:
                self.link.loop.after(0.002, self.close_there)

    def _arrive_up(self, action: Action) -> None:
        if not self.there:
            return
        if self.link.cut_up or self._held_up:
            self._held_up.append(action)
        else:
            action()

    def _arrive_down(self, action: Action) -> None:
        if not self.here:
            return
        if self.link.cut_down or self._held_down:
            self._held_down.append(action)
        else:
            self.link.process.receive(action)


class Link:
    """The bus as one process sees it."""

    def __init__(self, process: Process, server: Server) -> None:
        self.process = process
        self.loop = process.loop
        self.server = server
        self.cut_up = False
        self.cut_down = False
        self.count = 0
        """Of connections, as `Bus.link`."""
        self.connection: Connection | None = None
        self.on_connected: list[Action] = []
        self.on_lost: list[Action] = []
        self._subscriptions: dict[str, Callable[[Any], None]] = {}
        self._watches: list[_Watch] = []
        process.on_end.append(self._ended)

    @property
    def connected(self) -> bool:
        """Whether there is a connection, as far as the client knows."""
        return self.connection is not None

    @property
    def client(self) -> int:
        """The server's number of the connection."""
        return self.connection.client if self.connection is not None else 0

    # Requests

    async def ask(self, do: Callable[[], Any], timeout_s: float = TIMEOUT_S) -> Any:
        """Let the server do something and wait for what comes of it."""
        connection = self.connection
        if connection is None:
            raise NotConnected
        answer = Answer()

        def arrived() -> None:
            try:
                value, error = do(), None
            except Exception as refused:  # the server's answer is an error: the asker's to judge
                value, error = None, refused
            connection.down(lambda: answer.give(value, error))

        connection.up(arrived)
        self.process.timer(timeout_s, lambda: answer.give(None, Unanswered()))
        return await answer

    async def write(
        self,
        bucket: str,
        key: str,
        value: Message | None,
        revision: int | None = None,
        ttl_s: float | None = None,
    ) -> int:
        """Write a key; with ``revision`` only over that one. Raises `WrongRevision`."""
        store = self.server.buckets[bucket]
        revised: int = await self.ask(lambda: store.write(key, value, revision, ttl_s))
        return revised

    async def read(self, bucket: str, key: str) -> Entry | None:
        """A key, from the bucket's leader."""
        found: Entry | None = await self.ask(lambda: self.server.read(bucket, key))
        return found

    async def read_all(self, bucket: str) -> tuple[dict[str, Entry], int]:
        """All keys of a bucket that hold a value, from its leader, and the revision up to which
        they are complete."""
        found: tuple[dict[str, Entry], int] = await self.ask(lambda: self.server.read_all(bucket))
        return found

    async def append(self, guild: str, kind: Kind, message_id: str, **fields: Any) -> int:
        """Append to a guild's log; returns the sequence."""
        stored: int = await self.ask(lambda: self.server.append(guild, kind, message_id, **fields))
        return stored

    async def inputs_after(self, guild: str, sequence: int, most: int) -> tuple[list[Input], int]:
        """The next inputs of a guild's log, by direct gets; a replica may be behind. And the first
        sequence that the stream still holds."""

        def read() -> tuple[list[Input], int]:
            log = self.server.streams.logs[guild]
            found: list[Input] = []
            at = sequence
            behind = 1 if self.server.clustered and self.loop.happens(0.1) else 0
            while len(found) < most:
                following = log.after(at)
                if following is None or (behind and following.sequence == log.last):
                    break
                found.append(following)
                at = following.sequence
            return found, self.server.streams.first

        read_inputs: tuple[list[Input], int] = await self.ask(read)
        return read_inputs

    async def request(self, subject: str, message: Any) -> None:
        """Send a core message to whoever listens. Raises `NoResponder`."""

        def publish() -> None:
            if not self.server.publish(subject, message):
                raise NoResponder

        await self.ask(publish)

    # What comes unasked

    def listen(self, subject: str, hear: Callable[[Any], None]) -> None:
        """A plain subscription, which survives reconnects."""
        self._subscriptions[subject] = hear
        if self.connection is not None:
            self._subscribe(self.connection, subject, hear)

    def unlisten(self, subject: str) -> None:
        """End a subscription."""
        self._subscriptions.pop(subject, None)
        connection = self.connection
        if connection is not None:
            client = connection.client
            listeners = self.server.listeners
            connection.up(lambda: listeners.get(subject, {}).pop(client, None) and None)

    def watch(
        self,
        bucket: str,
        show: Callable[[Entry], None],
        complete: Callable[[dict[str, Entry]], None],
    ) -> None:
        """Follow a bucket: all that is in it (``complete``), then every change (``show``), and
        after every reconnect again from the start."""
        watch = _Watch(self, bucket, show, complete)
        self._watches.append(watch)
        if self.connection is not None:
            watch.begin(self.connection)

    # The connection

    def connect(self) -> None:
        """Connect as soon as the server can be reached, and again after every break."""
        if self.connection is not None or not self.process.alive:
            return
        if not self.server.up or self.cut_up or self.cut_down:
            self.process.timer(AGAIN_S * (1 + self.loop.random()), self.connect)
            return
        connection = Connection(self, self.server.next_client())
        self.server.connections[connection.client] = connection
        self.connection = connection
        self.count += 1
        for subject, hear in self._subscriptions.items():
            self._subscribe(connection, subject, hear)
        for watch in self._watches:
            watch.begin(connection)
        for listener in self.on_connected:
            listener()

    def lost(self) -> None:
        """The client has noticed that the connection is gone."""
        if self.connection is None or self.connection.here:
            return
        self.connection = None
        for listener in self.on_lost:
            listener()
        self.process.timer(AGAIN_S * (1 + self.loop.random()), self.connect)

    def cut(self, *, up: bool, down: bool, noticed: bool = False) -> None:
        """Bytes do not get through any more in these directions; ``noticed``: the server knows
        at once (a NATS node that died, a router that forgot the connection)."""
        self.cut_up, self.cut_down = up, down
        connection = self.connection
        if connection is not None and connection.here:
            loop = self.loop
            there_s = 0.001 if noticed else loop.between(*GIVE_UP_S)
            loop.after(loop.between(*GIVE_UP_S), lambda: self._give_up(connection, here=True))
            loop.after(there_s, lambda: self._give_up(connection, here=False))

    def heal(self) -> None:
        """Bytes get through again."""
        self.cut_up = self.cut_down = False
        connection = self.connection
        if connection is not None:
            if connection.here:
                connection.heal()
            if not connection.there:
                self.loop.after(0.01, connection.close_here)
            elif not connection.here:
                self.loop.after(0.01, connection.close_there)

    def _give_up(self, connection: Connection, *, here: bool) -> None:
        if not (self.cut_up or self.cut_down):
            return
        if here:
            connection.close_here()
        else:
            connection.close_there()

    def _subscribe(self, connection: Connection, subject: str, hear: Callable[[Any], None]) -> None:
        def told(message: Any) -> None:
            connection.down(lambda: hear(message))

        def subscribed() -> None:
            self.server.listeners.setdefault(subject, {})[connection.client] = told

        connection.up(subscribed)

    def _ended(self) -> None:
        connection = self.connection
        if connection is None:
            return
        connection.here = False
        if not self.cut_up:  # the kernel closes the socket; else the server must notice by itself
            self.loop.after(self.loop.between(0.001, 0.006), connection.close_there)
        else:
            self.loop.after(self.loop.between(*GIVE_UP_S), connection.close_there)


class _Watch:
    """One watch of a bucket: per key in order, late, values in between perhaps left out."""

    def __init__(
        self,
        link: Link,
        bucket: str,
        show: Callable[[Entry], None],
        complete: Callable[[dict[str, Entry]], None],
    ) -> None:
        self._link = link
        self._bucket = link.server.buckets[bucket]
        self._show = show
        self._complete = complete
        self._shown_s = 0.0

    def begin(self, connection: Connection) -> None:
        """Start over on this connection."""
        loop, server = self._link.loop, self._link.server

        def began() -> None:
            present, _ = server.read_all(self._bucket.name)
            connection.down(lambda: self._complete(present))
            # What was written since a stale answer is shown as a change, as ever.
            for entry in self._bucket.entries.values():
                if present.get(entry.key) is not entry and entry.value is not None:
                    changed(entry)
            self._bucket.watches[connection.client] = changed

        def changed(entry: Entry) -> None:
            late_s = loop.random() * 1.5 if loop.happens(0.02) else 0.0
            self._shown_s = max(self._shown_s, loop.now_s + late_s)
            if self._shown_s > loop.now_s:
                loop.at(self._shown_s, lambda: sent(entry))
            else:
                shown(entry)

        def sent(entry: Entry) -> None:
            newest = self._bucket.entries.get(entry.key)
            if newest is not entry and loop.happens(0.5):
                loop.seen["watch skipped a value"] += 1
                return
            shown(entry)

        def shown(entry: Entry) -> None:
            connection.down(lambda: self._show(entry))
            if server.twice and loop.happens(server.twice):
                loop.after(loop.random() * REPEATED_S, lambda: again(entry))

        def again(entry: Entry) -> None:
            if self._bucket.entries.get(entry.key) is entry:
                server.on_twice(
                    f"value of {self._bucket.name}", _guild_of(self._bucket.name, entry)
                )
                connection.down(lambda: self._show(entry))

        connection.up(began)


def _delay(chance: float) -> float:
    """From one process to another: mostly half a millisecond, seldom much longer."""
    if chance < 0.97:
        return 0.0002 + 0.001 * chance
    if chance < 0.997:
        return 0.002 + 2.0 * (chance - 0.97)
    return 0.06 + 100.0 * (chance - 0.997)


def _guild_of(bucket: str, entry: Entry) -> str:
    """The guild that a value is of; empty when it concerns everybody."""
    if bucket == storage.GUILDS:
        return entry.key
    return entry.key.split(".")[1] if bucket == storage.HANDOFFS else ""
