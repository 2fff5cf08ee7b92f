"""Changes of owner on their way into the history: carried in the assignment until it has them.

The history follows the bus, and who writes it may be killed between the two. The assignment's own
fields say how its epoch began; what is not known to be recorded when the next epoch is written goes
with that. So every change is on the bus or in the history, whoever dies. Pure.
"""

from collections.abc import Callable
from typing import Final

from contracts.ids import Epoch
from contracts.records import Assignment, Holder, Holding, OwnerChange

CARRIED_AT_MOST: Final = 32
"""8 KB of an assignment. Of a guild that changes its owner more often while PostgreSQL is away, the
oldest changes are only in the memory of the replica that made them."""


def change_of(owned: Assignment, opened: Holding | None = None) -> OwnerChange:
    """How the assignment's epoch began; ``opened``: what its owner said when it had opened it."""
    return OwnerChange(
        epoch=owned.epoch,
        pod=owned.pod,
        incarnation=owned.incarnation,
        cause=owned.cause,
        since_ms=owned.since_ms,
        by=owned.by,
        reason=owned.reason,
        former=owned.former,
        took_ms=opened.took_ms if opened is not None else None,
        replayed=opened.replayed if opened is not None else None,
        source=opened.source if opened is not None else None,
    )


def owner_of(owned: Assignment) -> Holder:
    """The owner as the next epoch's assignment names it."""
    return Holder(pod=owned.pod, incarnation=owned.incarnation)


def carried(
    former: Assignment, opened: Holding | None, recorded: Callable[[Epoch], bool]
) -> list[OwnerChange]:
    """What the assignment that succeeds ``former`` carries: whatever is not ``recorded``."""
    changes = [*former.unrecorded, change_of(former, opened)]
    return [change for change in changes if not recorded(change.epoch)][-CARRIED_AT_MOST:]
