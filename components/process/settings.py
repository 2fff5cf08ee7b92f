"""Settings from the environment: one frozen Struct per component, checked before anything starts.

`load` reads ``MODBOT_<PREFIX>_<FIELD>`` for every field and raises `InvalidSettings`, which names
the variable, what is wrong with it and never its value if it is a secret.
"""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, TypeVar

import msgspec

T = TypeVar("T", bound=msgspec.Struct)

SECRET_WORDS = ("token", "seed", "secret", "password", "key")


class InvalidSettings(ValueError):
    """A setting is missing or wrong. The process ends with `exits.CONFIG`; fix the variable."""

    def __init__(self, variable: str, reason: str) -> None:
        super().__init__(f"setting {variable}: {reason}")
        self.variable = variable
        self.reason = reason


def variable_of(prefix: str, field: str) -> str:
    """The environment variable of a field."""
    return f"MODBOT_{prefix}_{field}".upper().replace("__", "_")


def load(settings: type[T], prefix: str, environment: Mapping[str, str] | None = None) -> T:
    """The settings, with defaults where a variable is unset or empty.

    A field named ``x`` of type str may also be read from the file that ``…_X_FILE`` names (for
    secrets that are mounted as files).
    """
    env = os.environ if environment is None else environment
    values: dict[str, Any] = {}
    for field in msgspec.structs.fields(settings):
        variable = variable_of(prefix, field.name)
        raw = env.get(variable, "")
        if not raw and (path := env.get(f"{variable}_FILE", "")):
            raw = _read(path, f"{variable}_FILE")
        if not raw:
            if field.required:
                raise InvalidSettings(variable, "is not set; it is required")
            continue
        try:
            values[field.name] = msgspec.convert(raw, type=field.type, strict=False)
        except msgspec.ValidationError as error:
            shown = "" if _secret(field.name) else f" (it is {raw!r})"
            raise InvalidSettings(variable, f"{error}{shown}") from error
    return settings(**values)


def _read(path: str, variable: str) -> str:
    try:
        return Path(path).read_text(encoding="utf-8").strip()
    except OSError as error:
        raise InvalidSettings(variable, f"cannot be read: {error.strerror}") from error


def _secret(name: str) -> bool:
    return any(word in name for word in SECRET_WORDS)
