"""What the pod watches on the bus and tells its state machine: assignments, and the proofs that
earlier owners have let go or are silent. A watch may be late and may leave values out; what
depends on it waits. It starts over by itself after a lost connection."""

import logging
from collections.abc import Callable, Coroutine
from typing import Any, Final, TypeVar

from nats.aio.msg import Msg

from components.bus.buckets import Bucket, Entry
from components.bus.connection import Bus
from components.gateway.shell.departures import Departures
from components.gateway.shell.handoffs import Handoffs
from components.gateway.shell.ownership import Ownership
from contracts import storage
from contracts.ids import PodId
from contracts.message import MalformedMessage, Message, decode
from contracts.records import PodLease, ProcessEnd, Released, Silent

log = logging.getLogger(__name__)

T = TypeVar("T", bound=Message)
LEADER: Final = "config"


class Sights:
    """The watches of one pod."""

    def __init__(
        self,
        bus: Bus,
        ownership: Ownership,
        handoffs: Handoffs,
        departures: Departures,
        ttl_s: float,
    ) -> None:
        self._bus = bus
        self._ownership = ownership
        self._machine = ownership.machine
        self._handoffs = handoffs
        self._departures = departures
        self._ttl_s = ttl_s
        self._serving: dict[PodId, float] = {}
        """Other pods that serve, and when that was last seen."""
        self._led_at_s = float("-inf")

    def watches(self) -> list[Coroutine[Any, Any, None]]:
        """All of them, each to be run until cancelled."""
        return [
            self._watch(storage.GUILDS, ">", self._assignment),
            self._watch(storage.PODS, ">", self._pod),
            self._watch(storage.ENDS, ">", self._end),
            self._watch(storage.HANDOFFS, "released.*", self._released),
            self._watch(storage.HANDOFFS, "silent.*", self._silent),
            self._watch(storage.LEADERS, LEADER, self._leader),
        ]

    @property
    def others_serve(self) -> bool:
        """Whether a leader and another pod are there to take this pod's guilds. One that was there
        a moment ago counts: another is elected when a leader ends."""
        since_s = self._ownership.now_s() - self._ttl_s
        return self._led_at_s > since_s and any(at > since_s for at in self._serving.values())

    async def _watch(self, bucket: str, keys: str, tell: Callable[[Entry], None]) -> None:
        async for entry in Bucket(self._bus, bucket).watch(keys):
            if entry is None:
                continue
            try:
                tell(entry)
            except MalformedMessage as error:
                log.error(  # noqa: TRY400 the words say all
                    "%s of bucket %s is not readable: %s", entry.key, bucket, error
                )

    def _assignment(self, entry: Entry) -> None:
        self._ownership.assignment_seen(entry.key, entry.value, entry.revision)

    def _pod(self, entry: Entry) -> None:
        if entry.value is None:
            return  # proves nothing (0006, step 8)
        lease, now_s = decode(entry.value, PodLease), self._ownership.now_s()
        if lease.pod != self._machine.me.pod:
            if lease.state == "serving":
                self._serving[lease.pod] = now_s
            else:
                self._serving.pop(lease.pod, None)
        self._ownership.do(self._machine.pod_seen(lease, entry.revision, now_s))
        self._departures.look()

    def _end(self, entry: Entry) -> None:
        if entry.value is not None:
            end = decode(entry.value, ProcessEnd)
            self._ownership.do(self._machine.end_seen(end, self._ownership.now_s()))
            self._departures.look()

    def _released(self, entry: Entry) -> None:
        self._handoffs.seen(entry.key, entry.revision)
        if entry.value is not None:
            released = decode(entry.value, Released)
            self._ownership.do(self._machine.released_seen(released, self._ownership.now_s()))

    async def hear_released(self, message: Msg) -> None:
        """The same, from the earlier owner itself (`subjects.pod_released`)."""
        try:
            released = decode(message.data, Released)
        except MalformedMessage as error:
            log.error("%s is not readable: %s", message.subject, error)  # noqa: TRY400
            return
        self._ownership.do(self._machine.released_seen(released, self._ownership.now_s()))

    def _silent(self, entry: Entry) -> None:
        self._handoffs.seen(entry.key, entry.revision)
        if entry.value is not None:
            silent = decode(entry.value, Silent)
            self._ownership.do(self._machine.silent_seen(silent, self._ownership.now_s()))

    def _leader(self, entry: Entry) -> None:
        if entry.value is not None:
            self._led_at_s = self._ownership.now_s()
            self._ownership.do(self._machine.leader_seen(self._led_at_s))
        else:
            self._ownership.do(self._machine.leader_gone(self._ownership.now_s()))
