"""Which numbers of shards this installation runs at the moment: a function of its plan.

Without a plan it is what the replicas are set to. While the number changes there are two
generations side by side, each with its own leases and sessions.
"""

import msgspec

from contracts.records import ShardPlan


class Generation(msgspec.Struct, frozen=True, kw_only=True):
    """One number of shards."""

    generation: int
    count: int
    from_count: int = 0
    """While it is the new one: how many the old one has. 0: it is the only one, or the old."""
    ending: bool = False
    """Its sessions are to end."""


def wanted(plan: ShardPlan | None, configured: int) -> tuple[Generation, ...]:
    """The generations that replicas hold shard ids of."""
    if plan is None:
        return (Generation(generation=0, count=configured),)
    old = Generation(
        generation=plan.from_generation, count=plan.from_count, ending=plan.phase == "cut"
    )
    new = Generation(generation=plan.generation, count=plan.count)
    match plan.phase:
        case "connect" | "cut":
            return old, msgspec.structs.replace(new, from_count=plan.from_count)
        case "aborted":
            return (old,)
        case "done":
            return (new,)
