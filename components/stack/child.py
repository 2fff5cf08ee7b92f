"""One child process: how it is started, how it is ended, what its last words were.

Promise: a child never outlives this process. It gets its own session (a Ctrl-C at the terminal
is ours to pass on) and, on Linux, a death signal; what it started itself goes with its group.
"""

import asyncio
import contextlib
import ctypes
import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path

import msgspec

from components.process.log_files import open_log
from components.stack.plan import Process

PR_SET_PDEATHSIG = 1
TAIL_BYTES = 16 * 1024


async def spawn(process: Process, log: Path) -> asyncio.subprocess.Process:
    """Start the process; its output is appended to the log. Raises OSError."""
    with open_log(log) as output:
        return await asyncio.create_subprocess_exec(
            *process.command,
            env=environment_of(process, os.environ.copy()),
            stdin=asyncio.subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            start_new_session=True,
            preexec_fn=_die_with_parent(process.death_signal),
        )


def environment_of(process: Process, starter: dict[str, str]) -> dict[str, str]:
    """The child's environment. What is given by file is not also inherited as a value."""
    if process.whole_environment:
        return process.environment
    given = process.environment
    hidden = {"DISCORD_TOKEN", "SERVICE_MODE"}
    hidden |= {name.removesuffix("_FILE") for name in given if name.endswith("_FILE")}
    return {name: value for name, value in starter.items() if name not in hidden} | given


def end_group(pid: int) -> None:
    """``kill -9`` for the process and whatever it started and left behind."""
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(pid, signal.SIGKILL)


def last_words(log: Path, since: int = 0) -> str:
    """The last error that was logged from the offset on, else the last line."""
    try:
        with log.open("rb") as file:
            end = file.seek(0, os.SEEK_END)
            file.seek(max(since, end - TAIL_BYTES))
            lines = file.read().decode("utf-8", errors="replace").splitlines()
    except OSError as error:
        return f"its log cannot be read: {error.strerror}"
    last = ""
    for line in reversed(lines):
        if not (line := line.strip()):
            continue
        try:
            record = msgspec.json.decode(line, type=dict[str, object])
        except msgspec.MsgspecError:
            last = last or line
            continue
        last = last or str(record.get("message", line))
        if record.get("level") in ("error", "critical"):
            words = str(record.get("message", ""))
            reason = str(record.get("error", "")).strip().rpartition("\n")[2]
            return f"{words} ({reason})" if reason else words
    return last or "it wrote nothing"


def _die_with_parent(number: int) -> Callable[[], None] | None:
    if sys.platform != "linux":
        return None  # leftovers are ended by the next `modbot up` (running.py)
    libc = ctypes.CDLL(None, use_errno=True)
    parent = os.getpid()

    def set_death_signal() -> None:
        # Runs between fork and exec: nothing here may allocate or take a lock it need not.
        libc.prctl(PR_SET_PDEATHSIG, number)
        if os.getppid() != parent:
            os._exit(1)  # it died in between

    return set_death_signal
