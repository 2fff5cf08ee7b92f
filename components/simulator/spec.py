"""Checks bodies and dispatches against Discord's own specifications, when their folder is given.

`openapi.json` for REST bodies, `gateway-events.schema.json` for dispatches. A client's body that
does not fit is refused as Discord refuses it (50035); one of this simulator's own is recorded as a
`violation`. Where the specification and the documentation differ, the documentation is right: such
places are named where they are treated.
"""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.parse import quote

from components.simulator import errors
from components.simulator.record import Record

Check = Callable[[Any], list[tuple[str, str, str]]]


class Specification:
    def __init__(self, folder: Path, record: Record) -> None:
        # Imported here because validation needs the development requirements; serving does not.
        import jsonschema
        import referencing
        import referencing.jsonschema

        self._record = record
        self._validators: dict[tuple[str, ...], Any] = {}
        self._openapi = json.loads((folder / "openapi.json").read_text())
        self._gateway = json.loads((folder / "gateway-events.schema.json").read_text())
        _correct(self._openapi["components"]["schemas"], self._gateway["definitions"])
        dialect = referencing.jsonschema
        self._registry: Any = referencing.Registry().with_resources(
            [
                ("openapi:", dialect.DRAFT202012.create_resource(self._openapi)),
                ("gateway:", dialect.DRAFT7.create_resource(self._gateway)),
            ]
        )
        self._rest_validator = jsonschema.Draft202012Validator
        self._gateway_validator = jsonschema.Draft7Validator

    def check_request(self, method: str, path: str, body: Any) -> None:
        """Raise 50035 when a client's body does not fit."""
        operation = self._openapi["paths"].get(path, {}).get(method.lower())
        if operation is None or "requestBody" not in operation:
            return
        if "application/json" not in operation["requestBody"]["content"]:
            return
        pointer = ("paths", path, method.lower(), "requestBody", "content", "application/json")
        found = self._problems("openapi:", (*pointer, "schema"), _strings(body))
        if found:
            self._note("request", f"{method} {path}", found)
            raise errors.invalid_form(
                {where: ("SPECIFICATION", message) for where, message in found}
            )

    def check_reply(self, method: str, path: str, status: int, body: Any) -> None:
        """Record a body of this simulator's that does not fit."""
        operation = self._openapi["paths"].get(path, {}).get(method.lower())
        if operation is None or status >= 300:
            return
        response = operation["responses"].get(str(status))
        if response is None:
            self._note("reply", f"{method} {path}", [("", f"status {status} is not documented")])
            return
        if "application/json" not in response.get("content", {}):
            return
        pointer = ("paths", path, method.lower(), "responses", str(status), "content")
        found = self._problems("openapi:", (*pointer, "application/json", "schema"), body)
        if found:
            self._note("reply", f"{method} {path}", found)

    def check_dispatch(self, name: str, data: dict[str, Any]) -> None:
        """Record a dispatch that does not fit."""
        camel = "".join(word.capitalize() for word in name.split("_"))
        definition = f"Gateway{_DISPATCH_NAMES.get(name, camel)}DispatchData"
        if definition not in self._gateway["definitions"]:
            return
        found = self._problems("gateway:", ("definitions", definition), data)
        if found:
            self._note("dispatch", name, found)

    def _problems(self, root: str, pointer: tuple[str, ...], value: Any) -> list[tuple[str, str]]:
        validator = self._validators.get((root, *pointer))
        if validator is None:
            escaped = [quote(p.replace("~", "~0").replace("/", "~1"), safe="~@") for p in pointer]
            kind = self._rest_validator if root == "openapi:" else self._gateway_validator
            validator = kind({"$ref": f"{root}#/{'/'.join(escaped)}"}, registry=self._registry)
            self._validators[root, *pointer] = validator
        found: list[tuple[str, str]] = []
        for error in validator.iter_errors(value):
            where = ".".join(str(part) for part in error.absolute_path)
            found.append((where, _explain(error)))
        return found

    def _note(self, kind: str, name: str, found: list[tuple[str, str]]) -> None:
        problems = [{"at": where, "problem": message[:500]} for where, message in found]
        self._record.add("violation", {"of": kind, "name": name, "problems": problems})


# Where the generated type definitions name a dispatch's data otherwise than the event.
_DISPATCH_NAMES: dict[str, str] = {
    "GUILD_UPDATE": "GuildModify",
}


def _correct(openapi: dict[str, Any], gateway: dict[str, Any]) -> None:
    """Put right, in memory, what contradicts the documentation."""
    # FORWARD is missing. docs: resources/message#message-reference-types
    openapi["MessageReferenceType"].pop("oneOf", None)
    # A set of flags with one member was generated as that member. docs: topics/permissions#role
    gateway["RoleFlags"] = {"type": "integer"}
    # The fields of a snapshot were generated as whole messages, not as a message's fields.
    # docs: resources/message#message-snapshot-object
    message = gateway["APIMessage"]["properties"]
    fields = gateway["APIMessageSnapshotFields"]["properties"]
    for name in fields:
        fields[name] = message[name]
    snapshot = gateway["APIMessageSnapshotFields"]
    snapshot["required"] = [name for name in snapshot["required"] if name != "stickers"]


def _explain(error: Any) -> str:
    """The deepest cause: of a union that does not fit, what the nearest member says."""
    text = str(error.message)
    if error.context:
        nearest = max(error.context, key=lambda e: len(e.absolute_path))
        where = ".".join(str(part) for part in nearest.absolute_path)
        text = f"{where}: {_explain(nearest)}" if where else _explain(nearest)
    return text


_INTEGERS = frozenset({"permissions", "default_member_permissions", "allow", "deny"})


def _digits(value: Any) -> bool:
    return isinstance(value, str) and value.isdigit()


def _strings(value: Any) -> Any:
    """Integer snowflakes as strings: clients may send either. docs: reference#snowflakes

    Permissions the other way round: documented as strings of digits, specified as integers.
    """
    if isinstance(value, dict):
        return {
            key: int(one) if key in _INTEGERS and _digits(one) else _strings(one)
            for key, one in value.items()
        }
    if isinstance(value, list):
        return [_strings(one) for one in value]
    if isinstance(value, int) and not isinstance(value, bool) and value >= 1 << 40:
        return str(value)
    return value
