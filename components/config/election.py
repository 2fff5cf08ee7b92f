"""The election of config's leader: a synchronous state machine of one replica's part in it.

Promise: `leading` is true only while the lease is certainly held: it counts from before a write was
sent, for TTL minus margin, and is over for the whole term once a renewal was refused and did not
turn out to be our own. Every write is a compare-and-set. Nothing has to be certain before another
replica takes over (docs/decisions/0006, step 24): at once when the server tells that the leader's
connection is gone, at the last revision seen; else when its key is gone or is not renewed any more
(`components.bus.staleness`).

Whoever drives it (`leadership`; in virtual time `components.simulate.config`) asks `next` for one
request, carries it out, tells its end by the method that the request names, and asks again. What a
watch shows (`seen`), advisories (`disconnected`) and the wish to end (`resign`) come at any moment;
a `Wait` ends with them.
"""

import logging
from collections import deque
from collections.abc import Callable
from typing import Literal

import msgspec

from components.bus.entries import Entry
from components.bus.staleness import MARGIN_S, Staleness
from components.ownership.lease import LeaseClock
from contracts.message import MalformedMessage, decode
from contracts.records import LeaderLease

log = logging.getLogger(__name__)

AGAIN_S = 0.2
"""Pause after the bus failed while nobody leads."""
LOOK_EVERY_S = 1.0
"""For a watch that missed something, and for a lease that has ended without a sign."""
RENEW_EVERY_S = 1.0
SHORTEST_S = 0.05
"""Between two renewals of which the first failed: the end of the lease is not come up to in ever
smaller steps."""
KEPT_WRITES = 8
"""Values of ours that are recognised on the key; a new one comes with each connection."""

Stage = Literal["standing", "leading", "leaving"]


class Wait(msgspec.Struct, frozen=True):
    """Nothing is to be done before this moment of the machine's clock, or until there is news."""

    until_s: float


class Look(msgspec.Struct, frozen=True):
    """Read the key from its bucket's leader: `Election.found`, or `failed`."""


class Write(msgspec.Struct, frozen=True):
    """Write the lease over this revision, with its time to live: `Election.written`, `refused`, or
    `failed` when it was not sent or is not known to have landed."""

    lease: LeaderLease
    revision: int


class GiveBack(msgspec.Struct, frozen=True):
    """Delete the key over this revision: `Election.given_back`, `refused` or `failed`."""

    revision: int


Request = Wait | Look | Write | GiveBack


