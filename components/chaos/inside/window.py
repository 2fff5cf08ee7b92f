"""Stops a gateway's process (SIGSTOP) exactly at its gate to Discord.

When the flag ``before-<replica>`` stands, the next request stops the process right before the gate
is asked; with ``behind-<replica>`` right after, before its bytes are written. The flag is then
renamed to ``stopped-<replica>``.
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
        _stop_if_wanted("before", attempt)
        pass_gate(self, attempt)
        _stop_if_wanted("behind", attempt)

    def _stop_if_wanted(where: str, attempt: rest.Attempt | None) -> None:
        wanted = flag(f"{where}-{REPLICA}")
        if attempt is not None and attempt.permit is not None and wanted.exists():
            wanted.rename(flag(f"stopped-{REPLICA}"))
            os.kill(os.getpid(), signal.SIGSTOP)

    rest.GatedConnector._pass_gate = stopping  # type: ignore[method-assign]
