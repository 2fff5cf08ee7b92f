"""Requests to the config service, ``modbot.config.<endpoint>``, and their replies.

Requests that change something answer at once. What takes longer is an operation: its id is in the
answer, and how far it has come is told on ``modbot.progress.<id>``. ``by``: who asks; for people.
"""

from typing import Literal

from contracts.ids import Epoch, GuildId, Incarnation, PodId, Sequence
from contracts.message import Message


class PodSummary(Message, frozen=True, kw_only=True):
    """A gateway pod as config sees it."""

    pod: PodId
    incarnation: Incarnation | None = None
    state: Literal["starting", "serving", "draining", "fenced", "away"]
    guilds: int
    """Guilds assigned to the pod."""
    open: int
    """Guilds that the pod says it has open."""
    capacity: int
    applied_per_s: float = 0.0
    replica: str = ""
    version: str = ""
    follows: int = 0
    """Guilds that the pod follows, or is being made to."""
    building: int = 0
    """Guilds that the pod is building to follow or own them."""
    zone: str = ""
    to_be_empty: bool = False
    """An operator wants it empty (`drain`)."""
    backup_lag_s: float = 0.0
    """Age of the oldest commit that is not in the bucket."""
    backup_retention_h: float = 0.0
    """How long its backups are kept. 0: no backup."""
    pruning_looked_ms: int = 0
    """When the pod last looked which replicas nobody needs any more. 0: not since it started."""
    pruned_replicas: int = 0
    """Replicas that it has deleted since it started."""
    rest_share_per_s: float = 0.0
    """The pod's share of Discord's global limit."""
    rest_wanted_per_s: float = 0.0


class WaitingGuild(Message, frozen=True, kw_only=True):
    """A guild that nobody serves at the moment (or that lacks something), and why."""

    guild: GuildId
    name: str = ""
    pod: PodId | None = None
    reason: str


class OperationProgress(Message, frozen=True, kw_only=True):
    """On ``modbot.progress.<operation>``: how far a long operation has come."""

    operation: str
    """Id of the operation, as its request was answered."""
    what: str
    """In words, e.g. ``drain gateway-1``."""
    done: int
    total: int
    text: str = ""
    """What is being done at the moment, or what went wrong."""
    state: Literal["running", "done", "failed"] = "running"


class ShardsStatus(Message, frozen=True, kw_only=True):
    """Discord's shards as config sees them."""

    count: int
    """Shards of the installation; 0: none is held."""
    connected: int
    fullest: int = 0
    """Guilds of the shard that has most."""
    guilds_per_shard: int
    """Discord's limit."""
    replicas: int = 0
    warning: str = ""
    """What an operator should do soon."""


class Alarm(Message, frozen=True, kw_only=True):
    """Something that loses data, or stops the service, if nobody acts. Gone when it is over."""

    name: str
    """What it is, e.g. ``backup-lag``: the same in logs (``alarm``)."""
    severity: Literal["warning", "critical"]
    """``critical``: something is refused or lost already, or is about to be."""
    about: str
    """The stream, pod, node or guild."""
    text: str
    """What is wrong, with the figures of the moment."""
    since_ms: int


class NatsNode(Message, frozen=True, kw_only=True):
    """A server of the NATS cluster."""

    name: str
    leads: list[str] = []
    """Streams, of those that config looks at, of which it is the leader."""
    behind: list[str] = []
    """Streams of which its copy is not current."""
    away: bool = False
    """The leader of one of its streams cannot reach it."""


class ClusterStatus(Message, frozen=True, kw_only=True):
    """Reply of ``modbot.config.status``."""

    leader: str
    replica: str
    """Which replica answered."""
    pods: list[PodSummary]
    guilds: int
    waiting: list[WaitingGuild]
    """At most 1,000; ``waiting_total`` counts all."""
    waiting_total: int
    database: Literal["up", "down"]
    """PostgreSQL: while it is down, history is kept and written later."""
    lacking: list[WaitingGuild] = []
    """Guilds that are served, but without a follower or not where they are wanted; at most 1,000,
    and none from a replica that does not lead."""
    lacking_total: int = 0
    without_follower: int = 0
    """Guilds whose follower is missing or has not all rows yet."""
    paused: bool = False
    """Config moves nothing by itself."""
    paused_by: str = ""
    paused_reason: str = ""
    unwritten_rows: int = 0
    """History that PostgreSQL does not have yet."""
    operations: list[OperationProgress] = []
    """What is under way, as far as the leader knows."""
    shards: ShardsStatus | None = None
    alarms: list[Alarm] = []
    """The critical ones first."""
    nodes: list[NatsNode] = []
    """Empty when NATS is one server."""


class PodList(Message, frozen=True, kw_only=True):
    """Reply of ``modbot.config.pods``."""

    pods: list[PodSummary]


class GuildQuery(Message, frozen=True, kw_only=True):
    """Request of ``modbot.config.guild``."""

    guild: GuildId


class OwnershipChange(Message, frozen=True, kw_only=True):
    """A row of a guild's history."""

    at_ms: int
    epoch: Epoch
    pod: PodId
    incarnation: Incarnation
    cause: str
    by: str
    guild: GuildId | None = None
    from_pod: PodId | None = None
    reason: str = ""
    took_ms: int | None = None
    """From the moment the pod was told to the moment the guild was open."""
    replayed: int | None = None
    """Inputs applied for it."""
    source: str | None = None
    """Where the rows came from: log, disk, snapshot, replica."""


