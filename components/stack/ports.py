"""Ports of the stack's servers: the usual ones if they are free, others if not, remembered.

The choice is kept in ``<home>/ports.json``, so that a restart finds everything where it was.
"""

import errno
import fcntl
import os
import socket
import tempfile
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import IO

import msgspec

DEFAULTS = {
    "nats": 4222,
    "route": 6222,
    "monitor": 8222,
    "postgres": 54329,
    "s3": 9000,
    "simulator": 8600,
    "edge": 8080,
    "metrics.config": 9110,
    "metrics.gateway": 9120,
    "metrics.shard": 9150,
    "metrics.edge": 9170,
}
"""``route`` and ``monitor`` are those of NATS servers in a cluster. PostgreSQL's own 5432 is left
to whoever has one."""


class Claims:
    """Ports that this process will use. A port stays free from its choice until its server
    listens, which takes a second: another stack that starts meanwhile must not choose it too."""

    def __init__(self) -> None:
        self._folder = Path(tempfile.gettempdir()) / f"modbot-ports-{os.getuid()}"
        self._held: list[IO[str]] = []

    def take(self, port: int) -> bool:
        """Claim the port; False when another stack has it."""
        self._folder.mkdir(mode=0o700, exist_ok=True)
        file = (self._folder / str(port)).open("w", encoding="ascii")
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            file.close()
            return False
        self._held.append(file)
        return True

    def release(self) -> None:
        """Give all ports back."""
        while self._held:
            self._held.pop().close()


def choose(
    home: Path, names: Iterable[str], *, keep: bool = False, claims: Claims | None = None
) -> dict[str, int]:
    """A port for every name. A remembered one is taken if it is free (with ``keep`` in any case:
    the stack may be running), then the usual one, then any. ``claims`` holds what was chosen."""

    def usable(port: int) -> bool:
        if port in chosen.values() or not is_free(port):
            return False
        return claims is None or claims.take(port)

    path = home / "ports.json"
    remembered = read(path)
    chosen: dict[str, int] = {}
    for name in names:
        wanted = [port for port in (remembered.get(name), usual(name)) if port is not None]
        if keep and name in remembered:
            chosen[name] = remembered[name]
            continue
        found = next((port for port in wanted if usable(port)), None)
        while found is None:
            port = _any_free()
            found = port if usable(port) else None
        chosen[name] = found
    path.write_bytes(msgspec.json.format(msgspec.json.encode({**remembered, **chosen})))
    return chosen


def read(path: Path) -> Mapping[str, int]:
    """The remembered ports; none when the file is missing or broken."""
    try:
        return msgspec.json.decode(path.read_bytes(), type=dict[str, int])
    except (FileNotFoundError, msgspec.MsgspecError):
        return {}


def usual(name: str) -> int:
    """The default port of a server or of a component's replica (``edge-1``: the next one)."""
    base, _, number = name.partition("-")
    return DEFAULTS[base] + int(number or 0)


def is_free(port: int, host: str = "127.0.0.1") -> bool:
    """Whether a server could listen there now."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError as error:
            if error.errno in (errno.EADDRINUSE, errno.EACCES):
                return False
            raise
    return True


def _any_free() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port
