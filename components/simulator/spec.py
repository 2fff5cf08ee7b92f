"""Checks bodies and dispatches against Discord's own specifications, when their folder is given.

`openapi.json` for REST bodies, `gateway-events.schema.json` for dispatches. A client's body that
does not fit is refused as Discord refuses it (50035); one of this simulator's own is recorded as a
`violation`. Where the specification and the documentation differ, the documentation is right: such
places are named where they are treated.
"""

import json
from functools import cache
from pathlib import Path
from typing import Any
from urllib.parse import quote

from components.simulator import errors
from components.simulator.record import Record

Problem = tuple[str, str, str]  # where (dotted), code, message

# Routes whose refusals have a documented code of their own (50016, 50034), not 50035.
_OWN_CODES = frozenset({"/channels/{channel_id}/messages/bulk-delete"})
# Where the type definitions name a dispatch's data otherwise than the event.
_DISPATCH_NAMES = {"GUILD_UPDATE": "GuildModify"}
# docs: reference#error-messages shows the form; the codes are those that Discord was seen to send.
_CODES = {
    "required": ("BASE_TYPE_REQUIRED", "This field is required"),
    "maxLength": ("BASE_TYPE_MAX_LENGTH", "Must be {} or fewer in length."),
    "maxItems": ("BASE_TYPE_MAX_LENGTH", "Must be {} or fewer in length."),
    "minLength": ("BASE_TYPE_MIN_LENGTH", "Must be {} or more in length."),
    "minItems": ("BASE_TYPE_MIN_LENGTH", "Must be {} or more in length."),
    "maximum": ("NUMBER_TYPE_MAX", "Value should be less than or equal to {}."),
    "minimum": ("NUMBER_TYPE_MIN", "Value should be greater than or equal to {}."),
    "enum": ("BASE_TYPE_CHOICES", "Value must be one of {}."),
    "const": ("BASE_TYPE_CHOICES", "Value must be one of {}."),
}
_INTEGERS = frozenset({"permissions", "default_member_permissions", "allow", "deny"})


class Specification:
    """Raises OSError when the folder lacks a file, ImportError without `jsonschema`."""

    def __init__(self, folder: Path, record: Record) -> None:
        self._documents = _load(folder)
        self._record = record

    def check_request(self, method: str, path: str, body: Any) -> None:
        """Raise 50035 when a client's body does not fit."""
        operation = self._documents.operation(method, path)
        content = (operation or {}).get("requestBody", {}).get("content", {})
        if "application/json" not in content or path in _OWN_CODES:
            return
        pointer = ("paths", path, method.lower(), "requestBody", "content", "application/json")
        found = self._documents.problems("openapi:", (*pointer, "schema"), _normal(body))
        if found:
            self._note("request", f"{method} {path}", found)
            raise errors.invalid_form({where: (code, text) for where, code, text in found})

    def check_reply(self, method: str, path: str, status: int, body: Any) -> None:
        """Record a body of this simulator's that does not fit."""
        operation = self._documents.operation(method, path)
        if operation is None or status >= 300:
            return
        response = operation["responses"].get(str(status))
        if response is None:
            problem = ("", "STATUS", f"status {status} is not documented")
            self._note("reply", f"{method} {path}", [problem])
            return
        if "application/json" not in response.get("content", {}):
            return
        pointer = ("paths", path, method.lower(), "responses", str(status), "content")
        found = self._documents.problems("openapi:", (*pointer, "application/json", "schema"), body)
        if found:
            self._note("reply", f"{method} {path}", found)

    def check_dispatch(self, name: str, data: dict[str, Any]) -> None:
        """Record a dispatch that does not fit."""
        camel = "".join(word.capitalize() for word in name.split("_"))
        definition = f"Gateway{_DISPATCH_NAMES.get(name, camel)}DispatchData"
        found = self._documents.problems("gateway:", ("definitions", definition), data)
        if found:
            self._note("dispatch", name, found)

    def _note(self, kind: str, name: str, found: list[Problem]) -> None:
        problems = [{"at": where, "problem": text[:500]} for where, _, text in found]
        self._record.add("violation", {"of": kind, "name": name, "problems": problems})


