"""Who is to follow what, once the owners are known: first who must be replaced, then balance.

A follower is on another pod than the owner, in another zone where pods state zones, and on no pod
that is leaving. Its cost counts towards the load of its pod beside what the pod owns.
"""

from collections.abc import Mapping
from typing import Literal

from components.config.balance.layout import NOBODY, Layout
from components.config.balance.level import levels
from components.config.balance.leveller import Leveller, Levelling
from components.config.balance.model import BalanceOptions

Cause = Literal["placed", "gone", "drained", "capacity", "zone", "balance", "off"]


class Followers:
    """One plan's followers. After `settle`: ``follower`` per guild, ``cause`` of each that moves,
    ``missing`` for guilds that have none although they should."""

    def __init__(self, layout: Layout, options: BalanceOptions, owner: list[int]) -> None:
        self._layout = layout
        self._options = options
        self._owner = owner
        self._owners_moved = sum(
            weight
            for weight, before, now in zip(layout.weight, layout.owner, owner, strict=True)
            if before != now
        )
        self.follower = [self._kept(guild) for guild in range(len(layout.guilds))]
        self.start = list(self.follower)
        """Once the owners have moved, before anything here."""
        self.cause: dict[int, Cause] = {}
        """In the order in which their follower was first changed."""
        self.missing: list[int] = []
        self.bound = 0.0
        self.levelling: Levelling = "none"
        share = options.follower_share
        self._base = [0.0] * len(layout.pods)
        """What each pod owns."""
        base_doubt = [0.0] * len(layout.pods)
        for guild, pod in enumerate(owner):
            if pod != NOBODY:
                self._base[pod] += layout.weight[guild]
                base_doubt[pod] += layout.doubt[guild]
        self._leveller = Leveller(
            pods=layout.taking,
            base=self._base,
            room=[pod.capacity for pod in layout.pods],
            levels=self._levels(),
            sizes=[share * weight for weight in layout.weight],
            doubts=[share**2 * doubt for doubt in layout.doubt],
            base_doubt=base_doubt,
            certainty=options.certainty,
            place=self.follower,
            groups=owner,  # when a pod is lost, all others share its guilds
            apart=layout.apart,
        )

    def loads(self) -> list[float]:
        """All work of each pod: what it owns, and the share of what it follows."""
        return self._leveller.loads()

    def settle(self) -> None:
        """Do it all."""
        layout, leveller, options = self._layout, self._leveller, self._options
        forced = self._forced()
        leveller.free_to_move(
            guild
            for guild, pod in enumerate(self.follower)
            if pod != NOBODY and layout.takes[pod] and guild not in forced
            if not self._frozen(guild)
        )
        self.missing = self._place(forced)
        if not options.followers:
            return
        leveller.aim(self._levels(placed=True, undivided=True), at_least=self._levels(placed=True))
        mark = len(leveller.journal)
        moved = self._owners_moved + sum(leveller.sizes[guild] for guild in self.cause)
        self.levelling = leveller.level_out(options.tolerance, options.least_gain, moved)
        self.bound = leveller.bound
        for guild, _, _ in leveller.journal[mark:]:
            self.cause.setdefault(guild, "balance")
        self.missing = self._place({guild: forced[guild] for guild in self.missing})
        self.bound += sum(
            leveller.sizes[guild]
            for guild, cause in self.cause.items()
            if cause != "balance" and self.follower[guild] != NOBODY
        )

    def _place(self, forced: Mapping[int, Cause]) -> list[int]:
        """Give each a new follower; those for which there is none are returned. One that moves
        may make room for one that was tried before it."""
        waiting = list(forced)
        while waiting:
            left = [guild for guild in waiting if not self._place_one(guild, forced[guild])]
            full = [pod for pod in self._layout.taking if self._leveller.free[pod] < 0]
            evicted = [pod for pod in full if self._evict(pod)]
            if len(left) == len(waiting) and not evicted:
                return left
            waiting = left
        return []

    def _place_one(self, guild: int, cause: Cause) -> bool:
        target = NOBODY if cause == "off" else self._leveller.roomiest(guild)
        if target is None:
            if self.follower[guild] == self._owner[guild]:
                self._leveller.put(guild, NOBODY)
                self.cause[guild] = cause
            return False
        self._leveller.put(guild, target)
        self.cause[guild] = cause
        return True

    def _kept(self, guild: int) -> int:
        """The follower that a guild has when its owner has moved: a promotion leaves the old owner
        as follower if that stays."""
        layout = self._layout
        follower, before = layout.follower[guild], layout.owner[guild]
        if self._owner[guild] == follower != before:
            return before if before != NOBODY and layout.takes[before] else NOBODY
        return follower

    def _frozen(self, guild: int) -> bool:
        """Its owner cannot give a copy at the moment, or its follower is only away for a while."""
        owner, follower, away = self._owner[guild], self.follower[guild], self._layout.away
        return owner == NOBODY or away[owner] or (follower != NOBODY and away[follower])

    def _forced(self) -> dict[int, Cause]:
        """What cannot stay as it is, guilds without a follower first, then the heaviest."""
        layout = self._layout
        first: dict[int, Cause] = {}
        drained: dict[int, Cause] = {}
        zone: dict[int, Cause] = {}
        for guild, pod in enumerate(self.follower):
            if not self._options.followers:
                if pod != NOBODY:
                    first[guild] = "off"
            elif self._frozen(guild):
                continue
            elif pod == NOBODY:
                first[guild] = "placed" if layout.guilds[guild].follower is None else "gone"
            elif not layout.takes[pod]:
                drained[guild] = "drained"
            elif not layout.may_pair(self._owner[guild], pod):
                zone[guild] = "zone"
        return layout.heaviest_first(first, drained, zone)

    def _evict(self, pod: int) -> bool:
        guild = self._leveller.lightest(pod)
        target = None if guild is None else self._leveller.roomiest(guild)
        if guild is None or target is None:
            return False
        self._leveller.put(guild, target)
        self.cause.setdefault(guild, "capacity")
        return True

    def _levels(self, *, placed: bool = False, undivided: bool = False) -> list[float]:
        """The level of each pod for what is followed: when all is ``placed``, what really is.
        ``undivided``: as for `Owners`."""
        layout, share, base = self._layout, self._options.follower_share, self._base
        followed = [
            share * layout.weight[guild]
            for guild, pod in enumerate(self.follower)
            if (pod != NOBODY and layout.takes[pod]) or not (placed or self._frozen(guild))
        ]
        taking = layout.taking
        mean = sum(followed) / max(len(followed), 1)
        total = sum(followed) + sum(base[pod] for pod in taking)
        least = list(base)
        for guild, pod in enumerate(self.follower) if undivided else ():
            if pod != NOBODY:
                least[pod] = max(least[pod], base[pod] + share * layout.weight[guild])
        most = [max(base[pod] + layout.pods[pod].capacity * mean, least[pod]) for pod in taking]
        result = [0.0] * len(layout.pods)
        for pod, level in zip(
            taking, levels(total, [least[pod] for pod in taking], most), strict=True
        ):
            result[pod] = level
        return result
