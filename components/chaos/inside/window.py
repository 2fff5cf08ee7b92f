"""Stops a gateway's process (SIGSTOP) exactly at its gate to Discord.

When the flag ``before-<replica>`` stands, the next request stops the process right before the gate
is asked; with ``behind-<replica>`` right after, before its bytes are written. The flag is then
renamed to ``stopped-<replica>`` and says (`Stop`, in JSON) which process it was and which request.
"""

import os
import signal
from contextvars import ContextVar
from typing import Any

import msgspec

from components.chaos.inside.control import IS_GATEWAY, REPLICA, flag


class Stop(msgspec.Struct, frozen=True, kw_only=True):
    """Where a process was stopped."""

    pid: int
    caller: str
    """The request's User-Agent, at the end of which the process names itself."""
    method: str
    path: str


def install() -> None:
    """Wrap the gate's question in the connector."""
    if not IS_GATEWAY:
        return
    from components.gateway.shell.effects import rest

    connect, pass_gate = rest.GatedConnector.connect, rest.GatedConnector._pass_gate
    asked: ContextVar[Any] = ContextVar("asked")

    async def noting(self: rest.GatedConnector, req: Any, *more: Any, **named: Any) -> Any:
        asked.set(req)
        return await connect(self, req, *more, **named)

    def stopping(self: rest.GatedConnector, attempt: rest.Attempt) -> None:
        _stop_if_wanted("before", attempt)
        pass_gate(self, attempt)
        _stop_if_wanted("behind", attempt)

    def _stop_if_wanted(where: str, attempt: rest.Attempt) -> None:
        wanted = flag(f"{where}-{REPLICA}")
        if attempt.permit is not None and wanted.exists():
            request = asked.get()
            stop = Stop(
                pid=os.getpid(),
                caller=request.headers.get("User-Agent", ""),
                method=request.method,
                path=request.url.path,
            )
            wanted.write_bytes(msgspec.json.encode(stop))
            wanted.rename(flag(f"stopped-{REPLICA}"))
            os.kill(os.getpid(), signal.SIGSTOP)

    rest.GatedConnector.connect = noting  # type: ignore[method-assign]
    rest.GatedConnector._pass_gate = stopping  # type: ignore[method-assign]
