"""Asks a process whether it is ready, in the way its plan says. No answer means: not yet."""

import asyncio
import logging

import aiohttp
import nats.errors
import nats.js.errors

from components.bus.errors import BusError
from components.bus.settings import BusSettings
from components.stack.cluster import Cluster
from components.stack.plan import BusProbe, DoneProbe, HttpProbe, Process, TcpProbe
from contracts.message import MalformedMessage

log = logging.getLogger(__name__)

HOST = "127.0.0.1"
NOT_YET = (
    OSError,
    TimeoutError,
    aiohttp.ClientError,
    BusError,
    MalformedMessage,
    nats.errors.Error,
    nats.js.errors.Error,
)


class Readiness:
    """Connects to the bus at the first question that needs it."""

    def __init__(self, bus: BusSettings) -> None:
        self._settings = bus
        self._connecting = asyncio.Lock()
        self._cluster: Cluster | None = None

    async def close(self) -> None:
        """Disconnect from the bus."""
        if self._cluster is not None:
            await self._cluster.close()

    async def cluster(self) -> Cluster:
        """The view of the bus. Raises `NotConnected`."""
        async with self._connecting:
            if self._cluster is None:
                self._cluster = await Cluster.open(self._settings, name="stack")
            return self._cluster

    async def unsettled(self, *, guilds: bool) -> str:
        """As `Cluster.unsettled`; a bus that does not answer is not settled."""
        try:
            return await (await self.cluster()).unsettled(guilds=guilds)
        except NOT_YET as error:
            return str(error) or type(error).__name__

    async def is_ready(self, process: Process, spawned_ms: int) -> bool:
        """Whether the process that was started at that time is ready now."""
        try:
            return await self._asked(process, spawned_ms)
        except NOT_YET as error:
            log.debug("%s is not ready: %s", process.name, error or type(error).__name__)
            return False

    async def _asked(self, process: Process, spawned_ms: int) -> bool:
        match process.probe:
            case DoneProbe():
                return False
            case TcpProbe(port=port):
                async with asyncio.timeout(1):
                    _, writer = await asyncio.open_connection(HOST, port)
                writer.close()
                return True
            case HttpProbe(port=port, path=path):
                limit = aiohttp.ClientTimeout(total=2)
                async with (
                    aiohttp.ClientSession(timeout=limit) as session,
                    session.get(f"http://{HOST}:{port}{path}") as answer,
                ):
                    return answer.status == 200
            case BusProbe(component=component, replica=replica):
                cluster = await self.cluster()
                check = {
                    "gateway": cluster.pod_serves,
                    "shard": cluster.shard_connected,
                    "config": cluster.config_answers,
                }[component]
                return await check(replica, spawned_ms)
