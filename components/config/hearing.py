"""What a replica hears beside the buckets. Messages that are hints: one that is not understood is
logged and left out, one that is lost costs a moment.

The server's word that a connection is gone (``$SYS.ACCOUNT.MODBOT.DISCONNECT``, imported as
``sys.disconnect``): within milliseconds of a process's death (facts.md). And the leader's word of
how far operations have come, for the answers of the replicas that do not lead."""

import logging
from collections.abc import Callable
from typing import Final

import msgspec
from nats.aio.msg import Msg

from components.bus.connection import Bus
from components.process.clock import steady_s
from contracts import subjects
from contracts.message import MalformedMessage, decode
from contracts.operations import OperationProgress

log = logging.getLogger(__name__)

PROGRESS_KEPT_S: Final = 3.0
"""The leader tells of every operation once a second."""


class _Server(msgspec.Struct):
    id: str = ""


class _Client(msgspec.Struct):
    id: int = 0


class _Advisory(msgspec.Struct):
    server: _Server = msgspec.field(default_factory=_Server)
    client: _Client = msgspec.field(default_factory=_Client)


_decode = msgspec.json.Decoder(_Advisory).decode


async def hear(bus: Bus, *listeners: Callable[[str, int], None]) -> None:
    """Tell the listeners (server id, client id) of every lost connection from now on."""

    async def handle(message: Msg) -> None:
        try:
            advisory = _decode(message.data)
        except msgspec.DecodeError as error:
            log.warning("an advisory of a lost connection is not understood: %s", error)
            return
        for listener in listeners:
            listener(advisory.server.id, advisory.client.id)

    await bus.listen(subjects.DISCONNECTS, handle)


class HeardProgress:
    """Operations as whoever leads tells of them."""

    def __init__(self, clock: Callable[[], float] = steady_s) -> None:
        self._clock = clock
        self._heard: dict[str, tuple[OperationProgress, float]] = {}

    async def listen(self, bus: Bus) -> None:
        """Hear of them from now on."""
        await bus.listen(subjects.progress("*"), self._handle)

    @property
    def running(self) -> list[OperationProgress]:
        """What is under way."""
        now_s = self._clock()
        self._heard = {
            operation: (progress, at_s)
            for operation, (progress, at_s) in self._heard.items()
            if now_s - at_s < PROGRESS_KEPT_S
        }
        return [one for one, _ in self._heard.values() if one.state == "running"]

    async def _handle(self, message: Msg) -> None:
        try:
            progress = decode(message.data, OperationProgress)
        except MalformedMessage as error:
            log.warning("the progress of an operation is not understood: %s", error)
            return
        self._heard[progress.operation] = progress, self._clock()
