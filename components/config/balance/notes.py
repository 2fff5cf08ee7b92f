"""What prevented balance, a pin, a drain or a follower, in words for an operator."""

from collections import Counter
from collections.abc import Iterator

from components.config.balance.followers import Followers
from components.config.balance.layout import NOBODY, Layout
from components.config.balance.model import BalanceOptions, Constraint, Note
from components.config.balance.owners import Owners

NAMED = 5
"""Guilds named in one note: the rest is counted."""
EVEN = 0.02
"""Differences below this are not worth a word."""


def explain(
    layout: Layout, options: BalanceOptions, owners: Owners, followers: Followers, left_over: int
) -> list[Note]:
    """Everything that stands in the way after the whole plan."""
    notes = [
        *owners.notes,
        *_pins(layout, owners),
        *_without_owner(layout, owners),
        *_still_there(layout, owners, followers),
        *_over_capacity(layout, owners),
        *_uneven(layout, options, owners),
    ]
    if options.followers:
        notes.extend(_without_follower(layout, followers))
    if left_over:
        notes.append(
            Note(
                constraint="budget",
                words=f"{left_over} more moves are left for the next runs: one makes at most "
                f"{options.budget}",
            )
        )
    return notes


def _pins(layout: Layout, owners: Owners) -> Iterator[Note]:
    absent: dict[str, list[int]] = {}
    for guild, pin in enumerate(layout.pin):
        if pin != NOBODY and not owners.pinned[guild]:
            absent.setdefault(layout.name(pin), []).append(guild)
    for pod, guilds in sorted(absent.items()):
        yield Note(
            constraint="pin",
            words=f"{_guilds(layout, guilds)} pinned to {pod}, which takes no guilds now, and "
            f"cannot go there",
        )


def _without_owner(layout: Layout, owners: Owners) -> Iterator[Note]:
    left = [guild for guild, pod in enumerate(owners.owner) if pod == NOBODY]
    if left and layout.taking:
        yield Note(
            constraint="capacity",
            words=f"no pod has room for {_guilds(layout, left)}: start another pod or raise the "
            f"capacity",
        )
    elif left:
        yield Note(constraint="pods", words=f"no pod takes guilds: {_guilds(layout, left)} wait")


def _still_there(layout: Layout, owners: Owners, followers: Followers) -> Iterator[Note]:
    """Pods that are to be left and are not."""
    for pod, room in enumerate(layout.pods):
        if not room.draining:
            continue
        owned = [guild for guild, owner in enumerate(owners.owner) if owner == pod]
        pinned = [guild for guild in owned if owners.pinned[guild]]
        stuck = [guild for guild in owned if not owners.pinned[guild]]
        if pinned:
            yield Note(
                constraint="pin",
                pod=room.pod,
                words=f"{room.pod} keeps {_guilds(layout, pinned)} pinned to it: unpin to drain it",
            )
        if stuck:
            yield Note(
                constraint="capacity" if layout.taking else "pods",
                pod=room.pod,
                words=f"{room.pod} keeps {_guilds(layout, stuck)}: no other pod has room",
            )
        followed = sum(follower == pod for follower in followers.follower)
        if followed:
            yield Note(
                constraint=_why_no_follower(layout),
                pod=room.pod,
                words=f"{room.pod} goes on following {followed} guilds that no other can follow",
            )


def _over_capacity(layout: Layout, owners: Owners) -> Iterator[Note]:
    owned = Counter(owners.owner)
    for pod in layout.taking:
        room = layout.pods[pod]
        if owned[pod] > room.capacity:
            yield Note(
                constraint="capacity",
                pod=room.pod,
                words=f"{room.pod} owns {owned[pod]} guilds and may own {room.capacity}: the "
                f"others have no room, or its guilds are pinned",
            )


def _uneven(layout: Layout, options: BalanceOptions, owners: Owners) -> Iterator[Note]:
    """Pods that end away from the mean."""
    loads = owners.loads()
    total = sum(loads[pod] for pod in layout.taking)
    if total <= 0:
        return
    mean = total / len(layout.taking)
    owned = Counter(owners.owner)
    pinned = [0.0] * len(layout.pods)
    heaviest = [0.0] * len(layout.pods)
    for guild, pod in enumerate(owners.owner):
        if owners.pinned[guild]:
            pinned[pod] += layout.weight[guild]
        heaviest[pod] = max(heaviest[pod], layout.weight[guild])
    within = True
    for pod in layout.taking:
        name, share = layout.name(pod), loads[pod] / mean
        if abs(share - 1) <= options.tolerance:
            within = within and abs(share - 1) <= EVEN
        elif owners.levelling == "slight":
            within = False
        elif share > 1 and pinned[pod] > mean:
            yield Note(
                constraint="pin",
                pod=name,
                words=f"{name} has {share:.2f} of the mean: the guilds pinned to it alone weigh "
                f"{pinned[pod] / mean:.2f} of it",
            )
        elif share < 1 and owned[pod] >= layout.pods[pod].capacity:
            yield Note(
                constraint="capacity",
                pod=name,
                words=f"{name} has {share:.2f} of the mean and is full with {owned[pod]} guilds",
            )
        elif share > 1 and all(
            owned[other] >= layout.pods[other].capacity for other in layout.taking if other != pod
        ):
            yield Note(
                constraint="capacity",
                pod=name,
                words=f"{name} has {share:.2f} of the mean: all other pods are full",
            )
        else:
            yield Note(
                constraint="guild",
                pod=name,
                words=f"{name} has {share:.2f} of the mean: guilds are too heavy to divide more "
                f"evenly (its heaviest weighs {heaviest[pod] / mean:.2f} of the mean)",
            )
    if not within:
        yield Note(
            constraint="hysteresis",
            words=f"pods within {options.tolerance:.0%} of their share are left alone, and so is "
            f"what gains less than {options.least_gain:.0%} of the mean",
        )


def _without_follower(layout: Layout, followers: Followers) -> Iterator[Note]:
    left = [guild for guild in followers.missing if followers.follower[guild] == NOBODY]
    paired = [guild for guild in followers.missing if followers.follower[guild] != NOBODY]
    constraint = _why_no_follower(layout)
    why = {
        "pods": "there is no second pod",
        "zone": "no pod of another zone has room",
        "capacity": "no other pod has room",
    }[constraint]
    if left:
        yield Note(constraint=constraint, words=f"{_guilds(layout, left)} without follower: {why}")
    if paired:
        yield Note(
            constraint=constraint,
            words=f"{_guilds(layout, paired)} with a follower that should be elsewhere: {why}",
        )
    if layout.one_zone and len(layout.taking) > 1:
        yield Note(
            constraint="zone",
            words=f"owners and followers share the zone {layout.one_zone}: no pod of another takes "
            f"guilds",
        )


def _why_no_follower(layout: Layout) -> Constraint:
    if len(layout.taking) < 2:
        return "pods"
    return "zone" if layout.zoned else "capacity"


def _guilds(layout: Layout, guilds: list[int]) -> str:
    named = ", ".join(layout.guilds[guild].guild for guild in guilds[:NAMED])
    more = len(guilds) - NAMED
    count = "1 guild" if len(guilds) == 1 else f"{len(guilds)} guilds"
    return f"{count} ({named}{f' and {more} more' if more > 0 else ''})"
