"""The base of everything that travels: frozen, JSON, tolerant of fields it does not know.

Raises `MalformedMessage` when bytes are not the JSON of the type asked for; the receiver drops
or quarantines the message, visibly, and goes on.
"""

from typing import Any, TypeVar

import msgspec


class Message(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A message on the bus or a value in a bucket. Unknown fields are ignored on reading."""


class MalformedMessage(ValueError):
    """Bytes that are not the JSON of the expected message; ``reason`` names the field."""

    def __init__(self, expected: str, reason: str) -> None:
        super().__init__(f"malformed {expected}: {reason}")
        self.expected = expected
        self.reason = reason


T = TypeVar("T")

_encoder = msgspec.json.Encoder(order="deterministic")
_decoders: dict[Any, msgspec.json.Decoder[Any]] = {}


def encode(message: Any) -> bytes:
    """The message as JSON, UTF-8, with keys of mappings in a fixed order."""
    return _encoder.encode(message)


def decode(data: bytes, expected: type[T]) -> T:
    """The message of the expected type (or union of types); else `MalformedMessage`."""
    decoder = _decoders.get(expected)
    if decoder is None:
        decoder = _decoders[expected] = msgspec.json.Decoder(expected)
    try:
        return decoder.decode(data)  # type: ignore[no-any-return]
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        name = getattr(expected, "__name__", "message")
        raise MalformedMessage(name, str(error)) from error
