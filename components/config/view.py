"""What config knows of the cluster: a mirror of the buckets, fed by watches.

A synchronous state machine: entries and time in, mappings out, and the set of guilds that the news
concern. It may be behind (a watch is a hint), never ahead; results of own writes are put in as soon
as they are acknowledged. An entry that is not a message of its kind is logged and left out, so that
one bad value written by hand does not stop placement.
"""

import logging
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping
from typing import Final, TypeVar

import msgspec

from components.bus.entries import Entry
from components.config.index import Index, is_open
from components.config.intents import Intents
from components.config.weights import Weights
from components.config.world import Held, Pod
from components.ownership.evidence import Evidence
from contracts import storage
from contracts.ids import GuildId, Incarnation, PodId, is_snowflake
from contracts.message import MalformedMessage, Message, decode
from contracts.records import (
    Assignment,
    Holding,
    PodLease,
    PodLoads,
    ProcessEnd,
    RegisteredGuild,
    Released,
    Silent,
)

log = logging.getLogger(__name__)

M = TypeVar("M", bound=Message)

BUCKETS: Final = (
    storage.PODS,
    storage.REGISTRY,
    storage.GUILDS,
    storage.HANDOFFS,
    storage.ENDS,
    storage.INTENT,
    storage.LOADS,
)
KEPT_STARTS: Final = 16
"""Starts of one pod whose lease is remembered."""


