"""A slow disk: every COMMIT of a gateway's database takes as many milliseconds longer as the flag
``slow-<replica>`` says."""

import contextlib
import sqlite3
import time
from typing import Any

from components.chaos.inside.control import IS_GATEWAY, REPLICA, flag, strikes


class SlowConnection(sqlite3.Connection):
    """Delays what makes data durable."""

    def execute(self, sql: str, *arguments: Any) -> sqlite3.Cursor:
        if sql == "COMMIT":
            with contextlib.suppress(FileNotFoundError, ValueError):  # as fast as it is
                time.sleep(int(flag(f"slow-{REPLICA}").read_text()) / 1000)
                strikes("slow")
        return super().execute(sql, *arguments)


def install() -> None:
    """Open every database of a gateway through `SlowConnection`."""
    if not IS_GATEWAY:
        return
    connect = sqlite3.connect

    def slow(*arguments: Any, **options: Any) -> sqlite3.Connection:
        opened: sqlite3.Connection = connect(*arguments, **{"factory": SlowConnection, **options})
        return opened

    sqlite3.connect = slow  # type: ignore[assignment]
