"""Coroutines in virtual time: the shells are written as they are, with awaits.

A task awaits `Answer`s and nothing else, and runs until the next one within one event. It is not
cancelled: when its process ends it is simply never resumed, so it must not clean up in
``finally``.
"""

from collections.abc import Coroutine, Generator
from typing import Any


class Answer:
    """Something that comes later, once: what a task of a process awaits."""

    def __init__(self) -> None:
        self.given = False
        self._value: Any = None
        self._error: Exception | None = None
        self._waiting: Coroutine[Answer, None, None] | None = None

    def give(self, value: Any = None, error: Exception | None = None) -> None:
        """Hand it over; only the first time counts."""
        if self.given:
            return
        self.given, self._value, self._error = True, value, error
        task, self._waiting = self._waiting, None
        if task is not None:
            advance(task)

    def __await__(self) -> Generator["Answer", None, Any]:
        if not self.given:
            yield self
        if self._error is not None:
            raise self._error
        return self._value

    def resume(self, task: Coroutine["Answer", None, None]) -> None:
        """``task`` waits for this."""
        self._waiting = task


def advance(task: Coroutine[Answer, None, None]) -> None:
    """Go on with a task that belongs to no process, or to one that runs."""
    try:
        task.send(None).resume(task)
    except StopIteration:
        return
