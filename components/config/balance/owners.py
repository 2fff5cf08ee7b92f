"""Who is to own what: first what must move, then balance.

What must move goes in the order of need: guilds that nobody owns, pinned guilds that are elsewhere,
guilds of pods that are leaving, and what is over a pod's capacity; the heaviest first. A guild goes
to its follower rather than elsewhere when that pod has room below its level, for nothing has to be
copied then, and always when its owner is gone, for there its state is.
"""

from typing import Literal

from components.config.balance.layout import NOBODY, Layout
from components.config.balance.level import levels
from components.config.balance.leveller import Leveller, Levelling
from components.config.balance.model import BalanceOptions, Note

Cause = Literal["placed", "gone", "pinned", "drained", "capacity", "balance"]


class Owners:
    """One plan's owners. After `settle`: ``owner`` per guild, ``cause`` per guild that moves."""

    def __init__(self, layout: Layout, options: BalanceOptions) -> None:
        self._layout = layout
        self._options = options
        self.owner = list(layout.owner)
        self.cause: dict[int, Cause] = {}
        """In the order in which the guilds were first moved."""
        self.notes: list[Note] = []
        self.bound = 0.0
        self.levelling: Levelling = "none"
        self.pinned = [
            pin != NOBODY and (layout.takes[pin] or (pin == owner and not layout.pods[pin].ends))
            for pin, owner in zip(layout.pin, layout.owner, strict=True)
        ]
        """Held by its pin: it goes there, or is there. What is pinned to a pod that is away,
        leaving or gone and is elsewhere (`Layout.kept`) must leave what it must leave, but does not
        move for balance."""
        self._start = [0.0] * len(layout.pods)
        for guild, pod in enumerate(layout.owner):
            if pod != NOBODY:
                self._start[pod] += layout.weight[guild]
        self._level = self._levels(self.owner)
        self._leveller = Leveller(
            pods=layout.taking,
            base=[0.0] * len(layout.pods),
            room=[pod.capacity for pod in layout.pods],
            levels=self._level,
            sizes=layout.weight,
            doubts=layout.doubt,
            certainty=options.certainty,
            place=self.owner,
            suits=self._suits if options.followers and layout.zoned else None,
            partner=layout.follower if options.followers else None,
        )

    def loads(self) -> list[float]:
        """The weight that each pod owns."""
        return self._leveller.loads()

    def level(self, pod: int) -> float:
        """The weight that the pod should own, could guilds be divided."""
        return self._level[pod]

    def start_share(self, pod: int) -> float:
        """What the pod owned at the start, as a share of its level."""
        level = self._level[pod]
        return self._start[pod] / level if level > 0 else 0.0

    def stays(self, guild: int) -> bool:
        """It does not move for balance or for want of room."""
        return self.pinned[guild] or self._layout.kept[guild]

    def settle(self) -> None:
        """Do it all."""
        layout, leveller, options = self._layout, self._leveller, self._options
        forced = self._forced()
        leveller.free_to_move(
            guild
            for guild, owner in enumerate(self.owner)
            if owner != NOBODY and layout.takes[owner] and not self.stays(guild)
            if guild not in forced
        )
        for guild, cause in forced.items():
            self._settle_one(guild, cause)
        for pod in layout.taking:
            while leveller.free[pod] < 0 and self._evict(pod):
                pass
        self.bound = sum(layout.weight[guild] for guild in self.cause)
        self._level = self._levels(self.owner)
        leveller.aim(self._levels(self.owner, undivided=True), at_least=self._level)
        mark = len(leveller.journal)
        self.levelling = leveller.level_out(options.tolerance, options.least_gain, self.bound)
        self.bound += leveller.bound
        for guild, _, _ in leveller.journal[mark:]:
            self.cause.setdefault(guild, "balance")

    def _levels(self, owner: list[int], *, undivided: bool = False) -> list[float]:
        """The level of each pod for the guilds that it and the others own or are to own; of pods
        that take nothing, 0. ``undivided``: a pod with a guild that is heavier than its share has
        that guild's weight as its level, and the others share the rest: what they lack of the
        mean cannot be had."""
        layout = self._layout
        result = [0.0] * len(layout.pods)
        least = [0.0] * len(layout.pods)
        heaviest = [0.0] * len(layout.pods)
        total, count = 0.0, 0
        for guild, pod in enumerate(owner):
            pinned = self.pinned[guild]
            if pod != NOBODY and (
                layout.away[pod] or (pinned and not layout.takes[layout.pin[guild]])
            ):
                continue
            total += layout.weight[guild]
            count += 1
            if pinned:
                least[layout.pin[guild]] += layout.weight[guild]
            elif pod != NOBODY and layout.kept[guild]:
                least[pod] += layout.weight[guild]
            elif pod != NOBODY:
                heaviest[pod] = max(heaviest[pod], layout.weight[guild])
        mean_weight = total / max(count, 1)
        taking = layout.taking
        for pod in taking if undivided else ():
            least[pod] = max(least[pod], heaviest[pod])
        most = [max(layout.pods[pod].capacity * mean_weight, least[pod]) for pod in taking]
        for pod, level in zip(
            taking, levels(total, [least[pod] for pod in taking], most), strict=True
        ):
            result[pod] = level
        return result

    def _forced(self) -> dict[int, Cause]:
        """What cannot stay where it is, most urgent first."""
        layout = self._layout
        ownerless: dict[int, Cause] = {}
        pinned: dict[int, Cause] = {}
        drained: dict[int, Cause] = {}
        for guild, owner in enumerate(layout.owner):
            if owner == NOBODY:
                ownerless[guild] = "placed" if layout.guilds[guild].owner is None else "gone"
            elif layout.away[owner]:
                continue
            elif self.pinned[guild]:
                if owner != layout.pin[guild]:
                    pinned[guild] = "pinned"
            elif not layout.takes[owner]:
                drained[guild] = "drained"
        return layout.heaviest_first(ownerless, pinned, drained)

    def _settle_one(self, guild: int, cause: Cause) -> None:
        layout, leveller = self._layout, self._leveller
        if self.pinned[guild]:
            pin = layout.pin[guild]
            while leveller.free[pin] < 1 and self._evict(pin):
                pass
            if leveller.free[pin] > 0:
                leveller.put(guild, pin, movable=False)
                self.cause[guild] = cause
                return
            self._note_full_pin(guild, pin)
            if cause == "pinned" and layout.takes[layout.owner[guild]]:
                return
        target = self._target(guild, cause)
        if target is not None:
            leveller.put(guild, target, movable=not self.stays(guild))
            self.cause[guild] = cause

    def _target(self, guild: int, cause: Cause) -> int | None:
        layout, leveller = self._layout, self._leveller
        follower = layout.follower[guild]
        if follower != NOBODY and layout.takes[follower] and leveller.free[follower] > 0:
            above = leveller.above[follower]
            slight = self._options.tolerance / 2 * leveller.levels[follower]
            if cause == "gone" or above < 0 or above + layout.weight[guild] <= slight:
                return follower
        return leveller.roomiest(guild)

    def _evict(self, pod: int) -> bool:
        """Make room on a full pod with its lightest guild; False if that cannot go anywhere."""
        guild = self._leveller.lightest(pod)
        if guild is None:
            return False
        target = self._target(guild, "capacity")
        if target is None or target == pod:
            return False
        self._leveller.put(guild, target)
        self.cause.setdefault(guild, "capacity")
        return True

    def _note_full_pin(self, guild: int, pin: int) -> None:
        layout = self._layout
        name = layout.name(pin)
        self.notes.append(
            Note(
                constraint="capacity",
                pod=name,
                words=f"guild {layout.guilds[guild].guild} cannot go to {name}, to which it is "
                f"pinned: the pod has no room and none can be made",
            )
        )

    def _suits(self, guild: int, pod: int) -> bool:
        """Its follower need not move when it goes there."""
        follower = self._layout.follower[guild]
        return follower in (NOBODY, pod) or self._layout.may_pair(follower, pod)
