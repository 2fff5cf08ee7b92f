"""Stops a gateway's process (SIGSTOP) exactly between the gate and the socket.

When the flag ``window-<replica>`` stands, the next request that has passed the gate stops the
process before its bytes are written; the flag is then renamed to ``stopped-<replica>``.
"""

import os
import signal

from components.chaos.inside.control import IS_GATEWAY, REPLICA, flag


def install() -> None:
    """Wrap the gate's question in the connector."""
    if not IS_GATEWAY:
        return
    from components.gateway.shell.effects import rest

    pass_gate = rest.GatedConnector._pass_gate

    def stopping(self: rest.GatedConnector, attempt: rest.Attempt) -> None:
        pass_gate(self, attempt)
        wanted = flag(f"window-{REPLICA}")
        if attempt.permit is not None and wanted.exists():
            wanted.rename(flag(f"stopped-{REPLICA}"))
            os.kill(os.getpid(), signal.SIGSTOP)

    rest.GatedConnector._pass_gate = stopping  # type: ignore[method-assign]
