"""Injected faults of REST: refuse, delay or drop what matches, a given number of times.

`moment` says whether the request takes effect first: "after" is the answer that got lost, which a
client cannot tell from "before".
"""

from fnmatch import fnmatchcase
from itertools import count
from typing import Literal

import msgspec


class RestFault(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """`path` is a pattern over a route's template or the actual path; None matches all.

    With `status` the request gets it; with `drop` its connection is cut; with neither it is only
    late by `latency_ms`. `count` None is without end. `pod` limits it to one caller.
    """

    method: str | None = None
    path: str | None = None
    pod: str | None = None
    status: int | None = None
    drop: bool = False
    latency_ms: float = 0.0
    retry_after_s: float = 1.0
    scope: Literal["user", "shared", "global"] = "user"
    moment: Literal["before", "after"] = "before"
    count: int | None = 1


class ActiveFault(msgspec.Struct, kw_only=True):
    id: int
    fault: RestFault
    left: int | None
    hits: int = 0


class Faults:
    def __init__(self) -> None:
        self._active: dict[int, ActiveFault] = {}
        self._ids = count(1)

    def add(self, fault: RestFault) -> int:
        """Start a fault; returns its id."""
        fault_id = next(self._ids)
        self._active[fault_id] = ActiveFault(id=fault_id, fault=fault, left=fault.count)
        return fault_id

    def remove(self, fault_id: int) -> bool:
        """End a fault; False when it had ended."""
        return self._active.pop(fault_id, None) is not None

    def clear(self) -> None:
        """End all."""
        self._active.clear()

    def active(self) -> list[ActiveFault]:
        return list(self._active.values())

    def match(self, method: str, template: str, path: str, pod: str | None) -> ActiveFault | None:
        """The oldest fault that fits a request, counted as used."""
        for active in self._active.values():
            fault = active.fault
            if fault.method not in (None, method) or fault.pod not in (None, pod):
                continue
            pattern = fault.path
            if pattern is not None and not (
                fnmatchcase(template, pattern) or fnmatchcase(path, pattern)
            ):
                continue
            active.hits += 1
            if active.left is not None:
                active.left -= 1
                if active.left <= 0:
                    del self._active[active.id]
            return active
        return None
