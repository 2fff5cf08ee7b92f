"""A TCP proxy between a component and a server, which can go silent with its sockets open.

``held``: bytes wait and arrive late, as when a network heals. ``swallowed``: they are gone, and
the connections on which that happened are cut when the proxy is restored. New connections are
accepted and lead nowhere meanwhile.
"""

import asyncio
import contextlib
from collections.abc import Callable
from typing import Literal, TypeAlias

import msgspec

Mode: TypeAlias = Literal["open", "held", "swallowed"]
CHUNK = 64 * 1024


class Target(msgspec.Struct, frozen=True):
    """Where the proxy leads."""

    host: str
    port: int


class Proxy:
    """One proxy. ``target`` is asked at every connection: the server may not be there yet."""

    def __init__(self, target: Callable[[], Target]) -> None:
        self._target = target
        self._mode: Mode = "open"
        self._opened = asyncio.Event()
        self._opened.set()
        self._server: asyncio.Server | None = None
        self._tasks: set[asyncio.Task[None]] = set()
        self._robbed: set[asyncio.StreamWriter] = set()
        self.port = 0
        self.stopped_some = False
        """Whether anything came that did not pass, since the last `cut`."""

    async def start(self) -> None:
        """Listen on a free port."""
        self._server = await asyncio.start_server(self._accepted, "127.0.0.1", 0)
        self.port = self._server.sockets[0].getsockname()[1]

    def cut(self, mode: Mode) -> None:
        """Let nothing through from now on."""
        self._mode = mode
        self.stopped_some = False
        self._opened.clear()

    def restore(self) -> None:
        """Let everything through again."""
        self._mode = "open"
        for writer in self._robbed:
            writer.transport.abort()
        self._robbed.clear()
        self._opened.set()

    async def close(self) -> None:
        """End every connection."""
        if self._server is not None:
            self._server.close()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _accepted(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        try:
            await self._opened.wait()
            target = self._target()
            there, to_there = await asyncio.open_connection(target.host, target.port)
            try:
                async with asyncio.TaskGroup() as group:
                    group.create_task(self._pump(reader, to_there, writer))
                    group.create_task(self._pump(there, writer, to_there))
            finally:
                to_there.transport.abort()
        except* (OSError, ValueError):
            pass  # either side is gone: the other learns it by the end of its connection
        finally:
            self._tasks.discard(task)
            self._robbed.discard(writer)
            writer.transport.abort()

    async def _pump(
        self,
        source: asyncio.StreamReader,
        sink: asyncio.StreamWriter,
        back: asyncio.StreamWriter,
    ) -> None:
        while data := await source.read(CHUNK):
            self.stopped_some = self.stopped_some or self._mode != "open"
            if self._mode == "swallowed":
                self._robbed |= {sink, back}
                continue
            await self._opened.wait()
            if sink.transport.is_closing():
                break
            sink.write(data)
            with contextlib.suppress(ConnectionError):
                await sink.drain()
        # one side has ended: so does the other (a half-closed connection has no use here)
        sink.transport.abort()
        back.transport.abort()
