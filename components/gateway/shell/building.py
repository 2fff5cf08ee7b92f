"""Where a guild's rows come from when this pod is to hold them (0006, step 19).

From its own disk, if the log continues what lies there; for a follower from a snapshot that the
owner makes; for an owner from a snapshot of whoever else is named and has them, or from the
replicas among the assignment's sources; from the
log, if that still holds the guild's first input. A guild that is new is built from its log, which
is short.

Raises `HoleFound` when nothing of this continues the log, `SnapshotFailed`, `ReplicaFailed`,
`BucketFailed` and `BusError` when it may work later.
"""

import asyncio
import logging
from typing import Final

import msgspec

from components.gateway.engine.errors import RowsRefused
from components.gateway.engine.model import Checkpoint
from components.gateway.engine.transfer import GuildRows
from components.gateway.ownership.commands import Source
from components.gateway.shell.applier import Applier
from components.gateway.shell.errors import HoleFound, ReplicaFailed, SnapshotFailed
from components.gateway.shell.holes import LogState, refusal, refusal_of_rows
from components.gateway.shell.logbook import Logbook
from components.gateway.shell.replicas import Replica, Replicas
from components.gateway.shell.snapshots import Judge, Snapshots
from components.gateway.shell.turns import Turns
from contracts.ids import GuildId, PodId, Sequence
from contracts.records import Assignment, Holder

log = logging.getLogger(__name__)

LONG_LOG: Final = 50_000
"""Sequences of the whole stream since the guild's first input, beyond which a snapshot is sooner
here than the log is applied: some seconds at 13,000 messages/s (facts.md)."""


HOLDER_WITHIN_S: Final = 10.0
"""For its answer: a pod that hangs must not keep the replicas from being restored. Nothing is asked
of it after that, and what this pod then does with the rows of a large guild takes longer."""


class Found(msgspec.Struct, frozen=True, kw_only=True):
    """The rows are in the database."""

    source: Source
    checkpoint: Checkpoint
    mark: Sequence
    """Stream sequence up to which they are known to be complete."""


class _Here(msgspec.Struct, frozen=True, kw_only=True):
    checkpoint: Checkpoint | None
    """None: no rows."""
    mark: Sequence
    log: LogState
    refusal: str | None


