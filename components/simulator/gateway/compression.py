"""Transport compression: one stream per connection, flushed after every payload.

docs: events/gateway#transport-compression
"""

import zlib
from typing import Protocol

import zstandard


class Encoder(Protocol):
    binary: bool

    def encode(self, payload: bytes) -> bytes:
        """One payload as the bytes of one frame. Calls must be in the order of sending."""


class Plain:
    binary = False

    def encode(self, payload: bytes) -> bytes:
        return payload


class ZlibStream:
    binary = True

    def __init__(self) -> None:
        self._stream = zlib.compressobj()

    def encode(self, payload: bytes) -> bytes:
        return self._stream.compress(payload) + self._stream.flush(zlib.Z_SYNC_FLUSH)


class ZstdStream:
    binary = True

    def __init__(self) -> None:
        self._stream = zstandard.ZstdCompressor().compressobj()

    def encode(self, payload: bytes) -> bytes:
        return self._stream.compress(payload) + self._stream.flush(
            zstandard.COMPRESSOBJ_FLUSH_BLOCK
        )


def encoder(name: str | None) -> Encoder | None:
    """The encoder of a `compress` query; None when Discord knows no such name."""
    if name is None:
        return Plain()
    if name == "zlib-stream":
        return ZlibStream()
    if name == "zstd-stream":
        return ZstdStream()
    return None
