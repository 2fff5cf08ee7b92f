"""What placement knows and what it decides: plain data between `placement` and its shell.

Times are seconds on the steady clock of the process that holds the data.
"""

from collections.abc import Collection, Mapping

import msgspec

from contracts.ids import Generation, GuildId, PodId, Sequence
from contracts.records import Assignment, PodLease, RegisteredGuild


class Pod(msgspec.Struct, frozen=True, kw_only=True):
    """A pod as its key shows it. ``lease`` is the last one seen, also when it has ended."""

    pod: PodId
    lease: PodLease | None = None
    revision: int = 0
    """Of the key; 0 when the server knows of no write."""
    away_since_s: float | None = None
    """Steady time; None while the lease is held."""

    @property
    def fenced(self) -> bool:
        """The pod's last incarnation can never renew again."""
        return self.lease is not None and self.lease.state == "fenced"


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


class World(msgspec.Struct, frozen=True, kw_only=True):
    """Everything that a plan is made from."""

    now_s: float
    judge_from_s: float
    """Nobody is judged before: NATS or the leader has only just come (back)."""
    replace_after_s: float
    pods: Mapping[PodId, Pod]
    registry: Mapping[GuildId, RegisteredGuild]
    assignments: Mapping[GuildId, Held]
    logs: Mapping[GuildId, LogFact]
    placed_before: Collection[GuildId]
    """Guilds that must have an assignment, by the history or by a deleted key."""
    history_pending_until_s: float | None = None
    """The history has not been read yet: until then no new guild is placed, so that PostgreSQL
    can say which ones are not new. After it placement goes on without (design.md, "Losing
    things")."""


class Assign(msgspec.Struct, frozen=True, kw_only=True):
    """Write the assignment if the key's revision is still ``revision``."""

    assignment: Assignment
    revision: int
    reason: str


class Fence(msgspec.Struct, frozen=True, kw_only=True):
    """Overwrite the pod's key with ``lease`` if its revision is still ``revision``."""

    lease: PodLease
    revision: int
    reason: str


class Waiting(msgspec.Struct, frozen=True, kw_only=True):
    """Nobody serves the guild at the moment."""

    pod: PodId | None
    reason: str


class Plan(msgspec.Struct, frozen=True, kw_only=True):
    """What is to be done now, and who waits for what."""

    assign: list[Assign]
    fence: list[Fence]
    look_up: list[GuildId]
    """Guilds whose log must be looked at before something is decided about them."""
    waiting: dict[GuildId, Waiting]
    wake_at_s: float | None
    """When time alone changes the plan; None when only news can."""

    @property
    def acts(self) -> bool:
        """Whether there is anything to write."""
        return bool(self.assign or self.fence)
