"""Values in the key-value buckets. JSON that an operator can read with ``nats kv get``.

Times are milliseconds since 1970 and for people: nothing is decided by them, but how far back
the shard reads after a gap (`SessionResume`).
"""

from typing import Literal

from contracts.ids import (
    Epoch,
    Generation,
    GuildId,
    Incarnation,
    PodId,
    RequestId,
    Sequence,
    SessionId,
)
from contracts.message import Message


class PodLease(Message, frozen=True, kw_only=True):
    """Bucket ``pods``, key: pod. Expires unless renewed by compare-and-set."""

    pod: PodId
    incarnation: Incarnation | None = None
    """None only in the entry that creates the lease: its revision names the incarnation."""
    nats_client: int = 0
    """The server's number of the pod's connection, as advisories name it."""
    nats_server: str = ""
    """The server of that connection: two servers give the same number."""
    process: str = ""
    """Random name of the process, given by its parent, which attests its end in ``ends``."""
    ttl_s: float = 5.0
    """TTL of this lease: who judges the pod waits at least so long."""
    zone: str = ""
    """Where the pod runs; empty: not stated. Owner and follower live in different zones."""
    data: str
    """Identity of the data directory. The next incarnation that holds the lock on the same
    directory knows that this one has ended."""
    state: Literal["starting", "serving", "draining", "fenced"]
    guilds: int = 0
    applied_per_s: float = 0.0
    capacity: int
    """Most guilds that the pod takes."""
    replica: str = ""
    """Where the pod's database is backed up to: a prefix in the bucket. Empty: no backup."""
    beat: int = 0
    """The pod's last beat: a number that it commits to its database every few seconds."""
    backed_up_beat: int = 0
    """The last beat that is in the bucket: what was committed before it is there too."""
    complete_up_to: Sequence = Sequence(0)
    """Stream sequence up to which all guilds were complete at the last beat."""
    backed_up_to: Sequence = Sequence(0)
    """Stream sequence up to which all guilds were complete at the beat that is in the bucket."""
    backup_lag_s: float = 0.0
    """Age of the oldest commit that is not in the bucket, as found in the bucket."""
    backup_retention_h: float = 0.0
    """How long its backups are kept. 0: no backup."""
    pruning_looked_ms: int = 0
    """When the pod last looked which replicas nobody needs any more. 0: not since it started."""
    pruned_replicas: int = 0
    """Replicas that it has deleted since it started."""
    rest_wanted_per_s: float = 0.0
    """Requests to Discord that the pod would send now, if it might."""
    rest_share_per_s: float = 0.0
    """The share of the global limit that the pod keeps to at this moment."""
    rest_share_revision: int = 0
    """Revision of ``shares.rest`` whose division the pod keeps to: its requests use no more than
    that division's share, or a later one's. 0: none yet."""
    invalid_requests: int = 0
    """Answers of 401, 403 and 429 that the pod got within the last 10 minutes."""
    parked: dict[GuildId, Sequence] = {}
    """Guilds here that wait for a `SkipInput`, and the input at which each waits. At most 100."""
    refused: dict[GuildId, str] = {}
    """Guilds here that cannot be served, and why: their log does not continue what can be had of
    their rows. Tried again every half minute. At most 20."""
    version: str
    engine_version: int
    started_ms: int
    fenced_by: str = ""


class Holder(Message, frozen=True, kw_only=True):
    """One start of one pod."""

    pod: PodId
    incarnation: Incarnation


class EarlierOwner(Message, frozen=True, kw_only=True):
    """An owner of an earlier epoch that may not be silent yet."""

    pod: PodId
    incarnation: Incarnation
    epoch: Epoch
    process: str = ""
    """`PodLease.process` of that incarnation, as attestations name it."""


class StateSource(Message, frozen=True, kw_only=True):
    """Somewhere the guild's rows are known to be: a data directory and the replica of it."""

    pod: PodId
    incarnation: Incarnation
    data: str
    """Identity of the data directory; a pod that comes back with another one has lost the rows."""
    replica: str = ""
    """Prefix in the backup bucket. Empty: no backup."""


