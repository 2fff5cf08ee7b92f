"""Files that a child process's output is appended to, kept bounded while it writes.

A log that is larger than `LOG_BYTES_MAX` is set aside as ``<name>.1``, in place of the one
before: call `trim` now and then. Raises OSError.
"""

import os
import shutil
from pathlib import Path
from typing import IO, Final

LOG_BYTES_MAX: Final = 20 * 1024 * 1024
TRIM_EVERY_S: Final = 30.0


def open_log(log: Path) -> IO[bytes]:
    """The file, open for appending."""
    log.parent.mkdir(parents=True, exist_ok=True)
    trim(log)
    return log.open("ab")


def size_of(log: Path) -> int:
    """Where the log ends now."""
    try:
        return log.stat().st_size
    except FileNotFoundError:
        return 0


def trim(log: Path) -> None:
    """Set a log aside that has grown too large. Its process goes on writing to the same file,
    which it has open for appending; lines written during the copy may be lost."""
    if size_of(log) > LOG_BYTES_MAX:
        shutil.copyfile(log, log.with_name(f"{log.name}.1"))
        os.truncate(log, 0)
