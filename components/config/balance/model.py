"""What balancing is asked and what it answers: plain data.

A weight is a share of a pod's work in any unit, the same for all guilds (`weights.weigh`). Times
do not occur: the plan says what to do, not when.
"""

from typing import Literal

import msgspec

from contracts.ids import GuildId, PodId

Constraint = Literal["pin", "zone", "capacity", "pods", "guild", "hysteresis", "budget"]
"""What kept balance from being better. ``pods``: there are too few; ``guild``: single guilds are
too heavy to be divided."""

# ``gc=False``: they hold no references that could form a cycle, and there are 100,000s of them.


class PodRoom(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """A pod that may hold guilds. A pod that is not listed is gone, and its guilds must leave."""

    pod: PodId
    zone: str = ""
    """Empty: not stated, and different from every other."""
    capacity: int
    """Most guilds that it owns, and most that it follows."""
    draining: bool = False
    """It is to end with nothing."""
    ends: bool = False
    """Beside that: it ends, so what is pinned to it leaves it too."""
    away: bool = False
    """Not there at the moment and not given up: what it holds stays with it, nothing is added."""


class GuildLoad(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """A guild, its weight, and who holds it. ``owner`` None: it waits for its first one."""

    guild: GuildId
    weight: float = 1.0
    """Anything that is not a positive number counts as 1."""
    doubt: float = 0.0
    """Variance of the weight: how much of it may be chance."""
    owner: PodId | None = None
    follower: PodId | None = None


class BalanceOptions(msgspec.Struct, frozen=True, kw_only=True):
    """How much is moved, and when."""

    followers: Literal[0, 1] = 1
    follower_share: float = 0.5
    """What following a guild costs, as a share of what owning it costs."""
    tolerance: float = 0.10
    """A pod within this of its level is left alone."""
    certainty: float = 4.0
    """So many standard deviations of what was measured may be chance: a pod that is outside the
    tolerance by less is left alone too, unless it is so by more than the heaviest guild."""
    least_gain: float = 0.05
    """Nothing is moved for balance unless it brings a pod outside the tolerance nearer to its
    level by this share of the mean load."""
    budget: int | None = None
    """Most moves in one plan; what is left over is in the plan of the next run."""

    def __post_init__(self) -> None:
        if not 0 < self.follower_share <= 1:
            raise ValueError("follower_share must be above 0 and at most 1")
        if not self.certainty >= 0:
            raise ValueError("certainty must not be negative")
        if not 0 <= self.least_gain <= self.tolerance / 2:
            raise ValueError("least_gain must be between 0 and half of the tolerance")
        if self.budget is not None and self.budget < 1:
            raise ValueError("a budget below 1 never moves anything; pause balancing instead")


class Move(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """One change. ``own`` to the guild's follower is a promotion: the two change places (unless
    ``from_pod`` is leaving); ``own`` to another pod leaves the follower as it is."""

    guild: GuildId
    kind: Literal["own", "follow"]
    from_pod: PodId | None
    """None: nobody held it in this role."""
    to_pod: PodId | None
    """None only to end following."""
    cause: Literal["placed", "gone", "pinned", "drained", "capacity", "zone", "balance", "off"]
    promotes: bool = False
    """The target follows the guild already: nothing has to be copied."""
    reason: str
    weight: float


class Note(msgspec.Struct, frozen=True, kw_only=True):
    """Why balance, a pin, a drain or a follower was not had, in words for an operator."""

    constraint: Constraint
    words: str
    pod: PodId | None = None


class Figures(msgspec.Struct, frozen=True, kw_only=True):
    """How even the load of the pods is that take guilds. 1.0 is perfect; 0.0 without load."""

    owned_max_over_mean: float
    """Of the weights owned."""
    load_max_over_mean: float
    """Of all work: the weights owned and the share that following costs."""
    load_min_over_mean: float = 0.0
    """Of the pod with least to do."""


class BalancePlan(msgspec.Struct, frozen=True, kw_only=True):
    """Moves in the order in which to make them, and what prevents more."""

    moves: list[Move]
    notes: list[Note]
    before: Figures
    after: Figures
    """Once the listed moves are made."""
    left_over: int = 0
    """Moves beyond the budget."""
    own_weight_moved: float = 0.0
    """Of the whole plan, also of what is beyond the budget."""
    own_weight_bound: float = 0.0
    """Least weight that any plan must move to reach what this one aims at: nothing where it cannot
    stay, and the pods that are levelled at their levels.

    It is the weight of what had to leave its pod (drained, gone, pinned elsewhere, over capacity),
    and after that, of the pods that are levelled, what they have above their levels or what they
    lack, whichever is more. It is a lower bound, because moving a guild takes at most its weight
    off the excess of the pod that it leaves and adds at most its weight to what the pod that it
    goes to lacks: whatever moves less leaves at least the difference undone. The levels are aimed
    at, not the edge of the tolerance (1.10 of the mean), which could be reached with less: what
    stops there begins anew with the next guild. 0 when nothing is moved."""
    follow_weight_moved: float = 0.0
    follow_weight_bound: float = 0.0
    """The same for followers."""
