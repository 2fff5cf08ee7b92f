"""Key-value buckets as NATS has them: one order of writes, and late or partial news of it.

A write is a compare-and-set at the bucket's leader. A read is answered by the leader, which may be
deposed without knowing it and then answers from a while ago (`View.stale_s`). A watch shows every
key in the order of its own writes, late; a value that was overwritten meanwhile may never be shown
(history 1). A key with a time to live expires by the server's clock, late, and some never do
(`components.bus.staleness`).
"""

from collections.abc import Callable

from components.bus.entries import Entry as BusEntry
from components.simulate.loop import Loop
from contracts.message import Message

EXPIRES_LATE_S = 0.3
EXPIRES_VERY_LATE_S = 4.0
HISTORY_S = 3.0


class WrongRevision(Exception):
    """The key was written by somebody else meanwhile."""


class Entry:
    """The latest write to a key; ``value`` None: deleted or expired."""

    __slots__ = ("encoded", "expired", "expires", "key", "revision", "value", "written_s")

    def __init__(self, key: str, value: Message | None, revision: int, written_s: float) -> None:
        self.key = key
        self.value = value
        self.revision = revision
        self.written_s = written_s
        self.expires = False
        self.expired = False
        self.encoded: BusEntry | None = None
        """As `components.bus` shows it."""


Watch = Callable[[Entry], None]


class KeyValues:
    """One bucket."""

    def __init__(self, loop: Loop, name: str, server_rate: float) -> None:
        self.name = name
        self.entries: dict[str, Entry] = {}
        self.revision = 0
        self.watches: dict[int, Watch] = {}
        self.on_write: list[Watch] = []
        """Called at the moment of the write: how the simulation itself looks on."""
        self.immortal_share = 0.0
        """Share of keys with a time to live that do not expire."""
        self.serving = True
        self._loop = loop
        self._rate = server_rate
        self._past: dict[str, list[Entry]] = {}

    def write(
        self, key: str, value: Message | None, revision: int | None, ttl_s: float | None
    ) -> int:
        """Write; with ``revision`` only if it is the key's last one. Returns the new one."""
        known = self.entries.get(key)
        if revision is not None and (known.revision if known is not None else 0) != revision:
            raise WrongRevision
        self.revision += 1
        entry = Entry(key, value, self.revision, self._loop.now_s)
        if known is not None:
            self._remember(known)
        self.entries[key] = entry
        if ttl_s is not None and value is not None:
            self._expire_after(ttl_s, entry)
        for look in self.on_write:
            look(entry)
        for watch in tuple(self.watches.values()):
            watch(entry)
        return self.revision

    def read(self, key: str, stale_s: float = 0.0) -> Entry | None:
        """The key's entry, as it was ``stale_s`` ago."""
        entry = self.entries.get(key)
        if stale_s and entry is not None and entry.written_s > self._loop.now_s - stale_s:
            before = self._loop.now_s - stale_s
            older = [past for past in self._past.get(key, ()) if past.written_s <= before]
            entry = older[-1] if older else None
        return entry

    def read_all(self, stale_s: float = 0.0) -> tuple[dict[str, Entry], int]:
        """All keys that hold a value, in the order of their last writes, and the revision up to
        which they are complete."""
        found = [entry for key in self.entries if (entry := self.read(key, stale_s)) is not None]
        present = [entry for entry in found if entry.value is not None]
        present.sort(key=lambda entry: entry.revision)
        end = max((entry.revision for entry in found), default=0)
        return {entry.key: entry for entry in present}, end

    def _remember(self, entry: Entry) -> None:
        past = self._past.setdefault(entry.key, [])
        past.append(entry)
        if len(past) > 64:
            oldest_s = self._loop.now_s - HISTORY_S
            kept = [each for each in past[:-1] if each.written_s > oldest_s]
            self._past[entry.key] = past[-(len(kept) + 2) :]

    def _expire_after(self, ttl_s: float, entry: Entry) -> None:
        if self._loop.happens(self.immortal_share):
            return
        late_s = self._loop.random() * EXPIRES_LATE_S
        if self._loop.happens(0.02):
            late_s = self._loop.random() * EXPIRES_VERY_LATE_S
        entry.expires = True
        self._loop.after(ttl_s / self._rate + late_s, lambda: self._expire(entry))

    def jump(self) -> None:
        """The server's wall clock jumps ahead: whatever can expire does so now."""
        for entry in list(self.entries.values()):
            if entry.expires and entry.value is not None:
                self._expire(entry)

    def _expire(self, entry: Entry) -> None:
        if self.entries.get(entry.key) is not entry:
            return
        if not self.serving:
            self._loop.after(self._loop.between(0.05, 1.0), lambda: self._expire(entry))
            return
        self.write(entry.key, None, None, None)
        self.entries[entry.key].expired = True
