"""In what order one thread takes its jobs, and how many of them at a time.

Two lanes, each in its own order: what is ``behind`` goes after what is not, but never waits longer
than one batch of that. A job that is ``alone`` comes in a batch of its own.
"""

import queue
from collections import deque
from typing import Final, Generic, Protocol, TypeVar

MAX_BATCH: Final = 256
BEHIND: Final = 64
"""Of what is behind, so much goes along even with a full batch of what is before it."""


class InLane(Protocol):
    """What may be put."""

    alone: bool
    behind: bool


T = TypeVar("T", bound=InLane)


class Lanes(Generic[T]):
    """`put` from one thread, `next_batch` on another."""

    def __init__(self) -> None:
        self._first: queue.SimpleQueue[T | None] = queue.SimpleQueue()
        """None: look again, at what is behind or at whether this is the end."""
        self._behind: deque[T] = deque()
        self._stopping = False
        self._pushed_back: T | None = None
        self._passed = False
        """What is behind had no place in the last batch: the next one is its own."""

    def put(self, job: T) -> None:
        """At the end of its lane. Not after `stop`."""
        if job.behind:
            self._behind.append(job)
            self._first.put(None)
        else:
            self._first.put(job)

    def stop(self) -> None:
        """Nothing comes any more."""
        self._stopping = True
        self._first.put(None)

    def next_batch(self) -> list[T]:
        """At least one job; waits for it. An empty list at the end."""
        while True:
            jobs = [] if self._passed else self._take()
            first = len(jobs)
            self._take_behind(jobs)
            self._passed = bool(self._behind) and len(jobs) == first
            if jobs or self._stopping:
                return jobs

    def _take(self) -> list[T]:
        """What goes first; waits while there is nothing at all."""
        jobs: list[T] = []
        while len(jobs) < MAX_BATCH:
            job, self._pushed_back = self._pushed_back, None
            if job is None:
                wait = not (jobs or self._behind or self._stopping)
                try:
                    job = self._first.get(block=wait)
                except queue.Empty:
                    break
            if job is None:
                continue
            if job.alone and jobs:
                self._pushed_back = job
                break
            jobs.append(job)
            if job.alone:
                break
        return jobs

    def _take_behind(self, jobs: list[T]) -> None:
        most = max(MAX_BATCH, len(jobs) + BEHIND)
        while self._behind and len(jobs) < most:
            if jobs and (jobs[-1].alone or self._behind[0].alone):
                return
            jobs.append(self._behind.popleft())
