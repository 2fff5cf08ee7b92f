"""The ways in which questions of moderators reach modbot, in turn: over the shards' sessions, and
posted, signed, to each edge.

Discord uses one way at a time: the application's endpoint is set to the edge and taken away again.
It takes an endpoint only if its probes, good and bad signatures, are answered as they must be; an
edge that does not is left out this time. A question that was posted to an edge may fail only if
that edge's process ended: when it did is looked at all the time.
"""

import asyncio
import itertools
import time
from collections.abc import Callable, Mapping

import psutil

from components.chaos.questions import Outage
from components.simulator.client import ControlError, SimulatorControl

PATH = "/interactions/discord"
SESSION = ""
LOOK_EVERY_S = 0.05


class Doors:
    """The ways of one round. ``pid``: the process of a replica as it is now."""

    def __init__(
        self,
        control: SimulatorControl,
        edges: Mapping[str, str],
        pid: Callable[[str], int | None],
    ) -> None:
        self.posted: dict[int, str] = {}
        """Question to the edge that it was posted to."""
        self.ended: dict[str, list[Outage]] = {edge: [] for edge in edges}
        """When edges were not there."""
        self._control = control
        self._edges = edges
        self._pid = pid
        self._turns = itertools.cycle((SESSION, *edges))
        self._application: int | None = None

    async def next(self) -> str:
        """Open the next way, the only one now: an edge, or `SESSION`."""
        edge = next(self._turns)
        try:
            await self._set(f"{self._edges[edge]}{PATH}" if edge else None)
        except ControlError as error:
            if error.status != 400:
                raise
            return SESSION  # the endpoint was not taken
        return edge

    async def close(self) -> None:
        """Leave the sessions as the only way."""
        await self._set(None)

    async def watch(self, stop: asyncio.Event) -> None:
        """Note the ends of edges until ``stop``."""
        async with asyncio.TaskGroup() as group:
            for edge in self._edges:
                group.create_task(self._watch(edge, stop))

    async def _watch(self, edge: str, stop: asyncio.Event) -> None:
        pid = self._pid(edge)
        alive_ms = time.time() * 1000
        while not stop.is_set():
            if pid is not None and psutil.pid_exists(pid):
                alive_ms = time.time() * 1000
            elif (pid := self._pid(edge)) is not None:
                self.ended[edge].append(Outage(from_ms=alive_ms, to_ms=time.time() * 1000))
            await asyncio.sleep(LOOK_EVERY_S)  # a process: there is no event for it
        if pid is None:
            self.ended[edge].append(Outage(from_ms=alive_ms, to_ms=float("inf")))

    async def _set(self, url: str | None) -> None:
        if self._application is None:
            (application,) = await self._control.applications()
            self._application = int(application["id"])
        await self._control.update_application(self._application, interactions_endpoint_url=url)
