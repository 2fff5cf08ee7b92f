"""Whether one version of the contracts can talk to another, told from their AsyncAPI documents.

Additions are compatible: a message, an optional field, a header that is not required, one more
value of an enumeration (it is written only once an engine version that knows it is in force).
Everything else breaks a reader of old messages or an older reader of new ones.
"""

from collections.abc import Iterator
from typing import Any

from contracts.documents.schemas import Schema

WORDS = ("title", "description", "summary")
"""Text for people; it may change freely."""


def breaks(old: dict[str, Any], new: dict[str, Any]) -> list[str]:
    """What the new document breaks, a line each; empty when it only adds."""
    return [*_channel_breaks(old, new), *_message_breaks(old, new), *_type_breaks(old, new)]


def _channel_breaks(old: dict[str, Any], new: dict[str, Any]) -> Iterator[str]:
    for name, before in old["channels"].items():
        after = new["channels"].get(name)
        if after is None:
            yield f"channel {name}: removed"
            continue
        if before["address"] != after["address"]:
            yield f"channel {name}: moved from {before['address']} to {after['address']}"
        for message in before["messages"]:
            if message not in after["messages"]:
                yield f"channel {name}: no longer carries {message}"


def _message_breaks(old: dict[str, Any], new: dict[str, Any]) -> Iterator[str]:
    for key, before in old["components"]["messages"].items():
        after = new["components"]["messages"].get(key)
        if after is None:
            yield f"message {key}: removed"
            continue
        if before["payload"] != after["payload"]:
            yield f"message {key}: another payload"
        yield from _schema_breaks(f"headers of {key}", before["headers"], after["headers"])
        gone = set(before["headers"].get("required", ())) - set(
            after["headers"].get("required", ())
        )
        for name in sorted(gone):
            yield f"headers of {key}: {name} is no longer certain to be there"


def _type_breaks(old: dict[str, Any], new: dict[str, Any]) -> Iterator[str]:
    for name, before in old["components"]["schemas"].items():
        after = new["components"]["schemas"].get(name)
        if after is None:
            yield f"type {name}: removed"
        else:
            yield from _schema_breaks(name, before, after)
            gone = set(before.get("required", ())) - set(after.get("required", ()))
            for field in sorted(gone & set(after.get("properties", ()))):
                yield f"{name}.{field}: no longer certain to be there"


def _schema_breaks(path: str, before: Schema, after: Schema) -> Iterator[str]:
    """Objects field by field, lists and choices part by part, the rest by equality."""
    for name, field in before.get("properties", {}).items():
        if name in after.get("properties", {}):
            yield from _schema_breaks(f"{path}.{name}", field, after["properties"][name])
        else:
            yield f"{path}.{name}: removed"
    for name in after.get("required", ()):
        if name not in before.get("required", ()):
            yield f"{path}.{name}: newly required"
    if lost := [value for value in before.get("enum", ()) if value not in after.get("enum", ())]:
        yield f"{path}: no longer takes {', '.join(map(repr, lost))}"
    if "items" in before and "items" in after:
        yield from _schema_breaks(f"{path}[]", before["items"], after["items"])
    yield from _choice_breaks(path, before.get("anyOf", []), after.get("anyOf", []))
    for keyword in sorted({*before, *after} - {*WORDS, "properties", "required", "anyOf"}):
        both = keyword in before and keyword in after
        if both and keyword in ("enum", "items"):
            continue
        if not _kept(before.get(keyword), after.get(keyword)):
            yield (
                f"{path}: {keyword} changed from {_shown(before, keyword)} "
                f"to {_shown(after, keyword)}"
            )


def _choice_breaks(path: str, before: list[Schema], after: list[Schema]) -> Iterator[str]:
    if len(before) != len(after):
        yield f"{path}: a choice of {len(before)} types became one of {len(after)}"
        return
    for one, other in zip(before, after, strict=True):
        yield from _schema_breaks(path, one, other)


def _kept(before: object, after: object) -> bool:
    """Whether a keyword's value is the same; a default object may have grown, as its type may."""
    if isinstance(before, dict) and isinstance(after, dict):
        return all(key in after and _kept(value, after[key]) for key, value in before.items())
    if isinstance(before, list) and isinstance(after, list):
        return len(before) == len(after) and all(map(_kept, before, after))
    return type(before) is type(after) and before == after  # True == 1 in Python, not in JSON


def _shown(schema: Schema, keyword: str) -> str:
    return repr(schema[keyword]) if keyword in schema else "nothing"
