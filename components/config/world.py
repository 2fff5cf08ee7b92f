"""What placement knows and what it decides: plain data between the pure modules and their shell.

Times are seconds on the steady clock of the process that holds the data.
"""

from collections.abc import Collection, Container, Mapping
from typing import Literal

import msgspec

from components.ownership.evidence import Evidence
from contracts.ids import Generation, GuildId, Incarnation, PodId, Sequence
from contracts.records import Assignment, Holder, Holding, PodLease, RegisteredGuild

MoveCause = Literal["followed", "moved", "drained", "rebalanced", "pinned"]

KEPT_S = 60.0
"""How long a pod that is gone is remembered at least: shown to people, and named by the guilds
that it owned before. Who was only restarted is back sooner."""


class Options(msgspec.Struct, frozen=True, kw_only=True):
    """How the cluster is kept."""

    followers: Literal[0, 1] = 1
    joining_at_once: int = 48
    """Guilds that one pod builds at a time. A build is a snapshot of some ten milliseconds, so
    this is what keeps a pod busy without holding up its own guilds."""
    opening_at_once: int = 32
    """Guilds that one pod takes over at a time in planned moves: each adds to the pause of the
    others (a crash waits for nobody)."""
    grace_s: float = 8.0
    """How long the rows on the disk of a pod that is gone are waited for before others are made
    elsewhere: a restarted process is back sooner, and following from its own disk costs little."""
    open_within_s: float = 10.0
    """An owner that is here and has not opened a guild for so long gives it to the follower, if
    that has the rows: it may lack them, or wait for what does not come."""
    join_within_s: float = 300.0
    """A pod that has not built a guild's rows after so long is given up, and not asked to build
    them for as long again. A snapshot is taken within 15 s and fetched within 60 s or not at all
    (gateway), and some wait for others."""
    guilds_per_shard: int = 2500
    """Discord's limit (facts.md)."""


class Pod(msgspec.Struct, frozen=True, kw_only=True):
    """A pod as its key shows it. ``lease`` is the last one seen, also when it has ended."""

    pod: PodId
    lease: PodLease | None = None
    revision: int = 0
    """Of the key; 0 when the server knows of no write."""
    seen_s: float = float("-inf")
    """When the key was first seen at this revision, over this connection."""
    away_since_s: float | None = None
    """None while the lease is held."""

    @property
    def fenced(self) -> bool:
        """The pod's last incarnation can never renew again."""
        return self.lease is not None and self.lease.state == "fenced"

    @property
    def here(self) -> PodLease | None:
        """The lease, if it is held and names its incarnation."""
        if self.away_since_s is not None or self.lease is None or self.lease.incarnation is None:
            return None
        return self.lease


class Held(msgspec.Struct, frozen=True, kw_only=True):
    """An assignment and the revision of its key."""

    assignment: Assignment
    revision: int


class LogFact(msgspec.Struct, frozen=True, kw_only=True):
    """What a guild's log began with when it was looked at."""

    first: Sequence | None
    generation: Generation
    read_at_s: float
    looks: int = 1
    """How many times in a row the log was found empty, this one included."""


class Wanted(msgspec.Struct, frozen=True, kw_only=True):
    """A move that somebody asked for, or that balance asks for."""

    guild: GuildId
    pod: PodId
    purpose: Literal["own", "follow"]
    cause: MoveCause
    by: str = ""
    reason: str = ""
    operation: str = ""
    then: "Wanted | None" = None
    """What is wanted of the same guild once this is done."""

    def followed_by(self, other: "Wanted") -> "Wanted":
        """Both, the owner first."""
        first, second = (other, self) if self.purpose == "follow" else (self, other)
        return msgspec.structs.replace(first, then=second)


