"""Requests to the config service, ``modbot.config.<endpoint>``, and their replies."""

from typing import Literal

from contracts.ids import Epoch, GuildId, Incarnation, PodId
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


class WaitingGuild(Message, frozen=True, kw_only=True):
    """A guild that nobody serves at the moment, and why."""

    guild: GuildId
    name: str = ""
    pod: PodId | None = None
    reason: str


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
