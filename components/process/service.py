"""What every component does first: its name, its logs, its traces, its metrics.

Reads ``MODBOT_REPLICA``, ``MODBOT_LOG_LEVEL``, ``MODBOT_TRACE_FOLDER``, ``MODBOT_TRACE_RATIO`` and
``MODBOT_METRICS_ADDR``.
"""

import logging
import socket
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

import msgspec

from components.process.exits import CannotStart
from components.process.settings import InvalidSettings, load, variable_of
from components.telemetry.logs import configure_logs
from components.telemetry.metrics import PATH, configure_metrics, served
from components.telemetry.traces import configure_traces

log = logging.getLogger(__name__)


class ServiceSettings(msgspec.Struct, frozen=True, kw_only=True):
    """Settings that all components share."""

    replica: str = ""
    """Name of this replica, e.g. ``gateway-0``; the host's name when unset."""
    log_level: str = "INFO"
    trace_folder: str = ""
    """Folder for spans, one file a process; none are written when unset."""
    trace_ratio: float = 1.0
    metrics_addr: str = ""
    """``host:port`` where Prometheus may scrape the process (port 0: a free one, which the log
    names); unset: nowhere."""


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


@asynccontextmanager
async def service(component: str) -> AsyncIterator[str]:
    """`start_service`, and the process's metrics until the end of the block. Raises
    `InvalidSettings`, and `CannotStart` when the address for them cannot be had."""
    replica = start_service(component)
    address = load(ServiceSettings, "").metrics_addr
    if not address:
        yield replica
        return
    host, port = parse_address(address)
    async with AsyncExitStack() as stack:
        try:
            serving = served(configure_metrics(component, replica), host, port)
            port = await stack.enter_async_context(serving)
        except OSError as error:
            variable = variable_of("", "metrics_addr")
            raise CannotStart(f"setting {variable}: {address}: {error.strerror}") from error
        log.info("metrics are at http://%s:%d%s", host, port, PATH)
        yield replica


def parse_address(address: str) -> tuple[str, int]:
    """Host and port of ``host:port`` or ``[host]:port``. Raises `InvalidSettings`."""
    host, colon, port = address.rpartition(":")
    host = host.removeprefix("[").removesuffix("]")
    if not (colon and host and port.isdecimal() and int(port) < 2**16):
        raise InvalidSettings(
            variable_of("", "metrics_addr"),
            f"must be host:port, e.g. 127.0.0.1:9100 (it is {address!r})",
        )
    return host, int(port)