class Joining(Message, frozen=True, kw_only=True):
    """A pod that is being made to hold the guild's rows: the next follower, or the next owner."""

    pod: PodId
    incarnation: Incarnation
    purpose: Literal["follow", "own"]
    cause: Literal["followed", "moved", "drained", "rebalanced", "pinned"]
    by: str = ""
    """Who asked: an operator's name, or the config replica that decided."""
    since_ms: int = 0
    """When it was asked for; tells this joining of the pod from an earlier one."""


OwnerCause = Literal[
    "placed",
    "restarted",
    "replaced",
    "promoted",
    "restored",
    "moved",
    "drained",
    "rebalanced",
    "pinned",
]


class OwnerChange(Message, frozen=True, kw_only=True):
    """A change of owner, as it becomes a row of the history in PostgreSQL."""

    epoch: Epoch
    pod: PodId
    incarnation: Incarnation
    cause: OwnerCause
    since_ms: int
    by: str = ""
    reason: str = ""
    former: Holder | None = None
    """The owner before; None for the first one."""
    took_ms: int | None = None
    """From the moment the pod was told to the moment the guild was open; None: it did not say."""
    replayed: int | None = None
    """Inputs applied for it."""
    source: str | None = None
    """Where the rows came from (`Holding.source`)."""


class Assignment(Message, frozen=True, kw_only=True):
    """Bucket ``guilds``, key: guild. Written by the config leader alone, by compare-and-set; while
    there is no leader also by a restarted pod for the guilds it owned last (re-adoption)."""

    guild: GuildId
    pod: PodId
    incarnation: Incarnation
    epoch: Epoch
    first_sequence: Sequence
    """The guild's first input ever: a pod without the guild's rows may rebuild them only while
    the log still holds it."""
    generation: Generation
    """Of INPUTS, when the guild was first placed."""
    cause: OwnerCause
    """Why the epoch began. ``placed``: new; ``restarted``: same pod, new incarnation;
    ``promoted``: its follower, after a crash; ``restored``: a pod without rows, which takes them
    from `sources`; ``replaced``: a pod without rows, from the log alone; the rest: moved as said.
    """
    since_ms: int
    by: str = ""
    """Who wrote it: a config replica, or the pod itself (re-adoption)."""
    follower: Holder | None = None
    """A second pod that applies the same log with every output closed."""
    joining: Joining | None = None
    before: list[EarlierOwner] = []
    """Owners of earlier epochs that were not known to be silent when this epoch began. Effects
    wait for the silence of each; opening waits until each has released or is fenced. Once the
    guild is open, those that are silent and gone for good are left out."""
    sources: list[StateSource] = []
    """Where the rows are, beside or among owner and follower. Shrinks only when others are known
    to hold them."""
    reason: str = ""
    """Why the epoch began, in words."""
    former: Holder | None = None
    """The owner at the epoch before."""
    unrecorded: list[OwnerChange] = []
    """Changes before this epoch that PostgreSQL was not known to have when this was written,
    oldest first: they outlive the replica that made them, and whoever leads next records them."""


class RegisteredGuild(Message, frozen=True, kw_only=True):
    """Bucket ``registry``, key: guild. Written by the shard that holds the guild."""

    guild: GuildId
    name: str
    shard: int
    present: bool = True
    """False once the bot has been removed from the guild."""
    seen_ms: int


class LeaderLease(Message, frozen=True, kw_only=True):
    """Bucket ``leaders``, key: role. Expires unless renewed."""

    holder: str
    since_ms: int
    nats_client: int = 0
    """The server's number of the leader's connection, as advisories name it."""
    nats_server: str = ""
    all_assigned: bool = False
    """Config's: every guild that the history knows has an assignment, as far as can be told
    now. While it is not so, or PostgreSQL is away, a guild may wait for any replica."""


class ShardLease(Message, frozen=True, kw_only=True):
    """Bucket ``shards``, key: `storage.shard_key`. Expires unless renewed."""

    shard: int
    holder: str
    shard_count: int
    generation: int = 0
    """Of the number of shards (`ShardPlan`)."""
    guilds: int = 0
    dispatches_per_s: float = 0.0
    state: Literal["starting", "connected", "resuming", "disconnected"] = "starting"
    overlap: Literal["", "connecting", "ready", "storing", "over"] = ""
    """While the number of shards changes, how far a new shard id has come. ``ready``: its session
    has all its guilds, and what it delivers is kept back; ``over``: everything kept back is on
    the logs."""
    held_back: int = 0
    """Dispatches that are kept back, by a change of the number of shards or by the limit of a
    guild that floods its log."""
    refused: str = ""
    """Why Discord takes no session of a new number of shards; the change is then taken back."""
    since_ms: int