class Election:
    """``claim``: what this replica writes, over the connection it has, from this moment on."""

    def __init__(
        self,
        claim: Callable[[], LeaderLease],
        clock: Callable[[], float],
        *,
        ttl_s: float,
        margin_s: float = 0.5,
    ) -> None:
        self._claim = claim
        self._clock = clock
        self._ttl_s = ttl_s
        self._margin_s = margin_s
        self._staleness = Staleness(clock)
        self._lease = LeaseClock(ttl_s=ttl_s, margin_s=margin_s)
        self.stage: Stage = "standing"
        self.holder = ""
        """Who leads, as far as this replica knows; empty when nobody does."""
        self.reason = ""
        """Why the last term ended."""
        self._seen: tuple[int, LeaderLease] | None = None
        """The last lease seen, and its revision."""
        self._gone_at = 0
        """The revision of a lease whose connection is gone."""
        self._gone: tuple[str, int] | None = None
        """That connection, as the lease names it. The server tells of it once, and the leader may
        have renewed just before, which this replica had not seen."""
        self._free_at: int | None = None
        """The revision at which the key was found to be free."""
        self._vacant = False
        self._at_s = clock() + LOOK_EVERY_S
        """When to look, or to renew."""
        self._revision = 0
        """Of our last write that is known to have landed."""
        self._since_ms = 0
        self._sent_s = float("-inf")
        self._ours: deque[LeaderLease] = deque(maxlen=KEPT_WRITES)
        """Values of ours that may have landed, heard of or not."""
        self._doubtful = False
        """A write was refused: the key tells whether an earlier one of ours had landed unheard."""

    @property
    def leading(self) -> bool:
        """Whether this replica may act as leader at this very moment."""
        return self.stage == "leading" and self._lease.valid(self._clock())

    # What comes at any moment

    def seen(self, entry: Entry | None) -> None:
        """The key, as a watch shows it."""
        lease = _lease(entry)
        self._seen = (entry.revision, lease) if entry is not None and lease is not None else None
        held = entry is not None and entry.value is not None
        self.holder = lease.holder if lease is not None else "unknown" if held else ""
        self._vacant = self._vacant or not held

    def disconnected(self, server: str, client: int) -> None:
        """The server told of a lost connection. It may be the leader's."""
        if self._seen is None or not client or self.leading:
            return
        revision, lease = self._seen
        if lease.nats_client == client and lease.nats_server in ("", server):
            log.warning("the connection of the leader %s is gone", lease.holder)
            self._gone_at, self._gone = revision, _connection(lease)

    def resign(self) -> None:
        """Lead no longer: give back the lease, if it may still be ours."""
        if self.stage == "leading":
            self._leave("it resigned")

    # What is to be done, and what became of it

    def next(self) -> Request:
        """What to do now."""
        now_s = self._clock()
        if self.stage == "leading" and not self._lease.valid(now_s):
            self._leave("the lease could not be renewed in time")
        if self._doubtful:
            return Look()
        if self.stage == "leaving":
            return GiveBack(self._revision)
        if self.stage == "leading":
            return Wait(self._at_s) if now_s < self._at_s else self._write(self._revision)
        if self._gone_at:
            return self._write(self._gone_at)
        if self._free_at is not None:
            return self._write(self._free_at)
        if self._vacant or now_s >= self._at_s:
            self._vacant = False  # before looking: what becomes vacant from here on counts
            return Look()
        return Wait(self._at_s)

    def found(self, entry: Entry | None, link: int) -> None:
        """What the key holds, read over this connection."""
        ours = _lease(entry) in self._ours
        revision = entry.revision if entry is not None else 0
        if self.stage == "standing":
            # An own claim whose answer was lost is free for us to renew.
            if ours or self._is_gone(entry) or self._ended(entry, link):
                self._free_at = revision
            else:
                self._at_s = self._clock() + LOOK_EVERY_S
            return
        self._doubtful = False
        if ours and revision > self._revision:
            # It began to count when it was sent, so it only gives the revision: the lease is
            # extended by the write that follows at once.
            self._revision, self._at_s = revision, self._clock()
        elif self.stage == "leading":
            self._leave("the lease was taken")
        else:
            self._left("it is somebody else's" if entry is not None and entry.value else "")

    def written(self, revision: int) -> None:
        """The server has stored the lease at this revision."""
        if self.stage == "standing":
            self.stage = "leading"
            self._gone_at, self._gone, self._free_at = 0, None, None
            self.holder = self._ours[-1].holder
            self._lease = LeaseClock(ttl_s=self._ttl_s, margin_s=self._margin_s)
        self._revision = revision
        self._lease.renewed(self._sent_s)
        self._renew_later()

    def refused(self) -> None:
        """Somebody else wrote the key before, or an earlier write of ours had landed."""
        if self.stage == "standing":
            log.info("the leader has renewed, or another replica was faster")
            over_a_loss, self._gone_at = bool(self._gone_at), 0
            self._free_at = None
            self._at_s = self._clock() + (0.0 if over_a_loss else LOOK_EVERY_S)
        else:
            self._doubtful = True

    def failed(self, why: str) -> None:
        """The bus did not answer, or there is none."""
        if self.stage == "standing":
            log.info("cannot stand for election, trying again: %s", why)
            self._gone_at, self._free_at = 0, None
            self._at_s = self._clock() + AGAIN_S
        elif self.stage == "leading":
            log.warning("the leader's lease was not renewed, trying again: %s", why)
            self._doubtful = False
            self._renew_later()
        else:
            self._left(why)

    def given_back(self) -> None:
        """The key is deleted."""
        self._left("")

    def _write(self, revision: int) -> Write:
        claim = self._claim()
        if self.stage == "standing":
            self._since_ms = claim.since_ms
        lease = msgspec.structs.replace(claim, since_ms=self._since_ms)
        if lease in self._ours:
            self._ours.remove(lease)
        self._ours.append(lease)
        self._sent_s = self._clock()
        return Write(lease, revision)

    def _is_gone(self, entry: Entry | None) -> bool:
        lease = _lease(entry)
        return lease is not None and self._gone == _connection(lease)

    def _ended(self, entry: Entry | None, link: int) -> bool:
        if entry is None or entry.value is None:
            return True
        unchanged_s = self._staleness.unchanged_s(entry.key, link, entry.revision)
        return unchanged_s >= max(self._ttl_s, entry.ttl_s) + MARGIN_S

    def _renew_later(self) -> None:
        now_s = self._clock()
        every_s = min(RENEW_EVERY_S, self._ttl_s / 5)
        pause_s = max(SHORTEST_S, self._lease.remaining_s(now_s) / 2)
        self._at_s = now_s + min(every_s, pause_s)

    def _leave(self, reason: str) -> None:
        self.stage, self.reason = "leaving", reason
        self._doubtful = False
        self._lease.lose()

    def _left(self, why_not: str) -> None:
        if why_not:
            log.info("the leader's lease was not given back, it will expire: %s", why_not)
        self.stage = "standing"
        self._doubtful = False
        self._at_s = self._clock() + LOOK_EVERY_S
        self._ours.clear()


def _connection(lease: LeaderLease) -> tuple[str, int]:
    return lease.nats_server, lease.nats_client


def _lease(entry: Entry | None) -> LeaderLease | None:
    if entry is None or entry.value is None:
        return None
    try:
        return decode(entry.value, LeaderLease)
    except MalformedMessage as error:
        log.warning("the leader's lease cannot be read: %s", error)
        return None
