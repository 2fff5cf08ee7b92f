"""Where a SQLite database's write-ahead log ends: the position of its last commit.

Reads the WAL file alone. The shared-memory file beside it knows the same, but closing it would
take away the locks that SQLite holds on it in this process. A position grows with every commit,
over resets of the file too: each reset adds one to the first salt (sqlite.org/fileformat2.html).
"""

import struct
from pathlib import Path
from typing import BinaryIO, Final, NamedTuple

HEADER: Final = 32
FRAME_HEADER: Final = 24
SALT_RANGE: Final = 1 << 32


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
        self._first_salt: int | None = None
        self._last = WalPosition(0, 0)

    def position(self, salt: int, end: int) -> WalPosition:
        """The position that a salt and an offset name."""
        if self._first_salt is None:
            self._first_salt = salt
        half = SALT_RANGE // 2
        return WalPosition((salt - self._first_salt + half) % SALT_RANGE - half, end)

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
