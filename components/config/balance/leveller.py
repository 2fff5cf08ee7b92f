"""Brings pods outside a tolerance to their levels with few moves. Pure, and it always ends.

Items (guilds, or the following of guilds) have a size and lie on pods. `level_out` takes from the
pods that are too full and gives to those that have most room, and fills pods that are too empty
from the fullest, never past the level on either side while another item would do. Every move makes
the sum of the squared distances from the levels smaller, so it ends, and where it ends nothing is
left for a second run to do.
"""

import math
from bisect import bisect_left, bisect_right, insort
from collections.abc import Callable, Iterable, Sequence, Set
from typing import Literal

from components.config.balance.layout import NOBODY
from components.config.balance.ranking import Ranking

LOOK_FURTHER = 8
"""Items or pods that are looked at for one that suits better than the one that fits best."""
Levelling = Literal["moved", "slight", "none"]

SLACK = 1.15
"""How far past a level an item may reach once levelling has been found worth its while. What fits
only with slack is no reason to begin, so small changes of the sizes do not begin it anew."""


class Leveller:
    """Items on pods. ``place`` (pod of each item) is changed by what is done here."""

    def __init__(
        self,
        *,
        pods: Sequence[int],
        base: Sequence[float],
        room: Sequence[int],
        levels: Sequence[float],
        sizes: Sequence[float],
        place: list[int],
        doubts: Sequence[float],
        base_doubt: Sequence[float] | None = None,
        certainty: float,
        suits: Callable[[int, int], bool] | None = None,
        partner: Sequence[int] | None = None,
        groups: Sequence[int] | None = None,
        apart: Sequence[int | str] = (),
    ) -> None:
        """``pods`` are those that take items; ``base`` is what each carries beside them, ``room``
        how many items it may hold. ``doubts`` and ``base_doubt`` are the variances of the sizes and
        of the base; ``certainty`` standard deviations of a load may be chance. ``suits(item,
        pod)`` should hold. An item's ``partner`` is a pod to which it moves more cheaply. Items
        of one of the ``groups``, which are pods themselves or `NOBODY`, are spread over the pods,
        where that costs nothing, and lie on none whose entry in ``apart`` is the group's."""
        self.pods = pods
        self.place = place
        self.sizes = sizes
        self.levels = list(levels)
        self._at_least = self.levels
        self.journal: list[tuple[int, int, int]] = []
        """(item, from, to) of everything that was moved, in order."""
        self.bound = 0.0
        """Least size that had to be moved to bring the pods that were levelled to their levels:
        all excess had to go, all that was missing had to come
        (`model.BalancePlan.own_weight_bound`)."""
        self.above = [load - level for load, level in zip(base, levels, strict=True)]
        """Load above the level, of each pod."""
        self.free = list(room)
        self._doubts = doubts
        self._base_doubt = base_doubt
        self._certainty = certainty
        self._slack = 1.0
        self._suits = suits
        self._partner = partner
        self._groups = groups
        self._apart = apart
        self._together = [[0] * (len(levels) + 1) for _ in range(len(levels) + 1)]
        """Items of each group on each pod, both also `NOBODY`, whose entry is the last."""
        self._items: list[list[tuple[float, int]]] = [[] for _ in levels]
        self._eps = 1e-9 * (1.0 + max(levels, default=0.0))
        for item, pod in enumerate(place):
            if pod != NOBODY:
                self.above[pod] += sizes[item]
                self.free[pod] -= 1
                if groups is not None:
                    self._together[groups[item]][pod] += 1
        self._ranking = Ranking(self.above, pods)

    def aim(self, levels: Sequence[float], *, at_least: Sequence[float]) -> None:
        """Take other levels. Where these are above ``at_least``, it is for a single item."""
        for pod, level in enumerate(levels):
            self._ranking.change(pod, self.levels[pod] - level)
        self.levels = list(levels)
        self._at_least = list(at_least)

    def loads(self) -> list[float]:
        """What each pod carries."""
        return [above + level for above, level in zip(self.above, self.levels, strict=True)]

    def free_to_move(self, items: Iterable[int]) -> None:
        """Say which items may be moved for balance."""
        for item in items:
            self._items[self.place[item]].append((self.sizes[item], item))
        for on_pod in self._items:
            on_pod.sort()

    def put(self, item: int, pod: int, *, movable: bool = True) -> None:
        """Move an item, or place one that lies nowhere; ``pod`` may be `NOBODY`."""
        size, before = self.sizes[item], self.place[item]
        if before != NOBODY:
            entry = (size, item)
            on_pod = self._items[before]
            at = bisect_left(on_pod, entry)
            if at < len(on_pod) and on_pod[at] == entry:
                del on_pod[at]
            self._ranking.change(before, -size)
            self.free[before] += 1
        if pod != NOBODY:
            if movable:
                entry, on_pod = (size, item), self._items[pod]
                if on_pod and entry < on_pod[0]:
                    on_pod.insert(0, entry)  # what must move comes heaviest first
                else:
                    insort(on_pod, entry)
            self._ranking.change(pod, size)
            self.free[pod] -= 1
        self.place[item] = pod
        self.journal.append((item, before, pod))
        if self._groups is not None:
            together = self._together[self._groups[item]]
            together[before] -= 1
            together[pod] += 1

    def roomiest(self, item: int) -> int | None:
        """The pod furthest below its level that may hold the item; rather one about as far below
        with fewer of the item's group. None if there is none."""
        free, place, order = self.free, self.place[item], self._ranking.order
        if self._groups is None:
            for _, pod in order:
                if free[pod] > 0 and pod != place:
                    return pod
            return None
        group, apart = self._groups[item], self._apart
        together, barred = self._together[group], apart[group]
        best, fewest, looked, most = None, 0, 0, math.inf
        for above, pod in order:
            if above > most or looked >= LOOK_FURTHER:
                break
            if free[pod] < 1 or pod == place or apart[pod] == barred:
                continue
            if best is None:
                best, fewest, most = pod, together[pod], above + self.sizes[item]
            elif together[pod] < fewest:
                best, fewest = pod, together[pod]
            if fewest == 0:
                break
            looked += 1
        return best

    def lightest(self, pod: int) -> int | None:
        """The lightest item that may leave the pod."""
        return self._items[pod][0][1] if self._items[pod] else None

    def level_out(self, tolerance: float, least_gain: float, moved: float) -> Levelling:
        """If pods are outside the tolerance, and not by chance, bring those to their levels that
        are outside half of it; ``slight``: it may be chance, or none of the former would come
        nearer by ``least_gain`` of the mean, so nothing is moved. Half of it is enough to begin
        when as much has been ``moved`` already: what is left then stands firm against small
        changes."""
        least = least_gain * sum(self.levels) / max(len(self.pods), 1)
        half = tolerance / 2
        begin = half if moved and moved >= least else tolerance
        seen = self._out_of_band(begin)
        outside = self._certain(seen, begin)
        if not outside:
            return "slight" if seen else "none"
        before = [(pod, abs(self.above[pod])) for pod in outside]
        outside |= self._out_of_band(half)
        excess = sum(above for pod in outside if (above := self.above[pod]) > 0)
        missing = sum(-above for pod in outside if (above := self.above[pod]) < 0)
        mark = len(self.journal)
        self._exchange(outside)
        for self._slack in (1.0, SLACK):
            for past_level in (False, True):
                spare = math.inf if past_level else half
                while self._shed(outside, past_level=past_level) or self._fill(outside, spare):
                    outside |= self._out_of_band(half)
            if not self._gained(before, least):
                break
        else:
            self.bound = max(excess, missing)
            return "moved"
        slight = len(self.journal) > mark
        if slight:
            for item, came_from, _ in reversed(self.journal[mark:]):
                self.put(item, came_from)
            del self.journal[mark:]
        return "slight" if slight else "none"

    def _gained(self, before: Iterable[tuple[int, float]], least_gain: float) -> bool:
        """Whether a pod is nearer to its level than ``before`` by that much."""
        return any(
            distance - abs(self.above[pod]) >= least_gain - self._eps for pod, distance in before
        )

    def _out_of_band(self, tolerance: float) -> set[int]:
        """Pods too full or too empty. A pod may stand one item of its own above its level."""
        return {
            pod for pod in self.pods if self._over(pod, tolerance) or self._under(pod, tolerance)
        }

    def _certain(self, pods: Set[int], tolerance: float) -> set[int]:
        """Those of the pods that are outside the tolerance whatever part of what was measured is
        chance. The heaviest item beyond the tolerance is enough in any case: no pod is left with
        more than that."""
        variance = list(self._base_doubt or [0.0] * len(self.levels))
        for item, pod in enumerate(self.place):
            if pod != NOBODY:
                variance[pod] += self._doubts[item]
        of_the_mean = sum(variance[pod] for pod in self.pods) / max(len(self.pods), 1) ** 2
        heaviest = max(self.sizes, default=0.0)
        found = set()
        for pod in pods:
            chance = self._certainty * math.sqrt(variance[pod] + of_the_mean)
            beyond = abs(self.above[pod]) - tolerance * self.levels[pod]
            load = self.above[pod] + self.levels[pod]
            most = (1 + tolerance) * self._at_least[pod] + heaviest
            if beyond > min(chance, heaviest) + self._eps or load > most or not chance:
                found.add(pod)
        return found

    def _over(self, pod: int, tolerance: float) -> bool:
        above = self.above[pod]
        if above <= tolerance * self.levels[pod] + self._eps or not self._items[pod]:
            return False
        single = max(0.0, self.levels[pod] - self._at_least[pod])
        return above > self._items[pod][-1][0] - single + self._eps

    def _under(self, pod: int, tolerance: float) -> bool:
        return self.above[pod] < -tolerance * self.levels[pod] - self._eps

    def _may(self, item: int, pod: int) -> bool:
        return self._groups is None or self._apart[self._groups[item]] != self._apart[pod]

    def _exchange(self, outside: Set[int]) -> None:
        """The cheapest moves: items that go to their partner, from a pod above its level to one
        below it, where one of the two is outside the tolerance."""
        if self._partner is None:
            return
        pairs: dict[tuple[int, int], list[tuple[float, int]]] = {}
        for pod in self.pods:
            if self.above[pod] <= 0:
                continue
            for size, item in self._items[pod]:
                other = self._partner[item]
                if other != NOBODY and (pod in outside or other in outside):
                    pairs.setdefault((pod, other), []).append((size, item))
        for pod, other in sorted(
            pairs, key=lambda pair: (self.above[pair[1]] - self.above[pair[0]], pair)
        ):
            for size, item in reversed(pairs[pod, other]):
                if self.free[other] < 1:
                    break
                most = min(self.above[pod], -self.above[other]) + self._eps
                if size <= most and self._may(item, other):
                    self.put(item, other)

    def _shed(self, outside: Set[int], *, past_level: bool) -> bool:
        """Take from the pods that are too full until nothing fits their excess any more."""
        moved = False
        for pod in sorted(outside, key=lambda pod: (-self.above[pod], pod)):
            while self._shed_one(pod, past_level=past_level):
                moved = True
        return moved

    def _shed_one(self, pod: int, *, past_level: bool) -> bool:
        excess = self.above[pod]
        if excess <= self._eps:
            return False
        for _, target in self._ranking.order:
            need = -self.above[target]
            if need <= self._eps:
                return False
            if self.free[target] < 1 or target == pod:
                continue
            item = self._largest(pod, target, min(excess, need) * self._slack)
            if item is None and past_level:
                item = self._smallest(pod, target, excess)
            if item is not None:
                self.put(item, target)
                return True
        return False

    def _fill(self, outside: Set[int], spare: float) -> bool:
        """Give to the pods that are too empty until nothing fits what they lack any more. Nobody
        gives more than brings it below its level by ``spare``, as a share of the level."""
        moved = False
        for pod in sorted(outside, key=lambda pod: (self.above[pod], pod)):
            while self._fill_one(pod, spare):
                moved = True
        return moved

    def _fill_one(self, pod: int, spare: float) -> bool:
        need = -self.above[pod]
        if self.free[pod] < 1 or need <= self._eps:
            return False
        for _, source in reversed(self._ranking.order):
            # Half of the gap: the source does not end below what it gives to.
            half_gap = (self.above[source] + need) / 2
            if half_gap <= self._eps:
                return False
            given = self.above[source] + spare * self.levels[source]
            if given <= self._eps:
                return False
            item = self._largest(source, pod, min(need, half_gap, given) * self._slack)
            if item is not None:
                self.put(item, pod)
                return True
        return False

    def _largest(self, source: int, target: int, most: float) -> int | None:
        """The largest item up to a size; among the largest rather one that suits."""
        items = self._items[source]
        found = None
        looked = 0
        for at in range(bisect_right(items, (most + self._eps, len(self.sizes))) - 1, -1, -1):
            item = items[at][1]
            if not self._may(item, target):
                continue
            if self._suited(item, target):
                return item
            found = item if found is None else found
            looked += 1
            if looked >= LOOK_FURTHER:
                break
        return found

    def _suited(self, item: int, pod: int) -> bool:
        if self._groups is not None:
            together = self._together[self._groups[item]]
            return together[pod] <= together[self.place[item]]
        return self._suits is None or self._suits(item, pod)

    def _smallest(self, source: int, target: int, most: float) -> int | None:
        for size, item in self._items[source]:
            if size > most + self._eps:
                return None
            if self._may(item, target):
                return item
        return None
