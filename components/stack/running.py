"""The record of a running stack, ``<home>/stack.json``, and the lock that there is only one.

Other commands find the stack through the record; it holds paths of credentials, never the
credentials. A record without a held lock is what a killed `modbot up` left.
"""

import contextlib
import fcntl
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import msgspec
import psutil

from components.stack.errors import AlreadyRunning

RECORD = "stack.json"
LOCK = "lock"
KEPT_APART = {LOCK}


class RunningProcess(msgspec.Struct, frozen=True, kw_only=True):
    """A process; its creation time tells it from a later one with the same id."""

    name: str
    pid: int
    created: float


class RunningStack(msgspec.Struct, frozen=True, kw_only=True):
    """A stack that runs, or ran."""

    pid: int
    home: str
    ready: bool
    urls: dict[str, str]
    ports: dict[str, int]
    credentials: dict[str, str]
    """Paths of files: ``seeds`` (a folder), ``operator_token``, ``database_url`` …"""
    logs: str
    simulated: bool
    control: str = ""
    """The socket by which it is asked to restart processes (`control`)."""
    processes: list[RunningProcess]


@contextmanager
def locked(home: Path) -> Iterator[None]:
    """Hold the folder's lock. Raises `AlreadyRunning`."""
    home.mkdir(parents=True, exist_ok=True, mode=0o700)
    with (home / LOCK).open("a+", encoding="ascii") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            file.seek(0)
            holder = file.read().strip() or "unknown"
            raise AlreadyRunning(
                f"a stack is running with the data in {home} (process {holder}): stop it with "
                "Ctrl-C, or name another folder with --home"
            ) from error
        file.truncate(0)
        file.write(str(os.getpid()))
        file.flush()
        yield


def write(home: Path, stack: RunningStack) -> None:
    """Replace the record."""
    beside = home / f"{RECORD}.new"
    beside.write_bytes(msgspec.json.format(msgspec.json.encode(stack)))
    beside.chmod(0o600)
    beside.replace(home / RECORD)


def read(home: Path) -> RunningStack | None:
    """The record; None when there is none."""
    try:
        return msgspec.json.decode((home / RECORD).read_bytes(), type=RunningStack)
    except (FileNotFoundError, NotADirectoryError, msgspec.MsgspecError):
        return None


def remove(home: Path) -> None:
    """Remove the record: nothing runs any more."""
    (home / RECORD).unlink(missing_ok=True)


def process_of(name: str, pid: int) -> RunningProcess | None:
    """The process as the record names it; None when it has ended."""
    try:
        return RunningProcess(name=name, pid=pid, created=psutil.Process(pid).create_time())
    except psutil.NoSuchProcess:
        return None


def end_leftovers(home: Path) -> list[str]:
    """End what a killed `modbot up` left behind (where the system does not do it by itself);
    returns their names. Call it with the lock held."""
    record = read(home)
    found: dict[str, psutil.Process] = {}
    for left in record.processes if record else []:
        with contextlib.suppress(psutil.NoSuchProcess):
            process = psutil.Process(left.pid)
            if process.create_time() == left.created:
                found[left.name] = process
    for process in found.values():
        with contextlib.suppress(psutil.NoSuchProcess):
            process.kill()
    psutil.wait_procs(found.values(), timeout=5)
    return sorted(found)


def reset(home: Path) -> list[str]:
    """Remove everything in the folder; returns the names. Call it with the lock held.

    Only a folder that a stack made is emptied: one that holds other files raises
    `FileExistsError`.
    """
    present = [path for path in home.iterdir() if path.name not in KEPT_APART]
    if present and not any((home / name).exists() for name in ("ports.json", "nats", RECORD)):
        raise FileExistsError(f"{home} holds files that are not a stack's: remove them yourself")
    for path in present:
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path)
        else:
            path.unlink()
    return sorted(path.name for path in present)
