"""Which states of which replicas are in the bucket, and in what order they are worth a try.

A restore costs seconds, listing costs nothing. A point is the end of one of Litestream's files; it
was committed before any file that holds it, or a later one, was stored. That bound only orders the
tries: what a point holds is read from its rows. Pure.
"""

from collections.abc import Collection, Iterator, Sequence
from itertools import groupby

import msgspec

from components.gateway.shell.bucket import LtxFile


class Point(msgspec.Struct, frozen=True, kw_only=True):
    """A state of a replica."""

    replica: str
    transaction: int
    by_ms: int
    """Everything in it was committed before then, by the store's clock."""


class Holder(msgspec.Struct, frozen=True, kw_only=True):
    """A replica whose pod is known to have owned or followed the guild, and since when."""

    replica: str
    since_ms: int


def points_of(replica: str, files: Collection[LtxFile]) -> list[Point]:
    """Every state that can be restored from the files, the earliest first."""
    by_ms: dict[int, int] = {}
    bound_ms = 0
    for file in sorted(files, key=lambda file: file.last, reverse=True):
        stored_ms = int(file.stored.timestamp() * 1000)
        bound_ms = min(bound_ms, stored_ms) if bound_ms else stored_ms
        by_ms[file.last] = bound_ms
    found = []
    reached = 0
    for last, ending in groupby(sorted(files, key=_last), key=_last):
        if any(file.first <= reached + 1 for file in ending):  # nothing is missing up to here
            reached = last
            found.append(Point(replica=replica, transaction=last, by_ms=by_ms[last]))
    return found


def before(points: Sequence[Point], at_ms: int) -> list[Point]:
    """Those to try for a state of ``at_ms`` or before: the newest, then in steps that double."""
    return list(_steps([point for point in reversed(points) if point.by_ms <= at_ms]))


def for_the_moment(
    points: dict[str, list[Point]], holders: Collection[Holder], at_ms: int, *, others: bool
) -> list[list[Point]]:
    """Replicas to try for a state of ``at_ms``, each with its points: whose pods had the guild by
    then, whose had it later and, if wanted, all others; of each kind the one with the newest point
    first."""
    since = {holder.replica: holder.since_ms for holder in holders}

    def rank(tries: list[Point]) -> tuple[int, int]:
        held = since.get(tries[0].replica)
        kind = 2 if held is None else int(held > at_ms)
        return kind, -tries[0].by_ms

    tries = [
        before(of_replica, at_ms)
        for replica, of_replica in points.items()
        if others or replica in since
    ]
    return sorted((found for found in tries if found), key=rank)


def for_the_earliest(
    points: dict[str, list[Point]], holders: Collection[Holder]
) -> list[list[Point]]:
    """Replicas to try for the earliest state, each with its points: the first, then later ones in
    steps that double; those of pods that had the guild, from when they had it, before others."""
    since = {holder.replica: holder.since_ms for holder in holders}
    tries = [
        list(_steps([point for point in of_replica if point.by_ms >= since.get(replica, 0)]))
        for replica, of_replica in points.items()
    ]
    return sorted(
        (found for found in tries if found),
        key=lambda found: (found[0].replica not in since, found[0].by_ms),
    )


def _steps(points: Sequence[Point]) -> Iterator[Point]:
    step = 0
    while step < len(points):
        yield points[step]
        # the last one is always among them
        step = max(step + 1, min(step * 2, len(points) - 1))


def _last(file: LtxFile) -> int:
    return file.last
