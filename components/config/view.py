"""What config knows of pods, guilds and assignments: a mirror of three buckets, fed by watches.

A synchronous state machine: entries and time in, a `World` out. It may be behind (a watch is a
hint), never ahead; results of own writes are put in as soon as they are acknowledged. An entry
that is not a message of its kind is logged and left out, so that one bad value written by hand
does not stop placement.
"""

import logging
from collections.abc import Callable, Iterable, Mapping
from typing import TypeVar

import msgspec

from components.bus.buckets import Entry
from components.config.world import Held, Pod
from components.process.clock import SteadyClock, steady_s
from contracts.ids import GuildId, PodId, is_snowflake
from contracts.message import MalformedMessage, Message, decode
from contracts.records import Assignment, PodLease, RegisteredGuild

log = logging.getLogger(__name__)

M = TypeVar("M", bound=Message)


class View:
    """The mirror. Its mappings may be read between awaits and are changed by nobody else."""

    def __init__(self, clock: SteadyClock = steady_s) -> None:
        self._clock = clock
        self._on_change: Callable[[], None] = lambda: None
        self._on_registered: Callable[[RegisteredGuild], None] = lambda guild: None
        self._on_pod: Callable[[PodLease], None] = lambda lease: None
        self._in_sync: set[str] = set()
        self.synced_at_s = float("-inf")
        """When the last of the buckets was read in full, for the first time or again."""
        self.pods: dict[PodId, Pod] = {}
        self.registry: dict[GuildId, RegisteredGuild] = {}
        self.assignments: dict[GuildId, Held] = {}
        self.unassigned: dict[GuildId, int] = {}
        """Guilds whose assignment was deleted, by hand, and the revision of that."""

    def listen(
        self,
        *,
        on_change: Callable[[], None],
        on_registered: Callable[[RegisteredGuild], None],
        on_pod: Callable[[PodLease], None],
    ) -> None:
        """Call the listeners when something changed that placement depends on, that people call
        a guild by, or that a pod is known by."""
        self._on_change = on_change
        self._on_registered = on_registered
        self._on_pod = on_pod

    @property
    def complete(self) -> bool:
        """Whether every bucket has been read in full."""
        return len(self._in_sync) == 3

    @property
    def registered(self) -> Iterable[RegisteredGuild]:
        """Every registered guild."""
        return self.registry.values()

    @property
    def leases(self) -> Iterable[PodLease]:
        """The last lease of every pod."""
        return (pod.lease for pod in self.pods.values() if pod.lease is not None)

    @property
    def owned(self) -> Iterable[Assignment]:
        """Every assignment."""
        return (held.assignment for held in self.assignments.values())

    def connection_lost(self) -> None:
        """Nothing is decided before every bucket has been read again."""
        self._in_sync.clear()

    def reset_pods(self, entries: Mapping[str, Entry]) -> None:
        """The bucket ``pods`` as it is now, after a (re)connect: who is not in it is away, and
        counts as away from now on."""
        for pod in [pod for pod in self.pods if pod not in entries]:
            self.pods[pod] = Pod(
                pod=pod,
                lease=self.pods[pod].lease,
                revision=self.pods[pod].revision,
                away_since_s=self._clock(),
            )
        for entry in entries.values():
            self._set_pod(entry)
        self._synced("pods")

    def reset_registry(self, entries: Mapping[str, Entry]) -> None:
        """The bucket ``registry`` as it is now."""
        self.registry.clear()
        for entry in entries.values():
            self._set_registered(entry)
        self._synced("registry")

    def reset_assignments(self, entries: Mapping[str, Entry]) -> None:
        """The bucket ``guilds`` as it is now; revisions may have begun anew with it."""
        self.assignments.clear()
        self.unassigned.clear()
        for entry in entries.values():
            self._set_assignment(entry)
        self._synced("guilds")

    def pod_entry(self, entry: Entry) -> None:
        """A pod's key was written, deleted, or has expired."""
        known = self.pods.get(PodId(entry.key))
        if known is None or entry.revision > known.revision:
            self._set_pod(entry)

    def registry_entry(self, entry: Entry) -> None:
        """A guild was registered, or its registration changed."""
        self._set_registered(entry)

    def assignment_entry(self, entry: Entry) -> None:
        """A guild's assignment was written (or deleted, by hand)."""
        guild = GuildId(entry.key)
        held = self.assignments.get(guild)
        known = held.revision if held is not None else self.unassigned.get(guild, 0)
        if entry.revision > known:
            self._set_assignment(entry)

    def assigned(self, assignment: Assignment, revision: int) -> None:
        """An own write was acknowledged."""
        held = self.assignments.get(assignment.guild)
        if held is None or revision > held.revision:
            self.unassigned.pop(assignment.guild, None)
            self.assignments[assignment.guild] = Held(assignment=assignment, revision=revision)
            self._on_change()

    def reread_assignment(self, guild: GuildId, entry: Entry | None) -> None:
        """What the leader of the bucket holds, read after a write was refused."""
        if entry is not None:
            self.assignment_entry(entry)
        else:
            self.assignments.pop(guild, None)
            self.unassigned.pop(guild, None)
            self._on_change()

    def reread_pod(self, pod: PodId, entry: Entry | None) -> None:
        """What the leader of the bucket holds, read after a fence was refused or written."""
        if entry is not None:
            self.pod_entry(entry)
        else:
            self._set_pod(Entry(key=pod, value=None, revision=0, created_ms=0))

    def not_renewed(self, pod: PodId, revision: int) -> None:
        """The pod's lease has ended although its key is still there at that revision."""
        known = self.pods.get(pod)
        if known is None or known.revision != revision or known.away_since_s is not None:
            return
        log.warning("the lease of %s is not renewed and does not expire: it is away", pod)
        self.pods[pod] = msgspec.structs.replace(known, away_since_s=self._clock())
        self._on_change()

    def _set_pod(self, entry: Entry) -> None:
        key = PodId(entry.key)
        known = self.pods.get(key) or Pod(pod=key)
        lease = _read(entry, PodLease)
        if lease is not None and lease.pod != key:
            log.error("key %s holds the lease of %s; ignored", key, lease.pod)
            lease = None
        # A value that cannot be read is somebody's: nobody is judged for it.
        away = entry.value is None or (lease is not None and lease.state == "fenced")
        since = None
        if away:
            since = known.away_since_s if known.away_since_s is not None else self._clock()
        now = Pod(pod=key, lease=lease or known.lease, revision=entry.revision, away_since_s=since)
        self.pods[key] = now
        if lease is not None and _standing(now) != _standing(known):
            self._on_pod(lease)
        if _standing(now) != _standing(known):
            self._on_change()

    def _set_registered(self, entry: Entry) -> None:
        registered = _read(entry, RegisteredGuild)
        key = GuildId(entry.key)
        known = self.registry.get(key)
        if registered is None or not _names(key, registered.guild):
            self.registry.pop(key, None)
            return
        self.registry[key] = registered
        if known is None or known.present != registered.present:
            self._on_change()
        if known is None or (known.name, known.present) != (registered.name, registered.present):
            self._on_registered(registered)

    def _set_assignment(self, entry: Entry) -> None:
        key = GuildId(entry.key)
        assignment = _read(entry, Assignment)
        if assignment is None or not _names(key, assignment.guild):
            self.assignments.pop(key, None)
            self.unassigned[key] = entry.revision
        else:
            self.unassigned.pop(key, None)
            self.assignments[key] = Held(assignment=assignment, revision=entry.revision)
        self._on_change()

    def _synced(self, bucket: str) -> None:
        self._in_sync.add(bucket)
        self.synced_at_s = self._clock()
        self._on_change()


def _standing(pod: Pod) -> tuple[object, ...]:
    """What placement depends on in a pod; a renewal that only reports load changes none of it."""
    if pod.lease is None:
        return (pod.away_since_s,)
    return (pod.away_since_s, pod.lease.incarnation, pod.lease.state, pod.lease.capacity)


def _names(key: GuildId, guild: GuildId) -> bool:
    """Whether a key is a guild's id and its value is of that guild."""
    if is_snowflake(key) and guild == key:
        return True
    log.error("key %r holds a value of guild %r; ignored", key, guild)
    return False


def _read(entry: Entry, expected: type[M]) -> M | None:
    if entry.value is None:
        return None
    try:
        return decode(entry.value, expected)
    except MalformedMessage as error:
        log.warning("key %s at revision %d: %s", entry.key, entry.revision, error)
        return None
