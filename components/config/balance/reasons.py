"""Why a guild moves, in words for an operator who reads the plan before it is made."""

from components.config.balance.followers import Followers
from components.config.balance.layout import NOBODY, Layout
from components.config.balance.owners import Owners


def own_reason(layout: Layout, owners: Owners, guild: int) -> str:
    """Of a change of owner."""
    load, cause = layout.guilds[guild], owners.cause[guild]
    target = layout.name(owners.owner[guild])
    if cause == "placed":
        words = f"nobody owns it yet; {_why_there(owners, guild, layout)}"
    elif cause == "gone":
        words = f"its owner {load.owner} is gone"
    elif cause == "pinned":
        words = f"it is pinned to {target}"
    elif cause == "drained":
        words = f"{load.owner} is to be left"
    elif cause == "capacity":
        words = f"{load.owner} is full"
    else:
        source = layout.owner[guild]
        words = (
            f"{load.owner} owned {owners.start_share(source):.0%} of its share, "
            f"{target} {owners.start_share(owners.owner[guild]):.0%}"
        )
    if owners.owner[guild] == layout.follower[guild]:
        words += f"; {target} follows it already"
    return words


def follow_reason(layout: Layout, owners: Owners, followers: Followers, guild: int) -> str:
    """Of a change of follower."""
    cause = followers.cause[guild]
    source = followers.start[guild]
    if cause == "off":
        return "followers are switched off"
    if cause == "placed":
        return "nobody follows it yet"
    if cause == "gone":
        if owners.owner[guild] == layout.follower[guild]:
            return "its follower becomes its owner, and its owner does not stay"
        return f"its follower {layout.guilds[guild].follower} is gone"
    name = layout.name(source)
    if cause == "drained":
        return f"its follower {name} is to be left"
    if cause == "capacity":
        return f"{name} follows as many guilds as it may"
    if cause == "zone":
        if source == owners.owner[guild]:
            return f"{name} owns it"
        return f"its owner and its follower {name} would be in one zone, {layout.zone[source]}"
    target = layout.name(followers.follower[guild]) if followers.follower[guild] != NOBODY else ""
    return f"to even out the work of following: {name} has more than its share, {target} less"


def _why_there(owners: Owners, guild: int, layout: Layout) -> str:
    target = layout.name(owners.owner[guild])
    if owners.pinned[guild]:
        return f"it is pinned to {target}"
    return f"{target} has most room"
