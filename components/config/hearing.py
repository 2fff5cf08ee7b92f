"""The server's word that a connection is gone (``$SYS.ACCOUNT.MODBOT.DISCONNECT``, imported as
``sys.disconnect``): within milliseconds of a process's death (facts.md). A hint like any other
message; one that is not understood is logged and left out."""

import logging
from collections.abc import Callable

import msgspec
from nats.aio.msg import Msg

from components.bus.connection import Bus
from contracts import subjects

log = logging.getLogger(__name__)


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
