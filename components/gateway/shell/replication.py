"""How far the backup is behind, and what is certainly in it: measured in the bucket.

Commits are seen as positions in the WAL, several times a second; what has arrived is seen by
listing the bucket and reading from the newest level 0 file which part of the WAL it was made
from. A file counts only if the files before it are there as well, back to the first one.

Times are overestimated: a commit counts as made right after the look at the WAL before it, and as
arrived at the end of the look at the bucket that found it.

Fails never: while the bucket cannot be reached the lag grows, and the log says why, once.
"""

import asyncio
import logging
from collections import deque
from collections.abc import Callable
from pathlib import Path
from typing import Final

import msgspec

from components.gateway.shell.bucket import ReplicaBucket, reach
from components.gateway.shell.errors import BucketFailed
from components.gateway.shell.wal import Wal, WalPosition
from components.process.clock import SteadyClock, steady_s
from contracts.ids import Sequence

log = logging.getLogger(__name__)

WAL_EVERY_S: Final = 0.05
MOST_MARKS: Final = 2_000
"""Positions that are not in the bucket yet; beyond, every second one is forgotten, which makes
the lag an overestimate by so much more."""


class _Mark(msgspec.Struct, frozen=True):
    position: WalPosition
    since: float
    """Steady time of a moment before the commits that end at the position."""


class _Beat(msgspec.Struct, frozen=True):
    beat: int
    complete: Sequence
    position: WalPosition


class Replication:
    """What is in the bucket of one database under one prefix."""

    def __init__(
        self,
        database: Path,
        replica: str,
        bucket: ReplicaBucket,
        *,
        look_every_s: float,
        clock: SteadyClock = steady_s,
    ) -> None:
        self._wal = Wal(database)
        self._replica = replica
        self._bucket = bucket
        self._look_every_s = look_every_s
        self._clock = clock
        self._marks: deque[_Mark] = deque()
        self._beats: deque[_Beat] = deque()
        self._seen = WalPosition(0, 0)
        self._seen_at = clock()
        self._reached = 0
        self._hole_at = -1
        self._read = ""
        self._worst_s = 0.0
        self._failing = False
        self.arrived = WalPosition(-1, 0)
        """Everything up to here is in the bucket."""
        self.backed_up_beat = 0
        """The last beat that is in the bucket."""
        self.backed_up_to = Sequence(0)
        """Up to where all guilds were complete at that beat."""

    @property
    def lag_s(self) -> float:
        """Age of the oldest commit that is not known to be in the bucket."""
        return self._clock() - self._marks[0].since if self._marks else 0.0

    def worst_lag_s(self) -> float:
        """The largest lag since this was asked last."""
        worst, self._worst_s = max(self._worst_s, self.lag_s), 0.0
        return worst

    def noted(self, beat: int, complete: Sequence) -> None:
        """To be called after a beat was committed: it is in the bucket when `backed_up_beat`
        has reached it. One whose place in the WAL cannot be seen is left to the next."""
        if not self.look_at_wal():
            return
        self._beats.append(_Beat(beat, complete, self._seen))
        if len(self._beats) > MOST_MARKS:
            self._beats.popleft()  # a later one says more

    async def run(self) -> None:
        """Look until cancelled."""
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(_repeat(WAL_EVERY_S, self.look_at_wal))
            tasks.create_task(self._keep_looking())

    def look_at_wal(self) -> bool:
        """Note what was committed since the last look, and say whether that could be seen."""
        now = self._clock()
        try:
            position = self._wal.end()
        except OSError as error:
            log.warning("the WAL cannot be read: %s", error)
            return False
        if position > self._seen:
            self._marks.append(_Mark(position, self._seen_at))
            self._seen = position
            if len(self._marks) > MOST_MARKS:
                self._marks = _thinned(self._marks)
        self._seen_at = now
        return True

    async def look_at_bucket(self) -> None:
        """Note what has arrived since the last look. Raises `BucketFailed`."""
        new = await self._bucket.files(self._replica, level=0, after=self._read or None)
        if not new:
            return
        reached = reach(new, self._reached)
        if reached < new[-1].last:
            # Files that came and were compacted away between two looks are in the levels above.
            reached = reach(await self._bucket.files(self._replica))
            if reached < new[-1].last and reached != self._hole_at:
                self._hole_at = reached
                log.error(
                    "the backup has a hole behind transaction %d: what is newer cannot be restored",
                    reached,
                )
        whole = [file for file in new if file.last <= reached]
        self._reached = reached
        for file in reversed(whole):
            part = await self._bucket.wal_part(file)
            if part is not None and part.salt:
                self._arrive(self._wal.position(part.salt, part.end))
                break
        if whole:
            self._read = whole[-1].path

    async def _keep_looking(self) -> None:
        while True:
            try:
                await self.look_at_bucket()
            except BucketFailed as error:
                if not self._failing:
                    log.warning("how far the backup is cannot be seen: %s", error.reason)
                self._failing = True
            else:
                if self._failing:
                    log.info("the backup bucket can be reached again")
                self._failing = False
            await asyncio.sleep(self._look_every_s)

    def _arrive(self, position: WalPosition) -> None:
        self._worst_s = max(self._worst_s, self.lag_s)
        self.arrived = max(self.arrived, position)
        while self._marks and self._marks[0].position <= self.arrived:
            self._marks.popleft()
        while self._beats and self._beats[0].position <= self.arrived:
            beat = self._beats.popleft()
            self.backed_up_beat, self.backed_up_to = beat.beat, beat.complete


async def _repeat(every_s: float, look: Callable[[], object]) -> None:
    while True:
        look()
        await asyncio.sleep(every_s)


def _thinned(marks: deque[_Mark]) -> deque[_Mark]:
    """Half of the marks: of two neighbours the time of the first, the position of the second."""
    pairs = list(marks)
    kept = [
        _Mark(second.position, first.since)
        for first, second in zip(pairs[::2], pairs[1::2], strict=False)
    ]
    if len(pairs) % 2:
        kept.append(pairs[-1])
    return deque(kept)
