"""How PostgreSQL is initialised and started: its command, environment and address.

Promise: a second `prepare` of the same folder continues with its data; an initialisation that was
interrupted is done again. PostgreSQL refuses to run as root, so root drops to ``nobody`` by
setpriv, in the command itself: the process keeps its id and whoever started it need not know.
Fails with `CannotPrepare`, whose words say what to do, and `binaries.MissingBinary`.
"""

import contextlib
import os
import pwd
import secrets
import shutil
import signal
import subprocess
from pathlib import Path

import msgspec

from components import binaries

SERVER_USER = "nobody"
ADMIN = "modbot"


class CannotPrepare(Exception):
    """PostgreSQL cannot be initialised here; the words say why and what to do."""


class PostgresServer(msgspec.Struct, frozen=True, kw_only=True):
    """A PostgreSQL of the stack. ``dsn`` holds the password."""

    command: list[str]
    environment: dict[str, str]
    """All of it: nothing of the starter's environment (``PGDATA``, locale) leaks in."""
    dsn: str
    host: str
    port: int
    stop_signal: int = signal.SIGINT
    """Fast shutdown. SIGTERM would wait until every client has gone by itself."""


def prepare(folder: Path, port: int, *, host: str = "127.0.0.1") -> PostgresServer:
    """Initialise the data below ``folder`` where missing and say how to start the server."""
    folder = folder.resolve()
    folder.mkdir(parents=True, exist_ok=True)
    programs = binaries.postgres_folder().resolve()
    drop = _drop_root(programs, folder)
    data = folder / "data"
    if not (data / "PG_VERSION").exists():
        _initialise(folder, data, programs, drop)
    password = (folder / "password").read_text(encoding="ascii")
    command = [*drop, str(programs / "postgres"), "-D", str(data)]
    for setting in (
        f"listen_addresses={host}",
        f"port={port}",
        "unix_socket_directories=",  # no socket file whose folder somebody has to own
        "shared_buffers=16MB",  # registry and history are small
        "max_connections=40",
    ):
        command += ["-c", setting]
    return PostgresServer(
        command=command,
        environment=_environment(),
        dsn=f"postgresql://{ADMIN}:{password}@{host}:{port}/postgres",
        host=host,
        port=port,
    )


def _initialise(folder: Path, data: Path, programs: Path, drop: list[str]) -> None:
    """``initdb`` into a folder beside, renamed when it is whole."""
    unfinished = folder / "data.unfinished"
    shutil.rmtree(unfinished, ignore_errors=True)
    unfinished.mkdir(mode=0o700)
    password = folder / "password"
    password.unlink(missing_ok=True)
    descriptor = os.open(password, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "w", encoding="ascii") as file:
        file.write(secrets.token_urlsafe(24))
    if drop:
        server = pwd.getpwnam(SERVER_USER)
        for path in (unfinished, password):
            os.chown(path, server.pw_uid, server.pw_gid)
    command = [*drop, str(programs / "initdb"), "-D", str(unfinished), "-U", ADMIN]
    command += ["--auth=scram-sha-256", f"--pwfile={password}", "-E", "UTF8", "--locale=C"]
    # initdb looks for postgres beside itself, and must be able to enter its working directory.
    done = subprocess.run(
        command, env=_environment(), cwd="/", capture_output=True, text=True, check=False
    )
    if done.returncode != 0:
        raise CannotPrepare(f"initdb failed in {folder}: {done.stderr.strip()}")
    unfinished.rename(data)


def _drop_root(*needed: Path) -> list[str]:
    """The prefix that makes a command run as `SERVER_USER`; empty when we are not root."""
    if os.geteuid() != 0:
        return []
    setpriv = shutil.which("setpriv")
    if setpriv is None:
        raise CannotPrepare(
            "PostgreSQL does not run as root and setpriv is missing: install util-linux, or start "
            "as an ordinary user"
        )
    user = pwd.getpwnam(SERVER_USER)
    prefix = [setpriv, f"--reuid={user.pw_uid}", f"--regid={user.pw_gid}", "--clear-groups"]
    # Changing the user forgets the death signal that the starter has set.
    prefix.append("--pdeathsig=QUIT")
    if not all(_enterable(path) for path in needed):
        # The clone or the data lie below a folder like /root (mode 0700). One capability lets the
        # server pass; it is root's to give, also in a container.
        prefix += ["--inh-caps=+dac_override", "--ambient-caps=+dac_override"]
    return [*prefix, "--"]


def _enterable(path: Path) -> bool:
    """Whether a stranger may pass through every folder down to the path."""
    return all(folder.stat().st_mode & 0o001 for folder in (path, *path.parents))


def _environment() -> dict[str, str]:
    environment = {"PATH": os.defpath, "LC_ALL": "C", "TZ": "UTC"}
    with contextlib.suppress(KeyError):  # wheels that find their libraries by it
        environment["LD_LIBRARY_PATH"] = os.environ["LD_LIBRARY_PATH"]
    return environment
