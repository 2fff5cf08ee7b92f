"""The poison protocol: after an unclean end, inputs are noted in bucket ``attempts`` before they
are applied one by one, so that an input which kills the pod is known by its second death. Owner
and follower share a guild's note: an input that kills both is known as soon.

`Attempts.may_apply` says False once: the caller parks the guild. Raises `BusError`.
"""

import logging

from components.bus.buckets import Bucket
from components.bus.connection import Bus
from components.bus.errors import WrongLastSequence
from components.gateway.engine.model import LoggedInput
from contracts import storage
from contracts.ids import GuildId, PodId, Sequence
from contracts.message import MalformedMessage, decode, encode
from contracts.records import ReplayAttempt

log = logging.getLogger(__name__)

DEATHS = 2
"""One can be a coincidence (somebody killed the pod just then)."""


class Attempts:
    """The notes on one guild's replay."""

    def __init__(self, bus: Bus, pod: PodId, guild: GuildId) -> None:
        self._bucket = Bucket(bus, storage.ATTEMPTS)
        self._pod = pod
        self._guild = guild
        self._known: ReplayAttempt | None = None
        self._revision = 0
        """Of the note, as far as this pod knows; 0: there is none."""

    async def load(self) -> None:
        """Read what an earlier process noted."""
        entry = await self._bucket.get(self._guild)
        if entry is None or entry.value is None:
            return
        self._revision = entry.revision
        try:
            self._known = decode(entry.value, ReplayAttempt)
        except MalformedMessage:
            self._known = None  # not ours; overwritten with the next note

    async def may_apply(self, item: LoggedInput) -> bool:
        """Note the attempt; False when the input was the last one noted before two deaths."""
        if item.message_id.startswith("own:"):
            # Every start appends one of these for every guild, and applying it sets a number.
            return True
        deaths = self._deaths(item.sequence)
        if deaths >= DEATHS:
            return False
        note = ReplayAttempt(
            guild=self._guild, sequence=item.sequence, attempts=deaths + 1, pod=self._pod
        )
        self._revision = await self._bucket.put(self._guild, encode(note))
        self._known = note
        return True

    async def clear(self) -> None:
        """The guild is caught up. A note that another pod has written since stays."""
        if not self._revision:
            return
        try:
            await self._bucket.delete(self._guild, self._revision)
        except WrongLastSequence:
            log.debug("another pod is replaying guild %s, too", self._guild)
        self._known, self._revision = None, 0

    def _deaths(self, sequence: Sequence) -> int:
        known = self._known
        return known.attempts if known is not None and known.sequence == sequence else 0
