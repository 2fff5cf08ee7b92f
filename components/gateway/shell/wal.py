"""Where a SQLite database's write-ahead log ends: the position of its last commit.

Reads the WAL file alone. The shared-memory file beside it knows the same, but closing it would
take away the locks that SQLite holds on it in this process. A position grows with every commit,
over resets of the file too: each reset adds one to the first salt (sqlite.org/fileformat2.html),
but for one that empties the file: the next has a salt of chance.
"""

import sqlite3
import struct
import time
from contextlib import closing
from pathlib import Path
from typing import BinaryIO, Final, NamedTuple

HEADER: Final = 32
FRAME_HEADER: Final = 24
SALT_RANGE: Final = 1 << 32
FOLLOWS: Final = 1 << 16
"""Salts that are further apart say nothing of their order."""
EMPTIED_WITHIN_S: Final = 10.0
OTHERS_WAIT_S: Final = 1.0
"""An attempt to empty the file waits so long for its readers; nobody can commit meanwhile."""
PAUSE_S: Final = 0.05
"""Between attempts: while another checkpoint is under way, each ends at once."""


class WalPosition(NamedTuple):
    """Positions of one database in one process compare as they were reached."""

    resets: int
    """Of the file, since the first look."""
    end: int
    """Offset behind the last frame."""


class Wal:
    """The WAL beside a database."""

    def __init__(self, database: Path) -> None:
        self._path = database.with_name(f"{database.name}-wal")
        self._origins: list[tuple[int, int]] = []
        """The first salt that was seen, and of each that followed none, with the resets before
        it."""
        self._last = WalPosition(0, 0)

    def position(self, salt: int, end: int) -> WalPosition:
        """The position that a salt and an offset name; before all others when the salt is like
        none that was seen in the file."""
        if not self._origins:
            self._origins.append((salt, 0))
        resets = self._resets(salt)
        return WalPosition(-SALT_RANGE if resets is None else resets, end)

    def _resets(self, salt: int) -> int | None:
        for origin, resets in reversed(self._origins):
            since = (salt - origin + SALT_RANGE // 2) % SALT_RANGE - SALT_RANGE // 2
            if abs(since) < FOLLOWS:
                return resets + since
        return None

    def size(self) -> int:
        """Bytes of the file; 0 while there is none. Raises `OSError`."""
        try:
            return self._path.stat().st_size
        except FileNotFoundError:
            return 0

    def end(self) -> WalPosition:
        """Behind everything that is committed now; maybe behind a little more. Does not go back:
        an emptied file holds nothing newer. Raises `OSError`."""
        try:
            with self._path.open("rb") as file:
                header = file.read(HEADER)
                if len(header) == HEADER:
                    self._last = max(self._last, self._look(file, header))
        except FileNotFoundError:
            pass  # nothing was written yet
        return self._last

    def _look(self, file: BinaryIO, header: bytes) -> WalPosition:
        page_size, _, salt, salt_2 = struct.unpack_from(">IIII", header, 8)
        frame = FRAME_HEADER + (65536 if page_size == 1 else page_size)
        salts = struct.pack(">II", salt, salt_2)
        if self._origins and self._resets(salt) is None:
            self._origins.append((salt, self._last.resets + 1))
        found = self.position(salt, HEADER)
        known = (self._last.end - HEADER) // frame if self._last.resets == found.resets else 0
        frames = max(0, known)

        def ours(number: int) -> bool:
            return self._frame(file, frame, number)[8:16] == salts

        # Frames with these salts lie in front of those that the last reset left behind.
        step = 1
        while ours(frames + step - 1):
            frames += step
            step *= 2
        while step > 1:
            step //= 2
            if ours(frames + step - 1):
                frames += step
        while frames > 0 and self._frame(file, frame, frames - 1)[4:8] == bytes(4):
            frames -= 1  # written, not committed
        return WalPosition(found.resets, HEADER + frames * frame)

    @staticmethod
    def _frame(file: BinaryIO, frame: int, number: int) -> bytes:
        file.seek(HEADER + number * frame)
        return file.read(FRAME_HEADER)


def empty_wal(database: Path) -> None:
    """Move all that is in the WAL into the database, and make the file empty; waits for others'
    transactions and checkpoints. Raises `sqlite3.Error`, also when they do not end in time."""
    until_s = time.monotonic() + EMPTIED_WITHIN_S
    with closing(
        sqlite3.connect(database, isolation_level=None, timeout=OTHERS_WAIT_S)
    ) as connection:
        while True:
            busy, _, _ = connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()
            if not busy:
                return
            if time.monotonic() >= until_s:
                raise sqlite3.OperationalError("others use it all the time")
            time.sleep(PAUSE_S)