class View:
    """The mirror. Its mappings may be read between awaits and are changed by nobody else."""

    def __init__(self, clock: Callable[[], float], *, pod_ttl_s: float = 5.0) -> None:
        self._clock = clock
        self._on_change: Callable[[], None] = lambda: None
        self._on_registered: Callable[[RegisteredGuild], None] = lambda guild: None
        self._on_pod: Callable[[PodLease], None] = lambda lease: None
        self._on_opened: Callable[[Holding], None] = lambda holding: None
        self._in_sync: set[str] = set()
        self.synced_at_s = float("-inf")
        """When the last of the buckets was read in full, for the first time or again."""
        self.pods: dict[PodId, Pod] = {}
        self.starts: dict[tuple[PodId, Incarnation], PodLease] = {}
        self.registry: dict[GuildId, RegisteredGuild] = {}
        self.assignments: dict[GuildId, Held] = {}
        self.unassigned: dict[GuildId, int] = {}
        """Guilds whose assignment was deleted, by hand, and the revision of that."""
        self.holds: dict[GuildId, dict[PodId, Holding]] = defaultdict(dict)
        self.weights = Weights()
        self.intents = Intents()
        self.evidence = Evidence(ttl_s=pod_ttl_s)
        self.index = Index()
        self.dirty: set[GuildId] = set()
        """Guilds that something has changed for; whoever decides about them takes them out."""
        self.pods_changed = True
        """Pods take more, fewer or other guilds than before; taken back by who decides."""

    def listen(
        self,
        *,
        on_change: Callable[[], None],
        on_registered: Callable[[RegisteredGuild], None] = lambda guild: None,
        on_pod: Callable[[PodLease], None] = lambda lease: None,
        on_opened: Callable[[Holding], None] = lambda holding: None,
    ) -> None:
        """Call the listeners when something changed that placement depends on, that people call
        a guild by, that a pod is known by, or when an owner has opened a guild."""
        self._on_change = on_change
        self._on_registered = on_registered
        self._on_pod = on_pod
        self._on_opened = on_opened

    @property
    def complete(self) -> bool:
        """Whether every bucket has been read in full."""
        return len(self._in_sync) == len(BUCKETS)

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

    @property
    def openings(self) -> Iterable[Holding]:
        """What owners said when they opened a guild at its present epoch."""
        for guild, held in self.assignments.items():
            holding = self.holds.get(guild, {}).get(held.assignment.pod)
            if holding is not None and is_open(held.assignment, holding):
                yield holding

    def connection_lost(self) -> None:
        """Nothing is decided before every bucket has been read again."""
        self._in_sync.clear()

    def reset(self, bucket: str, entries: Mapping[str, Entry]) -> None:
        """A bucket as it is now, after a (re)connect: what is not in it is gone. A pod that is
        not in it counts as away from now on."""
        if bucket == storage.PODS:
            for pod in [pod for pod in self.pods if pod not in entries]:
                known = self.pods[pod]
                self.pods[pod] = msgspec.structs.replace(known, away_since_s=None)
                self._set_pod(Entry(key=pod, value=None, revision=known.revision, created_ms=0))
        elif bucket == storage.REGISTRY:
            for guild in [guild for guild in self.registry if guild not in entries]:
                self._set_registered(_gone(guild))
        elif bucket == storage.GUILDS:
            for guild in [guild for guild in self.assignments if guild not in entries]:
                self._assign(guild, None)
            self.unassigned.clear()
            self.index.joining_since.clear()
        elif bucket == storage.HANDOFFS:
            self._forget_holdings()
        elif bucket == storage.INTENT:
            self.intents.clear()
            self.dirty.update(self.assignments)
        for entry in entries.values():
            self._set(bucket, entry)
        self._in_sync.add(bucket)
        self.synced_at_s = self._clock()
        self._on_change()

    def entry(self, bucket: str, entry: Entry) -> None:
        """A key was written, deleted, or has expired, as a watch shows."""
        if bucket == storage.PODS:
            known = self.pods.get(PodId(entry.key))
            if known is not None and entry.revision <= known.revision:
                return
        elif bucket == storage.GUILDS:
            guild = GuildId(entry.key)
            held = self.assignments.get(guild)
            revision = held.revision if held is not None else self.unassigned.get(guild, 0)
            if entry.revision <= revision:
                return
        self._set(bucket, entry)

    def assigned(self, assignment: Assignment, revision: int) -> None:
        """An own write was acknowledged."""
        held = self.assignments.get(assignment.guild)
        if held is None or revision > held.revision:
            self.unassigned.pop(assignment.guild, None)
            self._assign(assignment.guild, Held(assignment=assignment, revision=revision))

    def reread_assignment(self, guild: GuildId, entry: Entry | None) -> None:
        """What the leader of the bucket holds, read after a write was refused."""
        if entry is not None:
            self.entry(storage.GUILDS, entry)
        else:
            self.unassigned.pop(guild, None)
            self._assign(guild, None)
        self.dirty.add(guild)

    def reread_pod(self, pod: PodId, entry: Entry | None) -> None:
        """What the leader of the bucket holds, read after a fence was refused or written."""
        if entry is not None:
            self.entry(storage.PODS, entry)
        else:
            self._set_pod(Entry(key=pod, value=None, revision=0, created_ms=0))

    def not_renewed(self, pod: PodId, revision: int) -> None:
        """The pod's lease has ended although its key is still there at that revision."""
        known = self.pods.get(pod)
        if known is None or known.revision != revision or known.away_since_s is not None:
            return
        log.warning("the lease of %s is not renewed and does not expire: it is away", pod)
        self.pods[pod] = msgspec.structs.replace(known, away_since_s=self._clock())
        self._pod_changed(pod)

    def _set(self, bucket: str, entry: Entry) -> None:
        if bucket == storage.PODS:
            self._set_pod(entry)
        elif bucket == storage.REGISTRY:
            self._set_registered(entry)
        elif bucket == storage.GUILDS:
            self._set_assignment(entry)
        elif bucket == storage.HANDOFFS:
            self._set_handoff(entry)
        elif bucket == storage.ENDS:
            if (end := _read(entry, ProcessEnd)) is not None:
                self.evidence.end_seen(end)
                self._on_change()
        elif bucket == storage.INTENT:
            self._set_intent(entry)
        elif (loads := _read(entry, PodLoads)) is not None:
            self.weights.report(loads, self.assignments)

    def _set_pod(self, entry: Entry) -> None:
        key, now_s = PodId(entry.key), self._clock()
        known = self.pods.get(key) or Pod(pod=key)
        lease = _read(entry, PodLease)
        if lease is not None and lease.pod != key:
            log.error("key %s holds the lease of %s; ignored", key, lease.pod)
            lease = None
        # A value that cannot be read is somebody's: nobody is judged for it.
        away = entry.value is None or (lease is not None and lease.state == "fenced")
        since = None
        if away:
            since = known.away_since_s if known.away_since_s is not None else now_s
        now = Pod(
            pod=key,
            lease=lease or known.lease,
            revision=entry.revision,
            seen_s=now_s,
            away_since_s=since,
        )
        self.pods[key] = now
        if lease is not None:
            self._remember(lease, entry.revision, now_s)
        refused = _refused(now)
        if refused != (before := _refused(known)):
            self.index.refused(key, refused.keys())
            for guild in (refused.keys() ^ before.keys()) & self.assignments.keys():
                owned = self.assignments[guild].assignment
                holding = self.holds.get(guild, {}).get(owned.pod)
                self.index.held(guild, owned, holding, now_s)
            self.dirty.update((refused.keys() | before.keys()) & self.assignments.keys())
            self._on_change()
        if _standing(now) != _standing(known):
            if lease is not None:
                self._on_pod(lease)
            self._pod_changed(key)
        elif _backed_up(now) != _backed_up(known) and (sourced := self.index.sourced.get(key)):
            self.dirty.update(sourced)
            self._on_change()

    def _remember(self, lease: PodLease, revision: int, now_s: float) -> None:
        self.evidence.pod_seen(lease, revision, now_s)
        if lease.incarnation is None or not lease.data:  # a fence of what nobody remembered
            return
        new = (lease.pod, lease.incarnation) not in self.starts
        self.starts[lease.pod, lease.incarnation] = lease
        if new:
            starts = [start for start in self.starts if start[0] == lease.pod]
            for start in starts[:-KEPT_STARTS]:
                del self.starts[start]

    def _pod_changed(self, pod: PodId) -> None:
        self.dirty.update(self.index.by_pod.get(pod, ()))
        self.pods_changed = True
        self._on_change()

    def _set_registered(self, entry: Entry) -> None:
        registered = _read(entry, RegisteredGuild)
        key = GuildId(entry.key)
        known = self.registry.get(key)
        if registered is None or not _names(key, registered.guild):
            self.registry.pop(key, None)
            registered = None
        else:
            self.registry[key] = registered
        held = self.assignments.get(key)
        owned = held.assignment if held is not None else None
        self.index.registered(key, owned, registered)
        if registered is None:
            self.dirty.add(key)
            return
        if known is None or known.present != registered.present:
            self.dirty.add(key)
            self._on_change()
        if known is None or (known.name, known.present) != (registered.name, registered.present):
            self._on_registered(registered)

    def _set_assignment(self, entry: Entry) -> None:
        key = GuildId(entry.key)
        assignment = _read(entry, Assignment)
        if assignment is None or not _names(key, assignment.guild):
            if not is_snowflake(key):
                return
            self._assign(key, None)
            self.unassigned[key] = entry.revision
        else:
            self.unassigned.pop(key, None)
            self._assign(key, Held(assignment=assignment, revision=entry.revision))

    def _assign(self, guild: GuildId, held: Held | None) -> None:
        before = self.assignments.pop(guild, None)
        holding = None
        if held is not None:
            self.assignments[guild] = held
            holding = self.holds.get(guild, {}).get(held.assignment.pod)
        if held is None:
            self.weights.forget([guild])
        self.index.assigned(
            guild,
            before.assignment if before is not None else None,
            held.assignment if held is not None else None,
            holding,
            self.registry.get(guild),
            self.evidence,
            self._clock(),
        )
        self.dirty.add(guild)
        self._on_change()

    def _set_handoff(self, entry: Entry) -> None:
        kind, _, rest = entry.key.partition(".")
        if kind == "holds":
            guild, _, pod = rest.partition(".")
            self._set_holding(GuildId(guild), PodId(pod), _read(entry, Holding))
        elif kind == "released" and (released := _read(entry, Released)) is not None:
            self.evidence.released_seen(released)
            held = self.assignments.get(released.guild)
            if held is not None:
                self.index.left(held.assignment, self.evidence)
            if held is not None and released.epoch >= held.assignment.epoch:
                self.dirty.add(released.guild)
                self._on_change()
        elif kind == "silent" and (silent := _read(entry, Silent)) is not None:
            self.evidence.silent_seen(silent)
            if (held := self.assignments.get(silent.guild)) is not None:
                self.index.left(held.assignment, self.evidence)

    def _set_holding(self, guild: GuildId, pod: PodId, holding: Holding | None) -> None:
        if holding is None:
            self.holds.get(guild, {}).pop(pod, None)
        elif holding.guild != guild or holding.pod != pod:
            log.error("key holds.%s.%s holds what is of %s; ignored", guild, pod, holding.pod)
            return
        else:
            self.holds[guild][pod] = holding
        held = self.assignments.get(guild)
        if held is None:
            return
        if held.assignment.pod == pod:
            self.index.held(guild, held.assignment, holding, self._clock())
            if holding is not None and holding.role == "own":
                self._on_opened(holding)
        self.dirty.add(guild)
        self._on_change()

    def _forget_holdings(self) -> None:
        self.dirty.update(self.holds)
        known = list(self.holds)
        self.holds.clear()
        for guild in known:
            held = self.assignments.get(guild)
            owned = held.assignment if held is not None else None
            self.index.held(guild, owned, None, self._clock())

    def _set_intent(self, entry: Entry) -> None:
        pod, guild = self.intents.entry(entry)
        if guild is not None:
            self.dirty.add(guild)
            self._on_change()
        elif pod is not None:
            self._pod_changed(pod)
        else:
            self._on_change()


def _standing(pod: Pod) -> tuple[object, ...]:
    """What placement depends on in a pod; a renewal that only reports load changes none of it."""
    if pod.lease is None:
        return (pod.away_since_s,)
    return (
        pod.away_since_s,
        pod.lease.incarnation,
        pod.lease.state,
        pod.lease.capacity,
        pod.lease.replica,
        pod.lease.zone,
    )


def _backed_up(pod: Pod) -> int:
    return pod.lease.backed_up_beat if pod.lease is not None else 0


def _refused(pod: Pod) -> Mapping[GuildId, str]:
    return pod.lease.refused if pod.lease is not None else {}


def _names(key: GuildId, guild: GuildId) -> bool:
    """Whether a key is a guild's id and its value is of that guild."""
    if is_snowflake(key) and guild == key:
        return True
    log.error("key %r holds a value of guild %r; ignored", key, guild)
    return False


def _gone(key: str) -> Entry:
    return Entry(key=key, value=None, revision=0, created_ms=0)


def _read(entry: Entry, expected: type[M]) -> M | None:
    if entry.value is None:
        return None
    try:
        return decode(entry.value, expected)
    except MalformedMessage as error:
        log.warning("key %s at revision %d: %s", entry.key, entry.revision, error)
        return None
