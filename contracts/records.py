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
    data: str
    """Identity of the data directory. The next incarnation that holds the lock on the same
    directory knows that this one has ended."""
    state: Literal["starting", "serving", "draining", "fenced"]
    guilds: int = 0
    applied_per_s: float = 0.0
    capacity: int
    """Most guilds that the pod takes."""
    replica: str = ""
    """Where the pod's database is backed up to: a prefix in the bucket."""
    version: str
    engine_version: int
    started_ms: int
    fenced_by: str = ""


class Assignment(Message, frozen=True, kw_only=True):
    """Bucket ``guilds``, key: guild. Written by the config leader alone, by compare-and-set."""

    guild: GuildId
    pod: PodId
    incarnation: Incarnation
    epoch: Epoch
    first_sequence: Sequence
    """The guild's first input ever: a pod without the guild's rows may rebuild them only while
    the log still holds it."""
    generation: Generation
    """Of INPUTS, when the guild was first placed."""
    cause: Literal["placed", "restarted", "replaced"]
    """``placed``: new; ``restarted``: same pod, new incarnation; ``replaced``: another pod."""
    since_ms: int


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


class ShardLease(Message, frozen=True, kw_only=True):
    """Bucket ``shards``, key: shard id. Expires unless renewed."""

    shard: int
    holder: str
    shard_count: int
    guilds: int = 0
    dispatches_per_s: float = 0.0
    state: Literal["starting", "connected", "resuming", "disconnected"] = "starting"
    since_ms: int


class ShardReplica(Message, frozen=True, kw_only=True):
    """Bucket ``shards``, key ``replica.<name>``: the replica lives and takes shard ids; key
    ``identify.<n>``: its turn to IDENTIFY under that concurrency key. Both expire."""

    replica: str
    since_ms: int


class SessionResume(Message, frozen=True, kw_only=True):
    """Bucket ``sessions``, key: shard id. What a replacement needs to RESUME."""

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
