"""Why a guild moves, in words for an operator who reads the plan before it is made."""

from components.config.balance.followers import Followers
from components.config.balance.layout import NOBODY, Layout
from components.config.balance.owners import Owners
from contracts.ids import PodId


class Reasons:
    """Words for the moves of one plan. Many moves have the same: they are made once."""

    def __init__(self, layout: Layout, owners: Owners, followers: Followers) -> None:
        self._layout = layout
        self._owners = owners
        self._followers = followers
        self._said: dict[tuple[str, PodId | None, int, bool, bool], str] = {}
        self._said_of_followers: dict[tuple[str, PodId | None, int, int, bool, bool], str] = {}

    def own(self, guild: int) -> str:
        """Of a change of owner."""
        owners, layout = self._owners, self._layout
        cause, target = owners.cause[guild], owners.owner[guild]
        promotes = target == layout.follower[guild]
        source = layout.guilds[guild].owner
        key = (cause, source, target, promotes, target == layout.pin[guild])
        words = self._said.get(key)
        if words is None:
            words = self._own(guild)
            if promotes:
                words += f"; {layout.name(target)} follows it already"
            self._said[key] = words
        return words

    def follow(self, guild: int) -> str:
        """Of a change of follower."""
        owners, followers, layout = self._owners, self._followers, self._layout
        promoted = owners.owner[guild] == layout.follower[guild]
        source = followers.start[guild]
        owned = source == owners.owner[guild]
        before = layout.guilds[guild].follower
        target = followers.follower[guild]
        key = (followers.cause[guild], before, source, target, promoted, owned)
        words = self._said_of_followers.get(key)
        if words is None:
            words = self._said_of_followers[key] = self._follow(guild)
        return words

    def _own(self, guild: int) -> str:
        owners, layout = self._owners, self._layout
        cause, source = owners.cause[guild], layout.guilds[guild].owner
        target = layout.name(owners.owner[guild])
        if owners.owner[guild] == layout.pin[guild]:
            return f"it is pinned to {target}"
        if cause == "placed":
            return f"nobody owns it yet; {target} has most room"
        if cause == "gone":
            return f"its owner {source} is gone"
        if cause == "drained":
            return f"{source} is to be left"
        if cause == "capacity":
            return f"{source} may not own as many guilds"
        had = owners.start_share(layout.owner[guild])
        has = owners.start_share(owners.owner[guild])
        return f"{source} owned {had:.0%} of its share, {target} {has:.0%}"

    def _follow(self, guild: int) -> str:
        owners, followers, layout = self._owners, self._followers, self._layout
        cause, source = followers.cause[guild], followers.start[guild]
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
            return f"{name} may not follow as many guilds"
        if cause == "zone":
            if source == owners.owner[guild]:
                return f"{name} owns it"
            return f"its owner and its follower {name} would be in one zone, {layout.zone[source]}"
        target = followers.follower[guild]
        other = "" if target == NOBODY else f", {layout.name(target)} less"
        return f"to even out the work: {name} does more than its share{other}"
