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
        *_still_there(layout, options, owners, followers),
        *_over_capacity(layout, owners),
        *_uneven(layout, options, owners),
    ]
    if options.followers:
        notes.extend(_without_follower(layout, followers))
        notes.extend(_uneven_work(layout, options, followers))
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
    for guild, load in enumerate(layout.guilds):
        if layout.kept[guild] and not owners.pinned[guild]:
            absent.setdefault(layout.pins[load.guild], []).append(guild)
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


def _still_there(
    layout: Layout, options: BalanceOptions, owners: Owners, followers: Followers
) -> Iterator[Note]:
    """Pods that are to be left and are not."""
    for pod, room in enumerate(layout.pods):
        if not room.draining:
            continue
        owned = [guild for guild, owner in enumerate(owners.owner) if owner == pod]
        if room.away:
            yield Note(
                constraint="pods",
                pod=room.pod,
                words=f"{room.pod} is to be left and is away: it is left when it is back or gone",
            )
            continue
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
        if followed and options.followers:
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
    """Pods that end away from the mean of what is owned. Where levelling was not worth its while,
    only what keeps a pod's level itself away from the mean is a reason of its own."""
    loads = owners.loads()
    total = sum(loads[pod] for pod in layout.taking)
    if total <= 0:
        return
    mean = total / len(layout.taking)
    owned: list[list[int]] = [[] for _ in layout.pods]
    for guild, pod in enumerate(owners.owner):
        if pod != NOBODY:
            owned[pod].append(guild)
    slight = owners.levelling == "slight"
    left_alone = False
    for pod in layout.taking:
        share = loads[pod] / mean
        off_level = abs(loads[pod] - owners.level(pod)) / mean
        if abs(share - 1) <= options.tolerance:
            left_alone = left_alone or abs(share - 1) > EVEN
            continue
        left_alone = left_alone or (slight and off_level > EVEN)
        constraint, why = _why_uneven(layout, options, owners, pod, owned[pod], mean)
        if slight and constraint == "guild":
            continue
        name = layout.name(pod)
        yield Note(
            constraint=constraint, pod=name, words=f"{name} owns {share:.2f} of the mean: {why}"
        )
    if left_alone:
        yield Note(
            constraint="hysteresis",
            words=f"pods within {options.tolerance:.0%} of their share are left alone, and so is "
            f"what gains less than {options.least_gain:.0%} of the mean or may be chance in what "
            f"was measured",
        )


def _why_uneven(
    layout: Layout, options: BalanceOptions, owners: Owners, pod: int, owned: list[int], mean: float
) -> tuple[Constraint, str]:
    pinned = sum(layout.weight[guild] for guild in owned if owners.stays(guild))
    level, room = owners.level(pod) / mean, layout.pods[pod].capacity
    if level > 1 + options.tolerance:
        if pinned / mean > level - options.tolerance:
            return "pin", (
                f"the guilds pinned to it, or kept on it until they can go to the pods to which "
                f"they are pinned, alone weigh {pinned / mean:.2f} of it"
            )
        return "capacity", "other pods may not own as many guilds as would be their share"
    if level < 1 - options.tolerance or (len(owned) >= room and owners.loads()[pod] < mean):
        if len(owned) + 1 >= room:
            return "capacity", f"it may own {room} guilds"
        return "pin", "guilds pinned to other pods are missing here"
    heaviest = max((layout.weight[guild] for guild in owned), default=0.0) / mean
    return "guild", (
        f"no guild can move without making it worse elsewhere (its heaviest is {heaviest:.2f})"
    )


def _uneven_work(layout: Layout, options: BalanceOptions, followers: Followers) -> Iterator[Note]:
    """Pods that have too much to do, followers counted, for that these cannot go elsewhere."""
    if followers.levelling == "slight" and not layout.zoned:
        return
    loads = followers.loads()
    total = sum(loads[pod] for pod in layout.taking)
    heaviest = max(layout.weight, default=0.0)
    following = set(followers.follower)
    for pod in layout.taking:
        mean = total / len(layout.taking)
        if pod in following and loads[pod] > (1 + options.tolerance) * mean + heaviest:
            name = layout.name(pod)
            why = "of the zones" if layout.zoned else "of who owns what"
            yield Note(
                constraint="zone" if layout.zoned else "pods",
                pod=name,
                words=f"{name} has {loads[pod] / mean:.2f} of the mean to do, followers counted: "
                f"what it follows can be followed nowhere else, because {why}",
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
