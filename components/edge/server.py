"""uvicorn on a socket that is open already, stopped by an event instead of by signals."""

import asyncio
import contextlib
import socket
from collections.abc import Iterator
from typing import Any, Final

import uvicorn
from litestar.types import ASGIApp

MAX_CONNECTIONS: Final = 2000
"""Beyond it uvicorn answers 503."""
KEEP_ALIVE_S: Final = 30
STOP_WITHIN_S: Final = 5
"""Requests under way may end; an interaction takes at most 3 s."""
MAX_HEAD: Final = 16 * 1024


class _Server(uvicorn.Server):
    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Leave signals alone: `components.process.run` turns them into the stop event."""
        yield


def listen(host: str, port: int) -> socket.socket:
    """A listening socket, so that the port is known, and connections wait, before the app runs.
    Raises `OSError` when the address is taken or not ours."""
    return socket.create_server((host, port), backlog=1024, reuse_port=False)


async def serve(app: ASGIApp, listening: socket.socket, stop: asyncio.Event) -> None:
    """Serve until ``stop`` is set, then let requests under way end."""
    as_any: Any = app
    server = _Server(
        uvicorn.Config(
            as_any,
            http="h11",
            ws="none",
            lifespan="off",
            log_config=None,
            access_log=False,
            server_header=False,
            proxy_headers=False,
            limit_concurrency=MAX_CONNECTIONS,
            timeout_keep_alive=KEEP_ALIVE_S,
            timeout_graceful_shutdown=STOP_WITHIN_S,
            h11_max_incomplete_event_size=MAX_HEAD,
        )
    )
    async with asyncio.TaskGroup() as group:
        serving = group.create_task(server.serve(sockets=[listening]))
        stopping = group.create_task(stop.wait())
        await asyncio.wait((serving, stopping), return_when=asyncio.FIRST_COMPLETED)
        server.should_exit = True
        await serving
        stopping.cancel()