class _Documents:
    """Both specifications, and the validators made of them so far."""

    def __init__(self, folder: Path) -> None:
        # Imported here because validation needs the development requirements; serving does not.
        import jsonschema
        import referencing
        import referencing.jsonschema

        self._openapi = json.loads((folder / "openapi.json").read_text())
        gateway = json.loads((folder / "gateway-events.schema.json").read_text())
        _correct(self._openapi["components"]["schemas"], gateway["definitions"])
        dialect = referencing.jsonschema
        self._registry: Any = referencing.Registry().with_resources(
            [
                ("openapi:", dialect.DRAFT202012.create_resource(self._openapi)),
                ("gateway:", dialect.DRAFT7.create_resource(gateway)),
            ]
        )
        self._kinds = {
            "openapi:": jsonschema.Draft202012Validator,
            "gateway:": jsonschema.Draft7Validator,
        }
        self._validators: dict[tuple[str, ...], Any] = {}

    def operation(self, method: str, path: str) -> dict[str, Any] | None:
        found: dict[str, Any] | None = self._openapi["paths"].get(path, {}).get(method.lower())
        return found

    def problems(self, root: str, pointer: tuple[str, ...], value: Any) -> list[Problem]:
        """What of `value` does not fit the schema at `pointer`."""
        validator = self._validators.get((root, *pointer))
        if validator is None:
            escaped = [quote(p.replace("~", "~0").replace("/", "~1"), safe="~@") for p in pointer]
            reference = {"$ref": f"{root}#/{'/'.join(escaped)}"}
            validator = self._kinds[root](reference, registry=self._registry)
            self._validators[root, *pointer] = validator
        return [_problem(error) for error in validator.iter_errors(value)]


@cache
def _load(folder: Path) -> _Documents:
    """Read once a process: it takes a tenth of a second, and tests start many simulators."""
    return _Documents(folder)


def _correct(openapi: dict[str, Any], gateway: dict[str, Any]) -> None:
    """Put right, in memory, what contradicts the documentation."""
    # FORWARD is missing. docs: resources/message#message-reference-types
    openapi["MessageReferenceType"].pop("oneOf", None)
    # A set of flags with one member was generated as that member. docs: topics/permissions#role
    for flags in ("RoleFlags", "EmbedFlags"):
        gateway[flags] = {"type": "integer"}
    # The fields of a snapshot were generated as whole messages, not as a message's fields.
    # docs: resources/message#message-snapshot-object
    snapshot = gateway["APIMessageSnapshotFields"]
    for name in snapshot["properties"]:
        snapshot["properties"][name] = gateway["APIMessage"]["properties"][name]
    optional = {"stickers", "sticker_items", "components"}
    snapshot["required"] = [name for name in snapshot["required"] if name not in optional]


def _problem(error: Any) -> Problem:
    """The deepest cause: of a union that does not fit, what the nearest member says."""
    while error.context:
        error = max(error.context, key=lambda e: (len(e.absolute_path), e.validator != "type"))
    path = [str(part) for part in error.absolute_path]
    if error.validator == "required":
        path.append(str(error.message).split("'")[1])
    code, text = _CODES.get(error.validator, ("BASE_TYPE_CONVERT", str(error.message)))
    return ".".join(path), code, text.format(error.validator_value)


def _normal(value: Any) -> Any:
    """Integer snowflakes as strings: clients may send either. docs: reference#snowflakes

    Permissions the other way round: documented as strings of digits, specified as integers.
    """
    if isinstance(value, dict):
        return {
            key: int(one) if key in _INTEGERS and _digits(one) else _normal(one)
            for key, one in value.items()
        }
    if isinstance(value, list):
        return [_normal(one) for one in value]
    if isinstance(value, int) and not isinstance(value, bool) and value >= 1 << 40:
        return str(value)
    return value


def _digits(value: Any) -> bool:
    return isinstance(value, str) and value.isdigit()
