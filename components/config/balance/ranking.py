"""Pods in the order of a number each, kept sorted while the numbers change."""

from bisect import bisect_left, insort
from collections.abc import Iterable, Iterator


class Ranking:
    """Pods (by index), lowest value first; equal values by index.

    A change costs two binary searches and a shift of a list as long as there are pods.
    """

    def __init__(self, values: list[float], pods: Iterable[int]) -> None:
        self._values = values
        self._order = sorted((values[pod], pod) for pod in pods)

    def change(self, pod: int, by: float) -> None:
        """Add to the value of a pod, whether it is ranked or not."""
        old = (self._values[pod], pod)
        self._values[pod] += by
        at = bisect_left(self._order, old)
        if at < len(self._order) and self._order[at] == old:
            del self._order[at]
            insort(self._order, (self._values[pod], pod))

    def lowest(self) -> Iterator[int]:
        """Lowest first. A change ends the iteration's validity: stop then."""
        for _, pod in self._order:
            yield pod

    def highest(self) -> Iterator[int]:
        """Highest first, likewise."""
        for _, pod in reversed(self._order):
            yield pod
