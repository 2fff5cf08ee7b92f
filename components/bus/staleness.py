"""How long a key has not been renewed, by our own clock: the second judge of a lease's end.

The first is the server, which lets a key expire. It cannot be the only one: after ``kill -9`` of
nats-server a key that had expired can come back without its time to live, for good (its index is
rebuilt from an outdated state), and who waited for its expiry would wait for ever.

Promise: a key whose revision has not changed for its time to live plus `MARGIN_S`, counted from
when we *first* saw that revision, has no holder that believes to hold it. For a live holder
renews, and every renewal changes the revision. A holder that cannot renew counts from before it
sent its last acknowledged renewal (`leases`), so it stopped by its own clock at the latest one
time to live after sending it. The write came after the sending, and our first sight came after
the write; so our time to live ends after the holder's, wherever both clocks stand, and the margin
is for clocks that run at different rates. A renewal that landed unheard extends nothing for its
holder, but is a new revision to us. What is read after a reconnect is seen for the first time:
another server may have begun its revisions anew.

Whoever acts on it overwrites the key by compare-and-set at that revision. The judgement needs no
trust in what was read: a holder that renewed after all makes the compare-and-set fail.
"""

from collections.abc import Callable

MARGIN_S = 1.0
"""More than the server is late with an expiry, so that a key in order expires before it is
taken for one that does not."""


class Staleness:
    """When each key was first seen at the revision it has."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._first_seen: dict[str, tuple[tuple[int, int], float]] = {}

    def unchanged_s(self, key: str, link: int, revision: int) -> float:
        """For how long the key is known at this revision, read over this connection."""
        now_s, sight = self._clock(), (link, revision)
        known = self._first_seen.get(key)
        if known is None or known[0] != sight:
            self._first_seen[key] = (sight, now_s)
            return 0.0
        return now_s - known[1]

    def forget(self, key: str) -> None:
        """The key holds nothing."""
        self._first_seen.pop(key, None)