class ShardPlan(Message, frozen=True, kw_only=True):
    """Bucket ``shards``, key ``plan``: how many shards the installation has, once that was
    changed (`modbot ops reshard`), and how far the change has come. Written by config alone, by
    compare-and-set (docs/decisions, 0008-reshard).

    ``connect``: sessions of the new generation are started beside the old ones. ``cut``: the old
    ones end, each new one goes on from there; no way back. ``done`` and ``aborted`` are the ends.
    """

    generation: int
    """The new one; grows with every plan, aborted ones included."""
    count: int
    from_generation: int
    from_count: int
    phase: Literal["connect", "cut", "done", "aborted"]
    operation: str
    by: str
    since_ms: int
    cut_ms: int = 0
    """When ``cut`` was written: the instant from which guilds are cut over."""
    text: str = ""
    """Why it was aborted."""


class ShardReplica(Message, frozen=True, kw_only=True):
    """Bucket ``shards``, key ``replica.<name>``: the replica lives and takes shard ids; key
    ``identify.<n>``: its turn to IDENTIFY under that concurrency key. Both expire."""

    replica: str
    since_ms: int
    invalid_requests: int = 0
    """In ``replica.<name>``: answers of 401, 403 and 429 that it got from Discord within the last
    10 minutes."""
    incarnation: Incarnation = Incarnation("")
    """In ``replica.<name>``: of this holding of the key; another each time that it is acquired."""
    rest_wanted_per_s: float = 0.0
    """In ``replica.<name>``, as in `PodLease`: requests a second that it could use; ..."""
    rest_share_revision: int = 0
    """... and the revision of `RestShares` that gave the share it keeps to."""


class SessionResume(Message, frozen=True, kw_only=True):
    """Bucket ``sessions``, key: `storage.shard_key`. What a replacement needs to RESUME."""

    session: SessionId
    sequence: int
    """The last sequence whose appends, with all before it, are acknowledged."""
    resume_url: str
    shard: int
    shard_count: int
    saved_ms: int
    received_ms: int = 0
    """When the dispatch ``sequence`` arrived: where the gap starts if the RESUME is refused.
    0: unknown."""
    gap_since_ms: int = 0
    """Start of a gap before this session that is not read to its end; 0: there is none."""
    ended: bool = False
    """Everything of the session is on the logs and nobody goes on with it: sessions of another
    number of shards do (`ShardPlan`). ``gap_since_ms`` is then theirs to read."""


class ReplayAttempt(Message, frozen=True, kw_only=True):
    """Bucket ``attempts``, key: guild. Written before an input is applied after a crash."""

    guild: GuildId
    sequence: Sequence
    attempts: int
    pod: PodId


class SharedSignal(Message, frozen=True, kw_only=True):
    """Bucket ``signals``, key: ``<user>.<guild>`` (a spam report) or ``sharing.<guild>`` (the
    guild shares signals) or ``dm.<user>`` (the warning was sent)."""

    guild: GuildId
    name: str = ""
    sequence: Sequence
    request: RequestId | None = None


class Released(Message, frozen=True, kw_only=True):
    """Bucket ``handoffs``, key ``released.<guild>``: the owner of ``epoch`` stopped applying at
    ``sequence`` for good. Written once an epoch, by compare-and-set over an earlier epoch's."""

    guild: GuildId
    epoch: Epoch
    sequence: Sequence
    pod: PodId
    incarnation: Incarnation


class Silent(Message, frozen=True, kw_only=True):
    """Bucket ``handoffs``, key ``silent.<guild>``: no request to Discord of the owner of ``epoch``,
    or of any owner before it, is under way any more, and none will begin."""

    guild: GuildId
    epoch: Epoch
    pod: PodId
    incarnation: Incarnation


