"""Creates the streams and buckets of `contracts.storage`, or brings them up to date.

Idempotent: what exists with the same settings is left alone, messages are never touched, and a
stream that was given more room (``max_bytes``) keeps it. In a cluster it returns when every stream
has a leader and all its copies are current.
"""

import asyncio
import logging
from typing import Any

import msgspec

from components.bus.connection import Bus, refusal
from components.bus.errors import BusError, NoOwner, NotConnected, Unanswered, Unavailable
from contracts import storage

log = logging.getLogger(__name__)

RETRY_EVERY_S = 0.2
ANSWER_WITHIN_S = 2.0
"""A cluster without a leader does not answer at all."""
NO_PEERS = 10005
"""err_code: not as many servers as copies, e.g. because a node has not joined yet."""

NAME_IN_USE = 10058
"""err_code: the stream exists with other settings."""


class ProvisioningSettings(msgspec.Struct, frozen=True, kw_only=True):
    """How the streams are kept: ``MODBOT_NATS_*``."""

    replicas: int = 0
    """Copies of each stream, on servers of their own: 3 in a cluster. 0: as many as it has, and
    one of a new stream."""


async def provision(bus: Bus, *, replicas: int = 0, within_s: float = 60.0) -> list[str]:
    """Create or update every stream; returns their names. ``replicas`` is as in
    `ProvisioningSettings`.

    While a cluster has no leader yet, or not enough servers, it is asked again. Raises `Refused`
    with the server's words, e.g. when the disk is too small for what the streams reserve, and the
    last error when there was none but such at the deadline.
    """
    names = []
    last: BusError = Unanswered("$JS.API.STREAM.CREATE", within_s)
    try:
        async with asyncio.timeout(within_s):
            for config in storage.streams():
                while (error := await _attempt(bus, config, replicas)) is not None:
                    last = error
                    await asyncio.sleep(RETRY_EVERY_S)
                names.append(config["name"])
            last = Unanswered("streams to be current on every server", within_s)
            for name in names:
                while not await _current(bus, name, replicas):  # noqa: ASYNC110 - the server's
                    await asyncio.sleep(RETRY_EVERY_S)
    except TimeoutError:
        raise last from None
    log.info("streams are in place: %s", ", ".join(names))
    return names


async def _attempt(bus: Bus, config: dict[str, Any], replicas: int) -> BusError | None:
    """Create or update one stream; what may end by itself is returned, other errors raised."""
    wanted = {**config, "num_replicas": replicas or 1}
    try:
        answer = await _call(bus, f"$JS.API.STREAM.CREATE.{config['name']}", wanted)
        if answer.get("error", {}).get("err_code") == NAME_IN_USE:
            info = await _call(bus, f"$JS.API.STREAM.INFO.{config['name']}", {})
            present = info.get("config", {})
            if not replicas:
                wanted["num_replicas"] = present.get("num_replicas", 1)
            # Somebody raised it because the stream was full: taking it back would fill it again.
            wanted["max_bytes"] = max(wanted["max_bytes"], present.get("max_bytes", 0))
            answer = await _call(bus, f"$JS.API.STREAM.UPDATE.{config['name']}", wanted)
    except (NoOwner, NotConnected, Unanswered) as error:
        return error
    if said := answer.get("error"):
        refused = refusal(
            f"stream {config['name']}",
            said.get("code", 0),
            said.get("err_code", 0),
            said.get("description", ""),
        )
        if isinstance(refused, Unavailable) or refused.err_code == NO_PEERS:
            return refused
        raise refused
    return None


async def _current(bus: Bus, name: str, replicas: int) -> bool:
    """Whether the stream has a leader and all of its copies."""
    try:
        info = await _call(bus, f"$JS.API.STREAM.INFO.{name}", {})
    except (NoOwner, NotConnected, Unanswered):
        return False
    if "error" in info:
        return False
    return copies_current(info, replicas)


def copies_current(info: dict[str, Any], replicas: int = 0) -> bool:
    """Whether a stream, as the server describes it, has a leader and all of its copies hold what
    the leader holds."""
    cluster = info.get("cluster")
    if not cluster:
        return True  # a server that stands alone
    if not cluster.get("leader"):
        return False
    wanted = replicas or info["config"]["num_replicas"]
    others = cluster.get("replicas") or []
    return len(others) == wanted - 1 and all(
        peer.get("current") and not peer.get("offline") and not peer.get("lag") for peer in others
    )


async def _call(bus: Bus, subject: str, body: dict[str, Any]) -> dict[str, Any]:
    answer = await bus.ask(subject, msgspec.json.encode(body), timeout_s=ANSWER_WITHIN_S)
    decoded: dict[str, Any] = msgspec.json.decode(answer.data)
    return decoded
