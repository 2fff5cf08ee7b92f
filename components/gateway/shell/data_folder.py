"""The pod's data folder: one process at a time, and an identity that outlives the process.

`DataFolder.lock` holds an exclusive lock until the process ends, however it ends; so whoever
holds it knows that the process which held it before is gone. Raises `DataFolderInUse`.
"""

import asyncio
import fcntl
import os
import secrets
from pathlib import Path

from components.gateway.shell.errors import DataFolderInUse


class DataFolder:
    """A folder with the pod's database; made when it is missing."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.database = path / "gateway.db"
        self._descriptor: int | None = None

    async def lock(self, wait_s: float = 10.0) -> str:
        """Take the lock, waiting a while for a process that is just ending; returns the folder's
        identity."""
        self.path.mkdir(parents=True, exist_ok=True)
        try:
            async with asyncio.timeout(wait_s):
                # The kernel tells nobody when a lock is released.
                while not self._try_lock():  # noqa: ASYNC110
                    await asyncio.sleep(0.05)
        except TimeoutError as error:
            raise DataFolderInUse(f"{self.path} is in use by another process") from error
        return self._identity()

    def unlock(self) -> None:
        """Give the lock back; the end of the process does the same."""
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None

    def _try_lock(self) -> bool:
        # Not inherited by children (O_CLOEXEC is Python's default): a child that outlives us
        # must not seem to be us.
        descriptor = os.open(self.path / "lock", os.O_RDWR | os.O_CREAT, 0o600)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(descriptor)
            return False
        self._descriptor = descriptor
        return True

    def _identity(self) -> str:
        path = self.path / "identity"
        if not path.exists():
            fresh = self.path / "identity.new"
            with fresh.open("w", encoding="ascii") as file:
                file.write(secrets.token_hex(16))
                file.flush()
                os.fsync(file.fileno())
            fresh.rename(path)
        return path.read_text(encoding="ascii").strip()
