"""What every component does first: its name, its logs, its traces.

Reads ``MODBOT_REPLICA``, ``MODBOT_LOG_LEVEL``, ``MODBOT_TRACE_FOLDER``, ``MODBOT_TRACE_RATIO``.
"""

import socket
from pathlib import Path

import msgspec

from components.process.settings import load
from components.telemetry.logs import configure_logs
from components.telemetry.traces import configure_traces


class ServiceSettings(msgspec.Struct, frozen=True, kw_only=True):
    """Settings that all components share."""

    replica: str = ""
    """Name of this replica, e.g. ``gateway-0``; the host's name when unset."""
    log_level: str = "INFO"
    trace_folder: str = ""
    """Folder for spans, one file a process; none are written when unset."""
    trace_ratio: float = 1.0


def start_service(component: str) -> str:
    """Configure logs and traces of the process; returns the replica's name."""
    settings = load(ServiceSettings, "")
    replica = settings.replica or f"{component}-{socket.gethostname()}"
    configure_logs(component, replica, settings.log_level)
    configure_traces(
        component,
        replica,
        folder=Path(settings.trace_folder) if settings.trace_folder else None,
        ratio=settings.trace_ratio,
    )
    return replica