class Holding(Message, frozen=True, kw_only=True):
    """Bucket ``handoffs``, key ``holds.<guild>.<pod>``: the pod's database has all rows of the
    guild, up to ``sequence`` and following its log from there."""

    guild: GuildId
    pod: PodId
    incarnation: Incarnation
    data: str
    role: Literal["own", "follow"]
    epoch: Epoch
    sequence: Sequence
    beat: int
    """They are in every copy of the database that holds this beat (`PodLease.backed_up_beat`)."""
    source: Literal["log", "disk", "snapshot", "replica"]
    """Where they came from when they were made or opened here."""
    took_ms: int = 0
    """From the moment the pod was told to the moment it was done."""
    replayed: int = 0
    """Inputs applied for it."""
    joined_ms: int = 0
    """`Joining.since_ms` of the request that it answers: a report from before it is of rows that
    may not have been followed since. 0: nobody asked."""


class ProcessEnd(Message, frozen=True, kw_only=True):
    """Bucket ``ends``, key: ``<pod>.<process>``. The parent of a gateway's process saw its end
    (waitpid). Expires after an hour, when waiting has long proved the same."""

    pod: PodId
    process: str
    """`PodLease.process` of the process that has ended."""
    exit_code: int
    """Negative: the signal that ended it."""
    ended_ms: int


class GuildLoad(Message, frozen=True, kw_only=True):
    """What a guild costs its owner, over the last two minutes or so."""

    guild: GuildId
    events_per_s: float = 0.0
    rows: int = 0
    engine_ms_per_s: float = 0.0
    over_s: float = 0.0
    """How long was measured: the figures are as certain as a plain mean over that time. 0: not
    stated, about a minute."""


class PodLoads(Message, frozen=True, kw_only=True):
    """Bucket ``loads``, key: pod. Every guild that the pod owns or follows, every few seconds."""

    pod: PodId
    incarnation: Incarnation
    at_ms: int
    guilds: list[GuildLoad]


class PodIntent(Message, frozen=True, kw_only=True):
    """Bucket ``intent``, key ``pod.<pod>``: what operators want of a pod. Mirrors PostgreSQL."""

    pod: PodId
    draining: bool
    by: str
    since_ms: int
    operation: str = ""
    """On whose subject its progress is told (`OperationProgress`)."""


class GuildIntent(Message, frozen=True, kw_only=True):
    """Bucket ``intent``, key ``guild.<guild>``: the guild is pinned to a pod."""

    guild: GuildId
    pod: PodId
    by: str
    since_ms: int
    operation: str = ""


class MoveIntent(Message, frozen=True, kw_only=True):
    """Bucket ``intent``, key ``move.<guild>``: the guild is to move once. Deleted by the leader
    when it has, or cannot."""

    guild: GuildId
    pod: PodId
    operation: str
    by: str
    since_ms: int


class RebalanceIntent(Message, frozen=True, kw_only=True):
    """Bucket ``intent``, key ``rebalance``: guilds are to be spread evenly now, also while config
    does not do so by itself. Deleted by the leader when the moves are made."""

    operation: str
    by: str
    since_ms: int


class BalanceIntent(Message, frozen=True, kw_only=True):
    """Bucket ``intent``, key ``balance``: whether config moves guilds by itself."""

    paused: bool
    by: str
    reason: str = ""
    since_ms: int


class RestShares(Message, frozen=True, kw_only=True):
    """Bucket ``shares``, key ``rest``: how Discord's global limit is divided among pods, by their
    names, and replicas of the shard, by their keys in ``shards`` (``replica.<name>``).

    Divided by the config leader; who starts enters itself with what is free. Both by
    compare-and-set. The last division holds while config is away. Who is not named, or at another
    incarnation, has no share. The sum of `at_most` never exceeds `per_s` (docs/decisions,
    0007-rest-shares).
    """

    per_s: float
    """The limit that is divided."""
    shares: dict[str, float]
    incarnations: dict[str, Incarnation] = {}
    """Whose the share is: of the start that entered it."""
    at_most: dict[str, float] = {}
    """What it may still be using, until its lease says that it keeps to a later division."""
    invalid_requests: int = 0
    """Answers of 401, 403 and 429 within the last 10 minutes, of all pods and of the shard's
    replicas."""


class PodPing(Message, frozen=True, kw_only=True):
    """``modbot.pods.<pod>.ping`` and the answer to it: a pod that answers is not judged."""

    pod: PodId
    incarnation: Incarnation
