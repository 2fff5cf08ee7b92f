"""JSON Schemas (draft 2020-12) of the messages, with the docstrings of types and fields.

Raises nothing of its own; a type that msgspec cannot describe is a TypeError while generating.
"""

import ast
import inspect
import sys
from functools import cache
from types import ModuleType
from typing import Any, TypeAlias

import msgspec

from contracts import catalog

Schema: TypeAlias = dict[str, Any]

DRAFT = "https://json-schema.org/draft/2020-12/schema"


def schema_files() -> dict[str, Schema]:
    """File name to schema, one for each message that travels by itself."""
    return {catalog.file_name(message): schema_of(message) for message in catalog.messages()}


def schema_of(message: type[msgspec.Struct]) -> Schema:
    """The message's schema, complete in itself."""
    parts = component_schemas((message,), "#/$defs/{name}")
    own = parts.pop(message.__name__)
    document = {"$schema": DRAFT, "$id": f"urn:modbot:{catalog.file_name(message)}", **own}
    return {**document, "$defs": parts} if parts else document


def component_schemas(
    messages: tuple[type[msgspec.Struct], ...], ref_template: str
) -> dict[str, Schema]:
    """Schemas of the messages and everything inside them, by type name."""
    _, found = msgspec.json.schema_components(messages, ref_template=ref_template)
    parts: dict[str, Schema] = msgspec.json.decode(msgspec.json.encode(found))  # no tuples
    for struct in {part for message in messages for part in catalog.parts_of(message)}:
        schema = parts[struct.__name__]
        schema["description"] = inspect.cleandoc(struct.__doc__ or "")
        words = field_docs(struct)
        for name, field in schema.get("properties", {}).items():
            if "$ref" in field:  # readers of older drafts ignore what stands beside a reference
                field["allOf"] = [{"$ref": field.pop("$ref")}]
            if name in words:
                field["description"] = words[name]
    return dict(sorted(parts.items()))


def field_docs(struct: type[msgspec.Struct]) -> dict[str, str]:
    """The docstrings under the fields of the struct and its bases."""
    found: dict[str, str] = {}
    for base in reversed(struct.__mro__):
        if base.__module__.startswith("contracts."):
            found.update(_docs_of_module(sys.modules[base.__module__]).get(base.__name__, {}))
    return found


@cache
def _docs_of_module(module: ModuleType) -> dict[str, dict[str, str]]:
    docs: dict[str, dict[str, str]] = {}
    for node in ast.parse(inspect.getsource(module)).body:
        if not isinstance(node, ast.ClassDef):
            continue
        fields = docs.setdefault(node.name, {})
        for field, after in zip(node.body, node.body[1:], strict=False):
            match field, after:
                case (
                    ast.AnnAssign(target=ast.Name(id=name)),
                    ast.Expr(value=ast.Constant(value=str(text))),
                ):
                    fields[name] = inspect.cleandoc(text)
    return docs
