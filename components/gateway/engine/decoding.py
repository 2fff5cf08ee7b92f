"""Bytes of the log as inputs. Raises `InvalidInput` for what is none."""

from functools import cache
from typing import Final

import msgspec

from components.gateway.engine.errors import InvalidInput
from contracts.inputs import AnyInput, DiscordDispatch

_MAX_INTEGER: Final = 2**63
_INTEGERS: Final = frozenset({"sequence", "part", "index", "armed_by", "epoch", "engine_version"})
_DECODER: Final = msgspec.json.Decoder(AnyInput)


def decode_input(data: bytes) -> AnyInput:
    """The input with integers that SQLite can hold; else `InvalidInput`."""
    try:
        decoded: AnyInput = _DECODER.decode(data)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise InvalidInput(f"malformed input: {error}") from error
    for name in _numbers(type(decoded)):
        value = getattr(decoded, name)
        if value is not None and not 0 <= value < _MAX_INTEGER:
            raise InvalidInput(f"malformed input: {name} out of range")
    return decoded


@cache
def _numbers(kind: type[AnyInput]) -> tuple[str, ...]:
    """The fields of such inputs that SQLite is to hold as integers."""
    return tuple(name for name in kind.__struct_fields__ if name in _INTEGERS)


class _Tag(msgspec.Struct, frozen=True):
    kind: str = "unknown"


def kind_of(data: bytes, decoded: AnyInput | None) -> str:
    """What an operator is told the input was: its kind, and a dispatch's event."""
    if isinstance(decoded, DiscordDispatch):
        return f"dispatch {decoded.event[:64]}"
    try:
        return msgspec.json.decode(data, type=_Tag).kind[:64]
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return "unknown"
