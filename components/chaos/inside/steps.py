"""Stops a process (SIGSTOP) exactly before it writes a named value to a bucket.

The flag ``step-<replica>`` names the value: bucket, key, and what the value must contain. Before
such a write is sent the flag is renamed to ``stopped-<replica>`` and the process stops; woken, it
sends the write.
"""

import os
import signal

import msgspec

from components.chaos.inside.control import REPLICA, flag


class Step(msgspec.Struct, frozen=True, kw_only=True):
    """The write that is meant."""

    bucket: str
    key: str
    has: str = ""
    """Part of the value."""

    def is_meant(self, bucket: str, key: str, value: bytes) -> bool:
        """Whether a write is this one."""
        return (bucket, key) == (self.bucket, self.key) and self.has.encode() in value


def install() -> None:
    """Wrap the writes of every bucket."""
    if not REPLICA:
        return
    from components.bus.buckets import Bucket

    write = Bucket._write
    wanted = flag(f"step-{REPLICA}")

    async def stopping(
        self: Bucket, key: str, value: bytes, fields: dict[str, str], ttl_s: int | None
    ) -> int:
        if wanted.exists():
            step = msgspec.json.decode(wanted.read_bytes(), type=Step)
            if step.is_meant(self.name, key, value):
                wanted.rename(flag(f"stopped-{REPLICA}"))
                os.kill(os.getpid(), signal.SIGSTOP)
        return await write(self, key, value, fields, ttl_s)

    Bucket._write = stopping  # type: ignore[method-assign]
