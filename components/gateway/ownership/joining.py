"""When a pod may take the lease of its name: once whoever held it can act no more (0006, step 7).

The entry names our own data directory: we hold its lock, so that process has ended. The key was
never written, or was given back: nobody holds it. Anything else, also a fence and an expiry, is
waited for: TTL and margin by our own clock since the revision was first seen on this connection.
"""

from typing import Literal

from contracts.records import PodLease

Gone = Literal["never", "left", "expired"]


class Joiner:
    """The wait for one key. A compare-and-set at the revision that was judged decides."""

    def __init__(self, data: str, *, ttl_s: float, margin_s: float) -> None:
        self._data = data
        self._ttl_s = ttl_s
        self._margin_s = margin_s
        self._sight: tuple[int, int] | None = None
        self._from_s = 0.0

    def free_at_s(self, held: PodLease | Gone, revision: int, link: int, now_s: float) -> float:
        """When the key may be overwritten at ``revision``; not after ``now_s``: now."""
        if self._sight != (link, revision):
            self._sight, self._from_s = (link, revision), now_s
        if held in ("never", "left"):
            return now_s
        ttl_s = self._ttl_s
        if isinstance(held, PodLease):
            if held.data == self._data:
                return now_s
            ttl_s = max(ttl_s, held.ttl_s)
        return self._from_s + ttl_s + self._margin_s
