"""Logging: one JSON object a line on stderr, with the trace it belongs to, secrets removed.

What looks like a Discord token, an interaction token in a URL, a Bearer header or an nkey seed
is replaced before a line is written, whoever logged it.
"""

import json
import logging
import re
import sys
from datetime import UTC, datetime
from typing import Any

from opentelemetry import trace

_SECRETS = re.compile(
    r"""(?x)
      (?P<bot>[MNO][\w-]{22,28}\.[\w-]{6}\.[\w-]{25,})      # a bot's token
    | (?P<seed>\bS[UAXCNO][A-Z2-7]{40,60}\b)                # an nkey seed
    | (?<=Bot\s)\S+ | (?<=Bearer\s)\S+                      # Authorization headers
    | (?<=/interactions/)(?P<i>\d+/)[^/\s"']+               # interaction callback URLs
    | (?<=/webhooks/)(?P<w>\d+/)[^/\s"']+                   # webhook URLs
    """
)


def redact(text: str) -> str:
    """The text without anything that looks like a secret."""
    return _SECRETS.sub(lambda m: (m.group("i") or m.group("w") or "") + "[redacted]", text)


class JsonLines(logging.Formatter):
    """One JSON object a record."""

    def __init__(self, service: str, replica: str) -> None:
        super().__init__()
        self._base = {"service": service, "replica": replica}

    def format(self, record: logging.LogRecord) -> str:
        """The record as JSON; extra fields given with ``extra={"fields": {…}}`` are kept."""
        fields: dict[str, Any] = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            **self._base,
            "logger": record.name,
            "message": record.getMessage(),
            **getattr(record, "fields", {}),
        }
        context = trace.get_current_span().get_span_context()
        if context.is_valid:
            fields["trace"] = f"{context.trace_id:032x}"
        if record.exc_info:
            fields["error"] = self.formatException(record.exc_info)
        return redact(json.dumps(fields, ensure_ascii=False, default=str))


def configure_logs(service: str, replica: str, level: str = "INFO") -> None:
    """Send every logger of the process to stderr as `JsonLines`."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(JsonLines(service, replica))
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(level.upper())
    for noisy in ("discord.gateway", "discord.client", "discord.http", "aiohttp.access"):
        logging.getLogger(noisy).setLevel(logging.WARNING)