class GuildPlacement(Message, frozen=True, kw_only=True):
    """Reply of ``modbot.config.guild``; 404 for a guild nobody has seen."""

    guild: GuildId
    name: str
    present: bool
    pod: PodId | None = None
    incarnation: Incarnation | None = None
    epoch: Epoch | None = None
    state: Literal["served", "waiting"]
    reason: str = ""
    history: list[OwnershipChange] = []
    follower: PodId | None = None
    follower_ready: bool = False
    """The follower has the rows: it could go on at once."""
    joining: PodId | None = None
    """A pod that is building the rows, to follow or own the guild."""
    pinned: PodId | None = None
    sources: list[str] = []
    """Where else the rows are, until others are known to hold them: ``pod/incarnation``."""
    lacks: str = ""
    parked_at: Sequence | None = None
    """The input that killed its process twice, at which the guild waits for an operator."""


class GuildsQuery(Message, frozen=True, kw_only=True):
    """Request of ``modbot.config.guilds``: those after ``after``, by id, that match."""

    pod: PodId | None = None
    """Owned or followed by this pod."""
    waiting: bool = False
    """Only those that nobody serves, or that are parked."""
    after: GuildId | None = None
    limit: int = 500
    """At most 2,000."""


class GuildLine(Message, frozen=True, kw_only=True):
    """One guild in a list."""

    guild: GuildId
    name: str = ""
    pod: PodId | None = None
    follower: PodId | None = None
    epoch: Epoch | None = None
    state: Literal["served", "waiting"]
    pinned: bool = False
    reason: str = ""
    """Why it waits, that it is parked, or what it lacks."""
    parked_at: Sequence | None = None


class GuildList(Message, frozen=True, kw_only=True):
    """Reply of ``modbot.config.guilds``."""

    guilds: list[GuildLine]
    total: int
    """Guilds that match, this page's included, from ``after`` on."""


class PlannedMove(Message, frozen=True, kw_only=True):
    """A move that config would make, and why."""

    guild: GuildId
    name: str = ""
    from_pod: PodId | None = None
    to_pod: PodId
    purpose: Literal["own", "follow"]
    weight: float
    reason: str


class BalanceReport(Message, frozen=True, kw_only=True):
    """Reply of ``modbot.config.plan``: what a rebalance would do now."""

    moves: list[PlannedMove]
    """At most 1,000; ``moves_total`` counts all."""
    moves_total: int
    max_over_mean: float
    """The heaviest pod's load over the mean, now."""
    max_over_mean_after: float
    min_over_mean: float = 0.0
    """The lightest pod's load over the mean, now."""
    notes: list[str] = []
    """What prevents balance: pins, zones, capacity, hysteresis, the budget."""
    paused: bool = False


class Rebalance(Message, frozen=True, kw_only=True):
    """Request of ``modbot.config.rebalance``: spread guilds evenly now."""

    by: str = ""


class DrainPod(Message, frozen=True, kw_only=True):
    """Request of ``modbot.config.drain``: move everything off the pod and keep it empty; and of
    ``modbot.config.undrain``: let it take guilds again."""

    pod: PodId
    by: str = ""


class MoveGuilds(Message, frozen=True, kw_only=True):
    """Request of ``modbot.config.move``: let the pod own these guilds (at most 1,000)."""

    guilds: list[GuildId]
    pod: PodId
    by: str = ""


class PinGuild(Message, frozen=True, kw_only=True):
    """Request of ``modbot.config.pin``: move the guild to the pod and keep it there."""

    guild: GuildId
    pod: PodId
    by: str = ""


class UnpinGuild(Message, frozen=True, kw_only=True):
    """Request of ``modbot.config.unpin``: let config move the guild again."""

    guild: GuildId
    by: str = ""


class Reshard(Message, frozen=True, kw_only=True):
    """Request of ``modbot.config.reshard``: change the number of Discord's shards."""

    count: int = 0
    """Shards from now on."""
    abort: bool = False
    """Take the change back that is under way. Possible until its sessions are cut over."""
    by: str = ""


class SessionBudget(Message, frozen=True, kw_only=True):
    """Reply on ``modbot.shards.budget``: what Discord answers to ``GET /gateway/bot``."""

    replica: str
    recommended: int
    """Shards that Discord recommends."""
    remaining: int
    """Sessions that may still be started today."""
    reset_after_s: float
    max_concurrency: int
    """Sessions that may be started in 5 s."""
    problem: str = ""
    """Why Discord did not say; the figures then mean nothing."""


class PauseBalance(Message, frozen=True, kw_only=True):
    """Request of ``modbot.config.pause``: move nothing by itself (crashes are still answered, and
    what operators ask for is done); and of ``modbot.config.resume``."""

    reason: str = ""
    by: str = ""


class OperationStarted(Message, frozen=True, kw_only=True):
    """Reply of requests that change something."""

    operation: str
    """Its progress is on ``modbot.progress.<operation>``; empty: it is done already."""
    what: str


class HistoryQuery(Message, frozen=True, kw_only=True):
    """Request of ``modbot.config.history``: changes of ownership, newest first."""

    guild: GuildId | None = None
    pod: PodId | None = None
    """From or to this pod."""
    limit: int = 100
    """At most 1,000."""


class History(Message, frozen=True, kw_only=True):
    """Reply of ``modbot.config.history``."""

    changes: list[OwnershipChange]
