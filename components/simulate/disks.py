"""What survives a process: data directories, and the backups in the bucket.

A commit is durable at once and whole (rows, checkpoint, beat). A replica follows its database with
a lag and holds it as of one commit. Disks are lost; the bucket is not, it is only away at times.
"""

from components.simulate.process import Process
from components.simulate.streams import Rows


class Disk:
    """One data directory."""

    def __init__(self, data: str) -> None:
        self.data = data
        """Its identity."""
        self.rows: dict[str, Rows] = {}
        self.beat = 0
        self.complete: dict[str, int] = {}
        """By guild: the stream sequence up to which all of its inputs are applied."""
        self.lock: Process | None = None
        self.lost = False

    def up_to(self, guild: str) -> int:
        """Up to which sequence of the stream all of the guild's inputs are applied."""
        return max(self.rows[guild].sequence, self.complete.get(guild, 0))

    def locked(self) -> bool:
        """Whether a process holds the lock: the kernel gives it back when the process ends."""
        return self.lock is not None and self.lock.alive


class Replica:
    """A database as it is in the bucket."""

    __slots__ = ("beat", "complete", "rows", "written_s")

    def __init__(self, disk: Disk, now_s: float) -> None:
        self.rows = dict(disk.rows)
        self.beat = disk.beat
        self.complete = dict(disk.complete)
        self.written_s = now_s

    def up_to(self, guild: str) -> int:
        """Up to which sequence of the stream all of the guild's inputs are applied."""
        return max(self.rows[guild].sequence, self.complete.get(guild, 0))


class Backups:
    """The bucket: replicas by their paths."""

    def __init__(self) -> None:
        self.up = True
        self.replicas: dict[str, Replica] = {}
        self.writers: dict[str, str] = {}
        """The data directory that writes a path: a second one would destroy it."""

    def write(self, path: str, disk: Disk, now_s: float) -> bool:
        """Bring the replica up to the database; False when another directory writes there."""
        if self.writers.setdefault(path, disk.data) != disk.data:
            return False
        self.replicas[path] = Replica(disk, now_s)
        return True