class Rows:
    """Brings rows into the pod's database. ``replicas`` None: the pod knows no backup."""

    def __init__(
        self,
        applier: Applier,
        logbook: Logbook,
        snapshots: Snapshots,
        replicas: Replicas | None,
        me: Holder,
        at_once: int = 32,
    ) -> None:
        self._applier = applier
        self._logbook = logbook
        self._snapshots = snapshots
        self._replicas = replicas
        self._me = me
        self._looking = asyncio.Semaphore(at_once)
        self._importing = Turns()

    async def bring(self, assignment: Assignment) -> Found:
        """Have the guild's rows in the database, to be continued from the log."""
        guild = assignment.guild
        here = await self._look(assignment)
        if here.checkpoint is not None and here.refusal is None:
            return Found(source="disk", checkpoint=here.checkpoint, mark=here.mark)
        if (assignment.pod, assignment.incarnation) == (self._me.pod, self._me.incarnation):
            try:
                if await self._from_holders(assignment, here):
                    return await self._found(assignment, "snapshot")
                if await self._from_replicas(assignment, here):
                    return await self._found(assignment, "replica")
            except ReplicaFailed as error:
                if here.refusal is not None:
                    raise
                log.info("guild %s is built from its log: %s", guild, error)
        elif here.refusal is not None or _is_long(assignment, here.log):
            try:
                owner = Holder(pod=assignment.pod, incarnation=assignment.incarnation)
                judge = self._judge(here, "the owner")
                await self._snapshots.fetch(guild, self._me, judge, owner)
            except SnapshotFailed as error:
                if here.refusal is not None:
                    raise
                log.info("guild %s is built from its log: %s", guild, error)
            except RowsRefused as error:
                raise HoleFound(guild, str(error)) from error
            else:
                return await self._found(assignment, "snapshot")
        if here.refusal is not None:
            raise HoleFound(guild, here.refusal)
        await self._logbook.begin(guild, here.log.bounds.generation)
        return await self._found(assignment, "log")

    async def _from_holders(self, assignment: Assignment, here: _Here) -> bool:
        """Whether rows came from a pod that follows the guild, or owned it before."""
        if here.refusal is None and not _is_long(assignment, here.log):
            return False
        for holder in _holders(assignment):
            pod = holder.pod
            if pod == self._me.pod:
                continue
            try:
                await self._snapshots.fetch(
                    assignment.guild,
                    self._me,
                    self._judge(here, pod),
                    holder,
                    owner=False,
                    answer_within_s=HOLDER_WITHIN_S,
                )
            except HoleFound as error:
                log.warning("guild %s: %s", assignment.guild, error.reason)
            except SnapshotFailed as error:
                log.info("guild %s: no rows from %s: %s", assignment.guild, pod, error)
            except RowsRefused as error:
                raise HoleFound(assignment.guild, str(error)) from error
            else:
                return True
        return False

    async def _from_replicas(self, assignment: Assignment, here: _Here) -> bool:
        """Whether rows came from one of the sources' replicas, the newest source first. Where none
        does, raises `ReplicaFailed` for one that could not be restored, and `HoleFound` when none
        of them is to replace what is here; `HoleFound` at once when this pod is too old."""
        if self._replicas is None:
            return False
        failed: ReplicaFailed | None = None
        hole: HoleFound | None = None
        for source in reversed(assignment.sources):
            if not source.replica:
                continue
            try:
                async with self._replicas.restored(source.replica, [assignment.guild]) as replica:
                    if await self._import(replica, assignment.guild, here):
                        return True
            except ReplicaFailed as error:
                log.warning("guild %s: %s", assignment.guild, error)
                failed = error
            except HoleFound as error:
                log.warning("guild %s: %s", assignment.guild, error.reason)
                hole = error
            except RowsRefused as error:
                raise HoleFound(assignment.guild, str(error)) from error
        if (why := failed or hole) is not None:
            raise why
        return False

    async def _import(self, replica: Replica, guild: GuildId, here: _Here) -> bool:
        """Whether the replica holds the guild, whose rows are here then."""
        rows = replica.guilds.get(guild)
        if rows is None:
            return False
        await self._judge(here, f"the replica {replica.replica}")(rows)
        # Whoever posts now is waiting for this guild; the quiet ones have time.
        waited_for = await self._logbook.last(guild) > rows.sequence
        async with self._importing.turn(first=waited_for):
            await replica.take_in(self._applier, guild)
        return True

    def _judge(self, here: _Here, whose: str) -> Judge:
        """Raises `HoleFound` when rows are not to take the place of what is here."""

        async def judge(rows: GuildRows) -> None:
            stream = (await self._logbook.state(rows.guild, with_first=False)).bounds
            if (words := refusal_of_rows(rows, here.checkpoint, stream, whose)) is not None:
                raise HoleFound(rows.guild, words)

        return judge

    async def _found(self, assignment: Assignment, source: Source) -> Found:
        here = await self._look(assignment, rows=True)
        if here.refusal is not None or here.checkpoint is None:
            raise HoleFound(assignment.guild, here.refusal or "the rows are gone again")
        return Found(source=source, checkpoint=here.checkpoint, mark=here.mark)

    async def _look(self, assignment: Assignment, *, rows: bool = False) -> _Here:
        """``rows``: they were just made, and may be at sequence 0."""
        async with self._looking:
            return await self._look_at(assignment, rows)

    async def _look_at(self, assignment: Assignment, rows: bool) -> _Here:
        guild = assignment.guild
        checkpoint = await self._applier.read(lambda engine: engine.checkpoint(guild))
        has = checkpoint is not None and checkpoint.sequence > 0
        state = await self._logbook.state(guild, with_first=not has)
        mark = await self._logbook.complete_up_to(guild) if has else Sequence(0)
        return _Here(
            checkpoint=checkpoint if has or rows else None,
            mark=mark,
            log=state,
            refusal=refusal(assignment, checkpoint, state, mark),
        )


def _holders(assignment: Assignment) -> list[Holder]:
    """Who may have the rows, one start of each pod: the follower, then the latest owner first."""
    follower = [assignment.follower] if assignment.follower is not None else []
    earlier = [Holder(pod=it.pod, incarnation=it.incarnation) for it in assignment.before]
    found: dict[PodId, Holder] = {}
    for start in (*follower, *reversed(earlier)):
        found.setdefault(start.pod, start)
    return list(found.values())


def _is_long(assignment: Assignment, state: LogState) -> bool:
    """Whether the log is not the quickest way: the guild is not new."""
    span = state.bounds.last - assignment.first_sequence
    return assignment.epoch > 1 or span > LONG_LOG
