"""How a change of the number of shards goes on: functions of its plan and of what replicas show.

Promise: from whatever is left when config, a replica or NATS was killed, the next step is the
same; so a change ends in ``done`` or, before its cut, in ``aborted``. The argument for the order of
the steps is in docs/decisions, 0008-reshard.
"""

import math
from collections import Counter
from collections.abc import Collection, Iterable, Mapping
from datetime import UTC, datetime
from typing import Literal

import msgspec

from contracts.ids import GuildId
from contracts.operations import OperationProgress, SessionBudget, ShardsStatus
from contracts.records import ShardLease, ShardPlan

GUILDS_PER_SHARD = 2_500
"""Discord's limit (docs: events/gateway#sharding)."""
NEAR = 0.9
"""From this part of the limit on operators are told."""
MOST_SHARDS = 10_000
TURN_S = 6
"""Seconds between two IDENTIFYs of one concurrency key (`components.shard.identify`)."""
OLD_WAIT_S = 30.0
"""How long the cut waits for an old shard that is not connected: its guilds hear nothing until a
replica has resumed its session, which is better done before. After that the cut is made all the
same, for it may never connect again."""

Leases = Mapping[tuple[int, int], ShardLease]
"""By generation and shard id."""


class Shards(msgspec.Struct, frozen=True, kw_only=True):
    """What an installation runs between two changes."""

    generation: int
    count: int


def under_way(plan: ShardPlan | None) -> bool:
    """Whether the plan has not come to its end."""
    return plan is not None and plan.phase in ("connect", "cut")


def running(plan: ShardPlan | None, leases: Leases) -> Shards:
    """The shards that serve now. Without a plan the replicas' own setting counts; 0: none is
    held, or they do not agree."""
    if plan is None:
        counts = {lease.shard_count for (generation, _), lease in leases.items() if not generation}
        return Shards(generation=0, count=counts.pop() if len(counts) == 1 else 0)
    if plan.phase in ("connect", "aborted"):
        return Shards(generation=plan.from_generation, count=plan.from_count)
    return Shards(generation=plan.generation, count=plan.count)


def per_shard(guilds: Iterable[GuildId], count: int) -> Counter[int]:
    """Guilds of each shard id (docs: events/gateway#sharding-sharding-formula)."""
    return Counter((int(guild) >> 22) % count for guild in guilds)


def reserve(count: int) -> int:
    """Sessions that a change must leave for what else may happen today, and for starting some of
    its own anew: one IDENTIFY too many resets the bot's token."""
    return 20 + math.ceil(count / 4)


def connects_in_s(count: int, max_concurrency: int) -> int:
    """About how long it takes until so many sessions are started."""
    return TURN_S * math.ceil(count / max(1, max_concurrency))


def refusal(
    count: int, now: Shards, guilds: Collection[GuildId], budget: SessionBudget
) -> str | None:
    """Why the number cannot be changed to ``count``, and what to do; None: it can."""
    if not 1 <= count <= MOST_SHARDS:
        return f"the number of shards is 1 to {MOST_SHARDS}"
    if count == now.count:
        return f"there are {count} shards already"
    shard, most = max(per_shard(guilds, count).items(), key=lambda item: item[1], default=(0, 0))
    if most > GUILDS_PER_SHARD:
        return (
            f"with {count} shards, shard {shard} would have {most:,} guilds, and Discord allows "
            f"{GUILDS_PER_SHARD:,} a shard: take at least {_enough(guilds, count)} shards"
        )
    if budget.problem:
        return f"Discord does not say how many sessions may be started: {budget.problem}"
    needed = count + reserve(count)
    if budget.remaining < needed:
        return (
            f"Discord grants {budget.remaining:,} more new sessions today, and {needed:,} are "
            f"needed ({count:,} shards and a reserve of {reserve(count)}); one too many would "
            f"reset the bot's token. The count starts anew in {_duration(budget.reset_after_s)}"
        )
    return None


