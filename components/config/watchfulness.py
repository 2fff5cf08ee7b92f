"""Looks every few seconds whether something goes wrong that nobody would notice in time, and says
so: in the status, and in the leader's log, once a change (field ``alarm``).

Every replica looks, so that whoever is asked can answer. A stream that does not answer is itself a
finding; while this replica has no connection nothing is concluded.
"""

import asyncio
import logging
from typing import Final

from components.bus import stream
from components.bus.connection import Bus
from components.bus.errors import BusError
from components.bus.stream_info import StreamInfo, stream_info
from components.config.alarms import UNOPENED_S, Board, Change, Limits, PodSight, Sight, find, nodes
from components.config.leadership import Leadership
from components.config.parking import parked, unopened
from components.config.settings import ConfigSettings
from components.config.view import View
from components.process.clock import steady_s, wall_ms
from contracts import storage, subjects
from contracts.ids import PodId, Sequence
from contracts.operations import Alarm, NatsNode
from contracts.records import PodLease

log = logging.getLogger(__name__)

WATCHED: Final = tuple(str(stream["name"]) for stream in storage.streams())
"""Everything that is kept on the bus: each stream stops a part of the service."""


class Watch:
    """What one replica sees."""

    def __init__(
        self, bus: Bus, view: View, leadership: Leadership, settings: ConfigSettings
    ) -> None:
        self._bus = bus
        self._view = view
        self._leadership = leadership
        self._every_s = settings.alarm_every_s
        self._limits = Limits(
            full=settings.alarm_full,
            full_critical=settings.alarm_full_critical,
            lag_s=settings.alarm_lag_s,
            age_s=settings.alarm_age_s,
            retention=settings.alarm_retention,
        )
        self._board = Board(after_s=settings.alarm_after_s)
        self._led = False
        self._news = asyncio.Event()
        self.nodes: list[NatsNode] = []

    @property
    def alarms(self) -> list[Alarm]:
        """What stands."""
        return self._board.standing

    def news(self) -> None:
        """The view has changed; it may be complete now."""
        self._news.set()

    async def run(self) -> None:
        """Look until cancelled."""
        while True:
            while not self._view.complete:
                self._news.clear()
                await self._news.wait()
            try:
                await self.look()
            except BusError as error:
                log.info("nothing was looked at: %s", error)
            await asyncio.sleep(self._every_s)

    async def look(self) -> None:
        """Look once. Raises `BusError` when this replica cannot see anything."""
        link = self._bus.link
        sight = await self._sight()
        if not self._bus.connected or self._bus.link != link:
            return  # what did not answer is no finding
        self.nodes = nodes(sight.streams.values())
        changes = self._board.look(find(sight, self._limits), steady_s(), wall_ms())
        self._tell(changes)

    def _tell(self, changes: list[Change]) -> None:
        led, self._led = self._led, self._leadership.leading
        if not self._led:
            return
        if not led:  # whoever led before may have told nobody
            changes = [Change(alarm=alarm, over=False) for alarm in self.alarms]
        for change in changes:
            alarm = change.alarm
            fields = {"alarm": alarm.name, "about": alarm.about, "severity": alarm.severity}
            if change.over:
                log.info("over: %s", alarm.text, extra={"fields": {**fields, "over": True}})
            else:
                level = logging.ERROR if alarm.severity == "critical" else logging.WARNING
                log.log(level, "%s", alarm.text, extra={"fields": fields})

    async def _sight(self) -> Sight:
        async with asyncio.TaskGroup() as group:
            asked = {name: group.create_task(self._info(name)) for name in WATCHED}
        streams = {name: task.result() for name, task in asked.items()}
        inputs = streams[storage.INPUTS]
        pods = await self._pods(inputs) if inputs is not None else []
        return Sight(
            streams=streams,
            pods=pods,
            parked=parked(self._view),
            unopened=unopened(self._view, steady_s(), UNOPENED_S),
        )

    async def _info(self, name: str) -> StreamInfo | None:
        try:
            return await stream_info(self._bus, name)
        except BusError as error:
            log.debug("stream %s does not answer: %s", name, error)
            return None

    async def _pods(self, inputs: StreamInfo) -> list[PodSight]:
        stored: dict[Sequence, int | None] = {}
        found = []
        for pod in list(self._view.pods.values()):
            lease, here = pod.lease, pod.here is not None
            if lease is None or not self._has_rows(pod.pod, here=here):
                continue
            mark = _mark(lease)
            if mark not in stored:
                stored[mark] = await self._stored_after(mark, inputs)
            found.append(
                PodSight(
                    pod=pod.pod,
                    here=here,
                    backed_up=bool(lease.replica),
                    started_ms=lease.started_ms,
                    mark=mark,
                    complete_up_to=lease.complete_up_to,
                    lag_s=lease.backup_lag_s,
                    unmarked_ms=stored[mark],
                )
            )
        return found

    def _has_rows(self, pod: PodId, *, here: bool) -> bool:
        """Whether somebody depends on the pod's rows: of one that is away, those it owned."""
        index = self._view.index
        if index.owned.get(pod, 0):
            return True
        return here and bool(index.followed.get(pod, 0) or index.joining.get(pod, 0))

    async def _stored_after(self, mark: Sequence, inputs: StreamInfo) -> int | None:
        if mark >= inputs.last:
            return None
        message = await stream.first_of_subject(
            self._bus, storage.INPUTS, subjects.INPUTS_WILDCARD, mark + 1
        )
        return message.stored_ms if message is not None else None


def _mark(lease: PodLease) -> Sequence:
    return lease.backed_up_to if lease.replica else lease.complete_up_to
