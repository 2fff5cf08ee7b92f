"""Creates the streams and buckets of `contracts.storage`, or brings them up to date.

Idempotent: what exists with the same settings is left alone, and messages are never touched.
"""

import logging
from typing import Any

import msgspec

from components.bus.connection import Bus, refusal
from contracts import storage

log = logging.getLogger(__name__)

NAME_IN_USE = 10058
"""err_code: the stream exists with other settings."""


async def provision(bus: Bus, *, replicas: int = 1) -> list[str]:
    """Create or update every stream; returns their names. Raises `Refused` with the server's
    words, e.g. when the disk is too small for what the streams reserve."""
    names = []
    for config in storage.streams():
        wanted = {**config, "num_replicas": replicas}
        answer = await _call(bus, f"$JS.API.STREAM.CREATE.{config['name']}", wanted)
        if answer.get("error", {}).get("err_code") == NAME_IN_USE:
            answer = await _call(bus, f"$JS.API.STREAM.UPDATE.{config['name']}", wanted)
        if error := answer.get("error"):
            raise refusal(
                f"stream {config['name']}",
                error.get("code", 0),
                error.get("err_code", 0),
                error.get("description", ""),
            )
        names.append(config["name"])
    log.info("streams are in place: %s", ", ".join(names))
    return names


async def _call(bus: Bus, subject: str, body: dict[str, Any]) -> dict[str, Any]:
    answer = await bus.ask(subject, msgspec.json.encode(body), timeout_s=10)
    decoded: dict[str, Any] = msgspec.json.decode(answer.data)
    return decoded
