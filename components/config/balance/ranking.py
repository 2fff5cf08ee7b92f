"""Pods in the order of a number each, kept sorted while the numbers change."""

from bisect import bisect_left, insort
from collections.abc import Iterable


class Ranking:
    """Pods (by index), lowest value first; equal values by index.

    A change costs two binary searches and a shift of a list as long as there are pods.
    """

    def __init__(self, values: list[float], pods: Iterable[int]) -> None:
        self._values = values
        self.order = sorted((values[pod], pod) for pod in pods)
        """(value, pod), lowest first. To be read only, and not across a change."""

    def change(self, pod: int, by: float) -> None:
        """Add to the value of a pod, whether it is ranked or not."""
        value = self._values[pod]
        self._values[pod] = value + by
        order, entry = self.order, (value, pod)
        at = 0 if order and order[0] == entry else bisect_left(order, entry)
        if at < len(order) and order[at][1] == pod:
            del order[at]
            insort(order, (value + by, pod), at if by > 0 else 0)
