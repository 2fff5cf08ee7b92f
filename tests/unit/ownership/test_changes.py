"""What an assignment carries of the changes before it, until they are recorded."""

import msgspec

from components.ownership.changes import CARRIED_AT_MOST, carried, change_of, owner_of
from contracts.ids import Epoch, Generation, GuildId, Incarnation, PodId, Sequence
from contracts.records import Assignment, Holder, Holding

GUILD = GuildId("1")
FIRST = Assignment(
    guild=GUILD,
    pod=PodId("a"),
    incarnation=Incarnation("a-1"),
    epoch=Epoch(1),
    first_sequence=Sequence(1),
    generation=Generation("g"),
    cause="placed",
    since_ms=5,
    by="config-0",
    reason="new",
)


def opened(epoch: int) -> Holding:
    return Holding(
        guild=GUILD,
        pod=PodId("a"),
        incarnation=Incarnation("a-1"),
        data="d",
        role="own",
        epoch=Epoch(epoch),
        sequence=Sequence(1),
        beat=1,
        source="log",
        took_ms=12,
        replayed=0,
    )


def succeeded(former: Assignment, recorded: int) -> Assignment:
    """The next epoch, while the history ends with ``recorded``."""
    return msgspec.structs.replace(
        former,
        epoch=Epoch(former.epoch + 1),
        cause="restarted",
        former=owner_of(former),
        unrecorded=carried(former, opened(former.epoch), lambda epoch: epoch <= recorded),
    )


def test_what_is_recorded_is_not_carried() -> None:
    assert succeeded(FIRST, recorded=1).unrecorded == []


def test_every_change_since_the_last_that_is_recorded_is_carried_with_how_it_went() -> None:
    third = succeeded(succeeded(FIRST, recorded=0), recorded=0)
    first, second = third.unrecorded
    assert (first.epoch, first.cause, first.by, first.reason) == (1, "placed", "config-0", "new")
    assert (first.since_ms, first.former, first.took_ms, first.replayed) == (5, None, 12, 0)
    assert second.former == Holder(pod=PodId("a"), incarnation=Incarnation("a-1"))
    assert change_of(third).epoch == 3
    assert [change.epoch for change in succeeded(third, recorded=2).unrecorded] == [3]


def test_no_more_are_carried_than_fit_and_the_latest_are_kept() -> None:
    owned = FIRST
    for _ in range(CARRIED_AT_MOST + 3):
        owned = succeeded(owned, recorded=0)
    epochs = [change.epoch for change in owned.unrecorded]
    assert len(epochs) == CARRIED_AT_MOST
    assert epochs[-1] == owned.epoch - 1