def next_phase(
    plan: ShardPlan, leases: Leases, ended: Collection[int], waited_s: float
) -> Literal["cut", "done"] | None:
    """The phase that can be written now. ``ended``: shard ids of the old generation whose sessions
    have ended; ``waited_s``: how long all new sessions have been ready."""
    if plan.phase == "connect" and ready(plan, leases) == plan.count:
        old = [leases.get((plan.from_generation, shard)) for shard in range(plan.from_count)]
        if waited_s >= OLD_WAIT_S or all(one and one.state == "connected" for one in old):
            return "cut"
    if plan.phase == "cut" and set(range(plan.from_count)) <= set(ended):
        new = [leases.get((plan.generation, shard)) for shard in range(plan.count)]
        if all(one is not None and one.overlap == "over" for one in new):
            return "done"
    return None


def ready(plan: ShardPlan, leases: Leases) -> int:
    """How many of the new sessions have all their guilds."""
    return _new(plan, leases, "ready", "storing", "over")


def refused(plan: ShardPlan, leases: Leases) -> str:
    """Why Discord takes no session of the new number; "" while it does."""
    found = (leases.get((plan.generation, shard)) for shard in range(plan.count))
    return next((one.refused for one in found if one is not None and one.refused), "")


def progress(
    plan: ShardPlan, leases: Leases, ended: Collection[int], max_concurrency: int
) -> OperationProgress:
    """How far the change has come."""
    state: Literal["running", "done", "failed"] = "running"
    done, text = 0, ""
    if plan.phase == "connect":
        done = ready(plan, leases)
        left_s = connects_in_s(plan.count - done, max_concurrency)
        text = f"starting sessions beside the old ones, about {left_s} s left"
    elif plan.phase == "cut":
        done = _new(plan, leases, "over")
        text = (
            f"cutting guilds over since {_at(plan)}; "
            f"{len(ended)} of {plan.from_count} old sessions have ended"
        )
    elif plan.phase == "done":
        state, done, text = "done", plan.count, f"guilds were cut over at {_at(plan)}"
    else:
        state, text = "failed", f"taken back: {plan.text}"
    return OperationProgress(
        operation=plan.operation,
        what=f"change from {plan.from_count} to {plan.count} shards",
        done=done,
        total=plan.count,
        text=text,
        state=state,
    )


def status(plan: ShardPlan | None, leases: Leases, guilds: Collection[GuildId]) -> ShardsStatus:
    """The shards in one line, and what an operator should do about them."""
    now = running(plan, leases)
    connected = sum(
        lease.state == "connected"
        for (generation, _), lease in leases.items()
        if generation == now.generation
    )
    fullest, most = 0, 0
    if now.count:
        fullest, most = max(
            per_shard(guilds, now.count).items(), key=lambda item: item[1], default=(0, 0)
        )
    warning = ""
    if most >= NEAR * GUILDS_PER_SHARD:
        warning = (
            f"shard {fullest} has {most:,} of the {GUILDS_PER_SHARD:,} guilds that Discord allows: "
            f"modbot ops reshard {_enough(guilds, now.count + 1, part=0.75)}"
        )
    return ShardsStatus(
        count=now.count,
        connected=connected,
        fullest=most,
        guilds_per_shard=GUILDS_PER_SHARD,
        replicas=len({lease.holder for lease in leases.values()}),
        warning=warning,
    )


def _new(plan: ShardPlan, leases: Leases, *overlaps: str) -> int:
    found = (leases.get((plan.generation, shard)) for shard in range(plan.count))
    return sum(lease is not None and lease.overlap in overlaps for lease in found)


def _enough(guilds: Collection[GuildId], count: int, *, part: float = 1.0) -> int:
    """The smallest number from ``count`` on whose fullest shard has at most that part of the
    limit."""
    most = part * GUILDS_PER_SHARD
    count = max(count, math.ceil(len(guilds) / most))
    while count < MOST_SHARDS and max(per_shard(guilds, count).values(), default=0) > most:
        count += 1
    return count


def _at(plan: ShardPlan) -> str:
    """The instant of the cut."""
    return f"{datetime.fromtimestamp(plan.cut_ms / 1000, UTC):%Y-%m-%d %H:%M:%S} UTC"


def _duration(seconds: float) -> str:
    minutes = math.ceil(seconds / 60)
    return f"{minutes // 60} h {minutes % 60} min" if minutes >= 60 else f"{minutes} min"