class World(msgspec.Struct, frozen=True, kw_only=True):
    """Everything that a plan is made from."""

    now_s: float
    judge_from_s: float
    """Nobody is judged by silence before: NATS or the leader has only just come (back)."""
    seen_from_s: float
    """From when on the end of a pod that died while this replica did not look would have shown."""
    options: Options
    pods: Mapping[PodId, Pod]
    registry: Mapping[GuildId, RegisteredGuild]
    assignments: Mapping[GuildId, Held]
    holds: Mapping[GuildId, Mapping[PodId, Holding]]
    starts: Mapping[tuple[PodId, Incarnation], PodLease]
    """The last lease seen of each start, also of those that others followed."""
    evidence: Evidence
    logs: Mapping[GuildId, LogFact]
    placed_before: Container[GuildId]
    """Guilds that must have an assignment, by the history or by a deleted key."""
    history_pending_until_s: float | None = None
    """The history has not been read yet: until then no new guild is placed, so that PostgreSQL
    can say which ones are not new. After it placement goes on without (design.md, "Losing
    things")."""
    draining: Collection[PodId] = ()
    """Pods that operators want empty."""
    pins: Mapping[GuildId, PodId] = {}
    askers: Mapping[str, str] = {}
    """Who wants that, by the key of the intent."""
    wanted: Mapping[GuildId, Wanted] = {}
    owned: Mapping[PodId, int] = {}
    followed: Mapping[PodId, int] = {}
    joining: Mapping[PodId, int] = {}
    arriving: Mapping[PodId, int] = {}
    """Guilds of others that the pod is being made the owner of."""
    opening: Mapping[PodId, int] = {}
    """Guilds of which the pod is the owner and has not said yet that they are open."""
    opening_since: Mapping[GuildId, float] = {}
    """When it was first seen that a guild's owner has not opened it at its epoch."""
    joining_since: Mapping[GuildId, float] = {}
    """When it was first seen what a guild's `joining` asks, over this connection: without NATS
    nobody can say that it is done."""
    unfit: Mapping[GuildId, Mapping[Holder, float]] = {}
    """Starts of pods that were given up as builders of a guild, and until when."""
    by_shard: Mapping[int, int] = {}


class Assign(msgspec.Struct, frozen=True, kw_only=True):
    """Write the assignment if the key's revision is still ``revision``. The shell fills in
    ``since_ms``, and ``by`` where it is empty."""

    assignment: Assignment
    revision: int
    reason: str
    former: Assignment | None = None
    """What the key holds at that revision."""


class Fence(msgspec.Struct, frozen=True, kw_only=True):
    """Overwrite the pod's key with ``lease`` if its revision is still ``revision``."""

    lease: PodLease
    revision: int
    reason: str


class Ping(msgspec.Struct, frozen=True, kw_only=True):
    """Ask the pod whether it is there, and report the answer or its absence."""

    pod: PodId
    incarnation: Incarnation


class Waiting(msgspec.Struct, frozen=True, kw_only=True):
    """Nobody serves the guild at the moment."""

    pod: PodId | None
    reason: str


class Decisions(msgspec.Struct, frozen=True, kw_only=True):
    """What is to be done about the guilds that were looked at."""

    assign: list[Assign]
    look_up: list[GuildId]
    """Guilds whose log must be looked at before something is decided about them."""
    waiting: dict[GuildId, Waiting]
    lacking: dict[GuildId, str]
    """Served, but not as it should be: without a follower, or not where it is wanted; and why."""
    postponed: list[GuildId]
    """Decided about again with every plan: until a budget, or the room of a pod, allows."""
    settled: dict[GuildId, str]
    """Wanted moves that have come to their end: "" when made, else why not."""
    unfit: dict[GuildId, tuple[Holder, float]]
    """Who was given up as the builder of a guild, and until when it is not asked again."""
    wake: dict[GuildId, float]
    """Guilds about which time alone changes the decision, and when."""


class Plan(msgspec.Struct, frozen=True, kw_only=True):
    """What the leader does now."""

    ping: list[Ping]
    fence: list[Fence]
    assign: list[Assign]
    look_up: list[GuildId]
    settled: dict[GuildId, str]
    more: bool
    """There is more to decide at once."""
    wake_at_s: float | None
    """When time alone changes the plan; None when only news can."""

    @property
    def acts(self) -> bool:
        """Whether there is anything to write."""
        return bool(self.assign or self.fence)
